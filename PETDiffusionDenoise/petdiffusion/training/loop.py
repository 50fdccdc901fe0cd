"""The one training loop: mixed precision, EMA, accumulation, several devices, exact resume, validation, progress.

The batch of a step depends on (seed, step) alone, so a resumed training sees what an unbroken one would have seen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from ..errors import DependencyError, OutputError, ResourceError, TrainingError
from ..infer.patches import is_out_of_memory
from ..packages import to_install
from ..progress import Run, silent
from ..write.lock import alone_in
from . import checkpoint, origins
from .average import moving_average
from .begun import begun_in, calibrate, check_origin, check_same, explain
from .log import Log
from .settings import TrainSettings
from .sides import check_patch, check_precision
from .task import ITEM, Batch, Task
from .validation import scores_of, warn_of_judges

LARGEST_GAP = 20
"""Steps with a non-finite loss in a row before the training is given up."""


class Data(Protocol):
    """Where batches come from."""

    def batch(self, step: int, rank: int) -> Batch: ...

    def validation(self) -> list[Batch]: ...

    def describe(self) -> dict[str, Any]: ...


@dataclass
class _State:
    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    losses: list[float] = field(default_factory=list)
    """Of the steps since the last line of the log."""


def train(
    task: Task, data: Data, settings: TrainSettings, folder: str | Path, run: Run | None = None, resume: bool = True,
    origin: str | None = None,
) -> Path:
    """Train until the length in the settings is reached; returns the folder with checkpoint, log and settings.

    `origin` is a model, or the folder of another training, whose weights this one begins with.
    """
    run, folder = run or Run(), Path(folder)
    check_patch(task, settings.patch)
    fabric = _fabric(task, settings, run)
    if not fabric.is_global_zero:
        run.report = silent  # one process speaks for all
    with _folder_of_all(folder, fabric), _room_for(settings):
        begun = begun_in(folder, resume)
        calibrate(task, data.validation(), begun)
        described = data.describe()
        warn_of_judges(described, run)
        if begun is not None:
            check_same(begun, task, described, settings, origin)
        elif origin is not None:
            check_origin(origin, described, run)
        network, average, model, optimizer = _built(task, settings, fabric, origin if begun is None else None)
        state = _State()
        if begun is not None:
            checkpoint.load(folder, network, average, optimizer)
            state = _State(*(begun.facts[name] for name in ("step", "seconds", "skipped")))
            state.losses = list(begun.facts.get("losses", ()))  # checkpoints of older versions have none
        fabric.barrier()  # until all have read the plan that is written anew here
        _by_first(fabric, lambda: explain(folder, task, described, settings, origin, begun))
        millions = sum(p.numel() for p in network.parameters()) / 1e6
        with run.stage("train", f"Training {task.method} ({millions:.2f} M parameters)"):
            _loop(task, data, settings, folder, run, fabric, model, network, average, optimizer, state)
    return folder


@contextmanager
def _room_for(settings: TrainSettings) -> Iterator[None]:
    """What there is no memory for is told by what the user can change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(f"Memory for batches of {settings.batch} patches with {settings.patch} voxels a side",
                            "is not enough", "Give a smaller patch or batch (--set patch=32 batch=1 accumulate=4; "
                            "accumulate makes up for a small batch), or another device.") from error  # fmt: skip


def check_free(folder: str | Path) -> None:
    """A look at the folder before patients are loaded, which may take minutes; `train` holds it. Only the first of
    several processes looks: two looks at once would refuse each other."""
    if _lightning().utilities.rank_zero_only.rank == 0 and Path(folder).is_dir():
        with _alone_in(Path(folder)):
            pass


def _alone_in(folder: Path) -> AbstractContextManager[None]:
    return alone_in(folder, "training")


@contextmanager
def _folder_of_all(folder: Path, fabric: Any) -> Iterator[None]:
    """The folder, for the processes of this training alone: the first holds it for all, or all are refused."""
    with ExitStack() as stack:
        _by_first(fabric, lambda: stack.enter_context(_alone_in(folder)))
        yield


