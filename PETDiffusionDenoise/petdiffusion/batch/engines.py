"""Where cases run: here one after the other, here in several processes, or on a Ray cluster. Each yields rows."""

from __future__ import annotations

import multiprocessing
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from .. import registry
from ..errors import DependencyError, OptionError, ResourceError
from ..packages import to_install
from ..parent import leave_with_parent
from ..progress import Run
from ..threads import shared_among
from .work import Row, do_case

Job = tuple[str, dict[str, Any], str, bool, bool]
"""id, request, folder, report, overwrite"""
POLL_S = 0.5
ATTEMPTS = 3
CASE_BYTES = 4e9
"""A whole-body scan takes about that much."""


def serial(jobs: list[Job], run: Run) -> Iterator[Row]:
    """One after the other in this process; the methods' own progress is passed on."""
    for number, job in enumerate(jobs):
        run.report({"event": "stage", "stage": "case", "text": f"Case {number + 1} of {len(jobs)}: {job[0]}"})
        inner = Run(
            report=lambda event: run.report(event) if event["event"] == "warning" else None, cancelled=run.cancelled
        )
        yield do_case(*job, run=inner)


def processes(jobs: list[Job], run: Run, workers: int) -> Iterator[Row]:
    """Several processes on this machine. Each slot is a pool of one, so that a death costs no neighbour its work."""
    idle = [_slot() for _ in range(min(workers, len(jobs)))]
    todo = deque((job, 1) for job in jobs)
    busy: dict[Future, tuple[ProcessPoolExecutor, Job, int]] = {}
    try:
        while todo or busy:
            run.check()
            while todo and idle:
                (job, attempt), slot = todo.popleft(), idle.pop()
                slot, future = _submitted(slot, job)
                busy[future] = (slot, job, attempt)
            for future in wait(busy, POLL_S, FIRST_COMPLETED).done:
                slot, job, attempt = busy.pop(future)
                died = isinstance(future.exception(), BrokenProcessPool)
                idle.append(_slot() if died else slot)
                if died and attempt < ATTEMPTS:
                    todo.append((job, attempt + 1))
                else:
                    yield _lost(job[0], attempt) if died else future.result()
    finally:
        for slot in [*idle, *(slot for slot, _, _ in busy.values())]:
            _end(slot)


_stop = threading.Event()
"""In a slot's process: set when the program that started it has gone."""


def _slot() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin)


def _begin() -> None:
    leave_with_parent(_stop)


def _in_slot(job: Job) -> Row:
    return do_case(*job, run=Run(cancelled=_stop))


def _submitted(slot: ProcessPoolExecutor, job: Job) -> tuple[ProcessPoolExecutor, Future]:
    """The case in the slot, or in a new one where the slot died while it was idle."""
    try:
        return slot, slot.submit(_in_slot, job)
    except BrokenProcessPool:
        fresh = _slot()
        return fresh, fresh.submit(_in_slot, job)


def _end(slot: ProcessPoolExecutor) -> None:
    """Shut a slot down at once, with the case it may be in."""
    for process in list((slot._processes or {}).values()):
        process.kill()
    slot.shutdown(wait=True, cancel_futures=True)


def _lost(id_: str, attempts: int) -> Row:
    return {
        "id": id_,
        "status": "failed",
        "seconds": 0.0,
        "error": f"ResourceError: its process died {attempts} times. Out of memory? Use fewer workers.",
    }


def ray_cluster(jobs: list[Job], run: Run, address: str | None, workers: int | None) -> Iterator[Row]:
    """Over an existing Ray cluster (or a local one without an address); Ray starts a case again when a worker dies."""
    try:
        import ray
    except ImportError:
        raise DependencyError("Ray", "is not installed", to_install("ray")) from None
    started = not ray.is_initialized()
    if started:
        _connect(ray, address)
    gpus = ray.cluster_resources().get("GPU", 0.0)
    memory = max((node["Resources"].get("memory", 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)
    todo, waiting = deque(jobs), {}
    try:
        while todo or waiting:
            run.check()
            while todo and len(waiting) < (workers or len(jobs)):
                job = todo.popleft()
                task = ray.remote(**need(job, gpus, memory), max_retries=ATTEMPTS)(_on_worker)
                waiting[task.remote(job)] = job[0]
            for reference in ray.wait(list(waiting), num_returns=1, timeout=POLL_S)[0]:
                yield _row_of(ray, reference, waiting.pop(reference))
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)
        if started:
            ray.shutdown()


def need(job: Job, gpus: float, memory: float) -> dict[str, float]:
    """What a case takes of a cluster that has so many GPUs, and so much memory in its largest machine: a GPU to itself
    where networks run on one, and memory, so that no machine gets as many cases as it has cores and runs out of it."""
    _, request, *_ = job
    device, networks = request["device"], registry.card(request["method"]).runs_networks
    on_gpu = networks and (device.startswith("cuda") or (device == "auto" and gpus > 0))
    return {"num_gpus" if on_gpu else "num_cpus": 1, "memory": min(CASE_BYTES, memory)}


def _connect(ray: Any, address: str | None) -> None:
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ResourceError(
            f"Ray cluster {address}",
            f"cannot be reached ({error})",
            "Check the address, or leave it out for a local one. Ray with tokens also needs RAY_AUTH_MODE=token.",
        ) from None


def _on_worker(job: Job) -> Row:
    return do_case(*job)


def _row_of(ray: Any, reference: Any, id_: str) -> Row:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        return {**_lost(id_, ATTEMPTS + 1), "trace": str(error)}


def choose(engine: str, jobs: list[Job], run: Run, workers: int | None, address: str | None) -> Iterator[Row]:
    if engine == "ray":
        return ray_cluster(jobs, run, address, workers)
    if engine != "local":
        raise OptionError(f"Engine '{engine}'", "is not one of local, ray", "Choose one of them.")
    return serial(jobs, run) if workers in (None, 1) else _processes(jobs, run, workers)


def _processes(jobs: list[Job], run: Run, workers: int) -> Iterator[Row]:
    with shared_among(workers):
        yield from processes(jobs, run, workers)
