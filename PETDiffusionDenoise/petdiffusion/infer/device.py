"""Which device, which precision, how many threads and how much memory: measured once, said in `petdiffusion doctor`."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from .. import memory
from ..errors import OptionError, ResourceError

SPARE = 1.25
"""What should be free, in what comes next by the plan."""
GAIN_WORTH_TAKING = 0.8
"""bf16 is used where it needs at most this share of float32's time."""


@dataclass(frozen=True)
class Policy:
    """How networks are run."""

    device: str = "cpu"
    bf16: bool = False
    channels_last: bool = False
    compile: bool = False

    @property
    def kind(self) -> str:
        return torch.device(self.device).type

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """bf16 for convolutions and matrix products; the weights stay float32 (in bf16 they can be 50 times slower)."""
        return torch.autocast(self.kind, torch.bfloat16) if self.bf16 else contextlib.nullcontext()

    def place(self, network: nn.Module) -> nn.Module:
        """The network on the device, ready to run."""
        if self.kind == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # float32 where it is asked for, not ten bits of it
        network = network.to(self.device).eval()
        if self.channels_last:
            network = network.to(memory_format=torch.channels_last)
        if self.compile:
            network.compile()
        return network

    def uncompiled(self) -> contextlib.AbstractContextManager[Any]:
        """For runs that watch the network's operations, which compiled code hides."""
        return torch.compiler.set_stance("force_eager") if self.compile else contextlib.nullcontext()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def choose_policy(device: str = "auto", dims: int = 3, compile: bool = False) -> Policy:
    """The best way to run here. channels-last helps 2D convolutions, not 3D."""
    name = pick_device(device)
    return Policy(name, bf16_pays(torch.device(name).type), channels_last=dims == 2, compile=compile)


def pick_device(wanted: str = "auto") -> str:
    """`auto` takes CUDA, then Apple's MPS, then the CPU; a device that is asked for and missing is an error."""
    found = available_devices()
    if wanted == "auto":
        return found[0]
    try:
        kind = torch.device(wanted).type
    except RuntimeError:
        raise OptionError(f"device = {wanted}", "is not a device", f"Use auto or one of {', '.join(found)}.") from None
    if kind not in found or (kind == "cuda" and (torch.device(wanted).index or 0) >= torch.cuda.device_count()):
        there = f"{', '.join(found)} {'is' if len(found) == 1 else 'are'}"
        raise ResourceError(f"device = {wanted}", f"is not available here ({there})",
                            "Use --device auto, or install a torch build for this hardware.")
    return wanted


def available_devices() -> tuple[str, ...]:
    cuda = ("cuda",) if torch.cuda.is_available() else ()
    mps = ("mps",) if torch.backends.mps.is_available() else ()
    return (*cuda, *mps, "cpu")


@cache
def bf16_pays(kind: str) -> bool:
    """Whether bf16 autocast is faster: asked of CUDA, timed on a CPU (where it can be 5 times slower)."""
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    slow, fast = time_small_layer()
    return fast <= GAIN_WORTH_TAKING * slow


@cache
def time_small_layer(channels: int = 32, size: int = 32, rounds: int = 8) -> tuple[float, float]:
    """Seconds of one 3D convolution on one core in float32 and in bf16.

    Taken in turns and the least of each, so that other programs on the machine do not decide. Stops at once where bf16
    is hopeless.
    """
    layer = nn.Conv3d(channels, channels, 3, padding=1)
    x = torch.zeros(1, channels, size, size, size)
    best = {False: float("inf"), True: float("inf")}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for i in range(rounds + 1):
            for half in best:
                best[half] = min(best[half], _seconds(layer, x, half)) if i else _seconds(layer, x, half)
            if best[True] > 10 * best[False]:
                break
            if i == 0:
                best = dict.fromkeys(best, float("inf"))
    finally:
        torch.set_num_threads(threads)
    return best[False], best[True]


def _seconds(layer: nn.Module, x: torch.Tensor, half: bool) -> float:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        began = time.perf_counter()
        layer(x)
        return time.perf_counter() - began


def prepare_process() -> None:
    """For whoever starts a process that runs networks, before the first tensor is made."""
    memory.keep_freed()
    use_real_cores()


def make_room(wanted: float = 0.0) -> bool:
    """Gives freed memory that the process keeps back to the system where that is short of it: where less is free than
    what comes next may take, or than the process holds. Whether it did. Half a second for each gigabyte."""
    if free_memory("cpu") >= max(SPARE * wanted, psutil.Process().memory_info().rss):
        return False
    return memory.give_back()


def use_real_cores() -> int:
    """Sets torch's threads to the real cores this process may use, unless OMP_NUM_THREADS says otherwise."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(real_cores())
    return torch.get_num_threads()


def real_cores() -> int:
    """Physical cores, within the process's affinity and a container's quota. More threads than this do harm."""
    limits = [psutil.cpu_count(logical=False) or psutil.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        limits.append(len(os.sched_getaffinity(0)))
    quota = _cgroup_numbers("cpu.max")
    if len(quota) == 2:
        limits.append(max(1, round(quota[0] / quota[1])))
    return max(1, min(limits))


def free_memory(device: str = "cpu") -> int:
    """Bytes that can still be taken on a device."""
    kind = torch.device(device).type
    if kind == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if kind == "mps":
        return max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    free = psutil.virtual_memory().available
    limit, used = _cgroup_numbers("memory.max"), _cgroup_numbers("memory.current")
    return min(free, limit[0] - used[0]) if limit and used else free


def _cgroup_numbers(name: str) -> list[int]:
    """The numbers in a file of this container's control group; none where it is absent or says `max`."""
    try:
        words = Path("/sys/fs/cgroup", name).read_text("ascii").split()
        return [int(word) for word in words]
    except (OSError, ValueError):
        return []


def describe() -> dict[str, Any]:
    """What networks will run on, for `petdiffusion doctor` and the run record."""
    device = pick_device()
    facts: dict[str, Any] = {
        "device": device, "name": _device_name(device), "torch": torch.__version__,
        "threads": torch.get_num_threads(), "real_cores": real_cores(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(), "bf16": bf16_pays(torch.device(device).type),
        "free_memory_gb": round(free_memory(device) / 1e9, 1),
        "free_ram_gb": round(free_memory("cpu") / 1e9, 1)}
    if device == "cpu":
        full, half = time_small_layer()
        facts["float32_ms"], facts["bf16_ms"] = round(1000 * full, 2), round(1000 * half, 2)
    return facts


def _device_name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return "Apple GPU" if device == "mps" else _cpu_name()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        import platform

        return platform.processor() or platform.machine()