def _by_first(fabric: Any, work: Callable[[], Any]) -> None:
    """Done by the first process alone. Where it fails, all do: the others would wait for it for ever."""
    failure = None
    if fabric.is_global_zero:
        try:
            work()
        except Exception as error:
            failure = error
    if (failure := fabric.broadcast(failure)) is not None:
        raise failure


def _built(task: Task, settings: TrainSettings, fabric: Any, origin: str | None) -> tuple[Any, ...]:
    """Network, its average, the network as the devices share it, and the optimizer."""
    torch.manual_seed(settings.seed)  # only the weights' first values come from the global generator
    network = task.network()
    if origin is not None:
        origins.begin_from(network, origin)
    average = moving_average(network, settings.ema_decay).to(fabric.device)
    return network, average, *fabric.setup(network, _optimizer(network, settings))


def _loop(
    task: Task,
    data: Data,
    settings: TrainSettings,
    folder: Path,
    run: Run,
    fabric: Any,
    model: nn.Module,
    network: nn.Module,
    average: nn.Module,
    optimizer: Any,
    state: _State,
) -> None:
    began = time.monotonic() - state.seconds
    saved = time.monotonic()

    def save() -> None:
        if fabric.is_global_zero:
            facts = {
                "step": state.step,
                "seconds": state.seconds,
                "skipped": state.skipped,
                "losses": state.losses,
                "config": dict(task.config),
                "settings": settings.to_json(),
            }
            checkpoint.save(folder, network, average, optimizer, facts)

    with ExitStack() as stack:
        log = stack.enter_context(closing(Log(folder, state.step))) if fabric.is_global_zero else None
        batches = stack.enter_context(closing(Batches(data, fabric.global_rank, fabric.device)))
        try:
            while (done := _done(settings, state, fabric)) < 1:
                loss = _step(task, batches, settings, fabric, model, optimizer, state, done)
                average.update_parameters(network)
                state.step += 1
                state.seconds = time.monotonic() - began
                state.losses.append(loss)
                if log is not None and state.step % settings.validate_every == 0:
                    _report(task, batches, average.module, state, optimizer, log, run)
                if time.monotonic() - saved > 60 * settings.checkpoint_minutes:
                    save()
                    saved = time.monotonic()
                run.progress(settings.fraction(state.step, state.seconds))
            if log is not None and state.losses:
                _report(task, batches, average.module, state, optimizer, log, run)
        except BaseException:
            _kept(save, state, run)  # first: closing waits for a batch that is being made, and may be broken off
            raise
        save()


def _kept(save: Callable[[], None], state: _State, run: Run) -> None:
    """What was learnt until a training stops. Why it stopped is what the user must hear, whatever becomes of this;
    where nothing was learnt, the folder stays free for other settings."""
    try:
        if state.step > 0:
            save()
    except OutputError as error:
        run.warn(f"What was learnt since the last checkpoint is lost. {error}")


def _done(settings: TrainSettings, state: _State, fabric: Any) -> float:
    """How much is done, the same on all devices: by the first one's clock where the length is in minutes."""
    done = settings.fraction(state.step, state.seconds)
    return done if settings.minutes is None else fabric.broadcast(done)


class Batches:
    """The data's batches on the training's device. Beside a GPU the next one is made while one is learnt from."""

    def __init__(self, data: Data, rank: int, device: torch.device) -> None:
        self.data, self.rank, self.device = data, rank, device
        self._maker = None if device.type == "cpu" else ThreadPoolExecutor(1)
        self._coming: tuple[int, Future[Batch]] | None = None

    def take(self, index: int) -> Batch:
        if self._maker is None:
            return self._moved(self.data.batch(index, self.rank))
        if self._coming is None or self._coming[0] != index:
            self._order(index)
        batch = self._coming[1].result()
        self._order(index + 1)
        return self._moved(batch)

    def validation(self) -> list[Batch]:
        return [self._moved(batch) for batch in self.data.validation()]

    def close(self) -> None:
        if self._maker is not None:
            self._maker.shutdown(cancel_futures=True)

    def _order(self, index: int) -> None:
        self._coming = index, self._maker.submit(self.data.batch, index, self.rank)

    def _moved(self, batch: Batch) -> Batch:
        unwaited = self.device.type == "cuda"  # Apple's GPUs would read memory that has been given back meanwhile
        return {name: value.to(self.device, non_blocking=unwaited) for name, value in batch.items()}


def _step(
    task: Task,
    batches: Batches,
    settings: TrainSettings,
    fabric: Any,
    model: nn.Module,
    optimizer: Any,
    state: _State,
    done: float,
) -> float:
    """One optimizer step over `accumulate` batches; a loss or gradient that is not finite is skipped and counted."""
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * _schedule(state.step, done, settings.warmup_steps)
    total = 0.0
    for part in range(settings.accumulate):
        index = state.step * settings.accumulate + part
        batch = batches.take(index)
        batch = {**batch, ITEM: _items(batch, index, fabric)}
        generator = torch.Generator(device="cpu").manual_seed(
            (settings.seed * 1_000_003 + index) * 64 + fabric.global_rank
        )
        with fabric.no_backward_sync(model, enabled=part + 1 < settings.accumulate):
            loss = task.loss(model, batch, generator) / settings.accumulate
            fabric.backward(loss)
        total += float(loss.detach())
    if math.isfinite(total) and _clipped(fabric, model, optimizer, settings.clip):
        optimizer.step()
        state.skipped = 0
    else:
        state.skipped += 1
        if state.skipped > LARGEST_GAP:
            raise TrainingError(
                f"The loss at step {state.step}",
                f"or its gradient was not finite {LARGEST_GAP} times in a row",
                "Go on with --set precision=32-true, or begin anew with a lower learning rate.",
            )
    optimizer.zero_grad(set_to_none=True)
    return total


def _items(batch: Batch, index: int, fabric: Any) -> torch.Tensor:
    """Numbers of a batch's items, on the host: batch by batch, and within each number device by device."""
    one = next(iter(batch.values()))
    first = (index * fabric.world_size + fabric.global_rank) * len(one)
    return torch.arange(first, first + len(one))


def _clipped(fabric: Any, model: nn.Module, optimizer: Any, largest: float) -> bool:
    """Makes gradients no longer than `largest`; whether they are finite, as they may not be where the loss is."""
    norm = fabric.clip_gradients(model, optimizer, max_norm=largest, error_if_nonfinite=False)
    return math.isfinite(float(norm))


def _schedule(step: int, done: float, warmup: int) -> float:
    """Linear warm-up, then a cosine down to 1 % at the end."""
    return min(1.0, (step + 1) / max(warmup, 1)) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


@torch.no_grad()
def _report(task: Task, source: Batches, network: nn.Module, state: _State, optimizer: Any, log: Log, run: Run) -> None:
    network.eval()
    scores = scores_of(task, network, source.validation(), source.data.describe())
    network.train()
    recent = [x for x in state.losses if math.isfinite(x)]
    log.write(
        {
            "step": state.step,
            "seconds": round(state.seconds, 1),
            "lr": optimizer.param_groups[0]["lr"],
            "loss": sum(recent) / max(len(recent), 1),
            "skipped": len(state.losses) - len(recent),
            **scores,
        }
    )
    state.losses.clear()
    run.report(
        {
            "event": "stage",
            "stage": "train",
            "text": f"Step {state.step}: " + ", ".join(f"{name} {value:.4g}" for name, value in scores.items()),
        }
    )


def _lightning() -> Any:
    try:
        import lightning_fabric
    except ImportError:
        raise DependencyError("Lightning Fabric", "is not installed", to_install("lightning-fabric")) from None
    return lightning_fabric


def _fabric(task: Task, settings: TrainSettings, run: Run) -> Any:
    lightning = _lightning()
    from ..infer import device as devices

    kind = devices.pick_device(run.device).split(":")[0]
    precision = settings.precision
    right = check_precision(task, settings.patch, precision, kind, run)
    if precision == "auto":
        precision = "bf16-mixed" if right and devices.bf16_pays(kind) else "32-true"
    fabric = lightning.Fabric(
        accelerator=kind,
        devices=settings.devices,
        num_nodes=settings.nodes,
        precision=precision,
    )
    fabric.launch()
    return fabric


def _optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.99))
