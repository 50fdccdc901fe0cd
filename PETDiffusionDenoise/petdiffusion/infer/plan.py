"""The memory plan, chosen before anything runs: the whole volume in one piece where it fits, else patches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..errors import ResourceError
from .device import Policy, free_memory, make_room
from .tiles import Box, Triple, body_box, holding, tiles, whole_box

STATE_VOLUMES = 12
"""Volumes alive at the same time beside the network, measured: the chain's, the sums' and those on their way."""

SHARE_OF_FREE = {"cpu": 0.6, "mps": 0.6, "cuda": 0.8}
HIDDEN = {"cpu": 3.0, "mps": 1.5, "cuda": 1.25}
"""Memory taken for each byte of live tensors: copies inside the convolutions, kept blocks, fragmentation. On a CPU 2.2
to 2.8 were measured with kept blocks."""

MOST_ELEMENTS = {"cuda": 2**31 - 1}
"""Of one tensor: some of CUDA's kernels count with 32 bits, and fail beyond whatever the memory."""


@dataclass(frozen=True)
class PatchRules:
    """What shapes a network accepts, and what its method wants of the patches.

    3D networks take (d, h, w). 2D networks take slabs of `slab` neighbouring slices as channels; `slab_overlap` slices
    are shared by neighbouring slabs.
    """

    dims: int = 3
    multiple: int = 8
    slab: int = 1
    slab_overlap: int = 0
    largest: int | None = None
    """Longest side of a patch; None: as long as memory allows."""
    smallest: int = 32
    """Shortest side that the plan goes down to."""
    overlap: int = 16
    """Voxels shared with the neighbour along each axis, at least."""
    margin: int = 8
    """Voxels around the body that are worked on too."""
    trial: int = 32
    """Side of the smaller of the two 3D patches by which cost is measured."""

    @property
    def multiples(self) -> Triple:
        return (self.multiple if self.dims == 3 else 1, self.multiple, self.multiple)

    @property
    def overlaps(self) -> Triple:
        wide = -(-self.overlap // self.multiple) * self.multiple
        return (wide if self.dims == 3 else self.slab_overlap, wide, wide)

    @property
    def floor(self) -> int:
        """Shortest side of a patch: room for the overlaps of both sides."""
        return max(2 * self.overlaps[1], -(-self.smallest // self.multiple) * self.multiple)


@dataclass(frozen=True)
class Cost:
    """What a patch costs: so much for each voxel and so much besides, measured on two small ones."""

    bytes_per_voxel: float
    bytes_besides: float = 0.0
    seconds_per_voxel: float = 0.0
    elements_per_voxel: float = 1.0
    """Of the largest tensor."""

    def bytes(self, voxels: int, kind: str) -> int:
        return int((self.bytes_besides + voxels * self.bytes_per_voxel) * HIDDEN.get(kind, 3.0))

    def voxels(self, budget: float, kind: str) -> float:
        """The largest patch for a budget, and for the device's kernels."""
        room = (budget / HIDDEN.get(kind, 3.0) - self.bytes_besides) / self.bytes_per_voxel
        return min(room, MOST_ELEMENTS.get(kind, math.inf) / self.elements_per_voxel)


@dataclass(frozen=True)
class Plan:
    """How a volume will be run; printed, kept in the run record, and made smaller when memory runs out."""

    shape: Triple
    region: Box
    patch: Triple
    overlap: Triple
    samples: int
    """Chains that run together."""
    batch: int
    """Patches in one call of the network, each of one sample."""
    patches: int
    skipped: int
    device: str
    state: str
    """Device of the chain's volumes and of the sum over patches."""
    bf16: bool
    volumes: int
    """Bytes of the chain's volumes."""
    bytes: int
    """Memory expected to be taken on the device, volumes included if they are there."""
    budget: int
    seconds: float
    """Expected for one evaluation of one sample."""

    @property
    def whole(self) -> bool:
        return self.patches <= 1

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        size = "x".join(map(str, self.region.size))
        piece = (f"{size} in one piece" if self.whole else
                 f"{size} in {self.patches} patches of {'x'.join(map(str, self.patch))}, {self.batch} at a time")
        air = f", {self.skipped} of air left out" if self.skipped else ""
        return (f"{piece}{air}; {'bf16' if self.bf16 else 'float32'} on {self.device}, about "
                f"{self.bytes / 1e9:.1f} GB of {self.budget / 1e9:.1f} GB and {self.seconds:.2g} s an evaluation")


def make_plan(shape: Triple, rules: PatchRules, cost: Cost, policy: Policy, *, channels: int = 1,
              samples: int = 1, body: np.ndarray | None = None, budget: int | None = None) -> Plan:
    """Everything within the body's box at once if it fits, else the patches with the least work.

    `samples` are the chains that run together.
    """
    region = _region(shape, rules, body)
    if budget is None:
        make_room()
        budget = int(SHARE_OF_FREE.get(policy.kind, 0.6) * free_memory(policy.device))
    volumes = STATE_VOLUMES * samples * channels * 4 * math.prod(shape)
    on_device = policy.kind == "cpu" or volumes < budget / 4
    voxels = cost.voxels(budget - volumes if on_device else budget, policy.kind)
    patch = _best_patch(region.size, rules, voxels)
    plan = Plan(tuple(shape), region, patch, rules.overlaps, samples, 1, 0, 0, policy.device,
                policy.device if on_device else "cpu", policy.bf16, volumes, 0, budget, 0.0)
    return counted(plan, rules, cost, policy, body, _batch(patch, rules, voxels))


def smaller(plan: Plan, rules: PatchRules, cost: Cost, policy: Policy, body: np.ndarray | None = None) -> Plan:
    """The plan to try after memory ran out: smaller batches, then volumes off the device, then smaller patches."""
    if plan.batch > 1:
        return counted(plan, rules, cost, policy, body, plan.batch // 2)
    if plan.state != "cpu":
        return counted(replace(plan, state="cpu"), rules, cost, policy, body, 1)
    patch = _halved(plan.patch, rules)
    if patch == plan.patch:
        raise ResourceError(f"Memory of {plan.device}", f"is not enough for a patch of {plan.patch} voxels",
                            "Close other programs, use another device, or choose a smaller model.")
    return counted(replace(plan, patch=patch, overlap=rules.overlaps), rules, cost, policy, body, 1)


def counted(plan: Plan, rules: PatchRules, cost: Cost, policy: Policy, body: np.ndarray | None, batch: int) -> Plan:
    """The plan with so many patches in a call, and what that takes."""
    kept, skipped = plan_tiles(plan, rules, body)
    batch = max(1, min(batch, len(kept) * plan.samples))
    voxels = math.prod(plan.patch)
    return replace(plan, batch=batch, patches=len(kept), skipped=skipped,
                   bytes=cost.bytes(batch * voxels, policy.kind) + (plan.volumes if plan.state == plan.device else 0),
                   seconds=len(kept) * voxels * cost.seconds_per_voxel)


def plan_tiles(plan: Plan, rules: PatchRules, body: np.ndarray | None = None) -> tuple[list, int]:
    """The patches of a plan, and how many hold nothing but air."""
    return holding(tiles(plan.region, plan.patch, plan.overlap, rules.multiples), body)


def _region(shape: Triple, rules: PatchRules, body: np.ndarray | None) -> Box:
    """What is worked on: the body's box, or the volume; in 2D at least one slab thick."""
    region = whole_box(shape, rules.multiples) if body is None else body_box(body, rules.margin, rules.multiples)
    if rules.dims == 2 and 0 < region.size[0] < rules.slab:
        start = max(0, min(region.start[0], shape[0] - rules.slab))
        region = Box((start, *region.start[1:]), (rules.slab, *region.size[1:]))
    return region


def _best_patch(size: Triple, rules: PatchRules, voxels: float) -> Triple:
    """Of the patches with at most so many voxels, the one that covers the region with the least work."""
    sides = [_sides(n, axis, rules) for axis, n in enumerate(size)]
    grids = np.meshgrid(*sides, indexing="ij")
    fits = np.prod(grids, axis=0, dtype=float) <= max(voxels, math.prod(s[0] for s in sides))
    work = [_covered(n, grid, o, m) for n, grid, o, m in zip(size, grids, rules.overlaps, rules.multiples)]
    total = np.where(fits, np.prod(work, axis=0, dtype=float), np.inf) + 1e-3 * np.sum(grids, axis=0)
    best = np.unravel_index(np.argmin(total), total.shape)
    return tuple(int(s[i]) for s, i in zip(sides, best))


def _sides(length: int, axis: int, rules: PatchRules) -> np.ndarray:
    """Lengths a patch may have along an axis, the shortest first."""
    if rules.dims == 2 and axis == 0:
        return np.array([rules.slab])
    m = rules.multiple
    longest = max(m, min(length, (rules.largest or length) // m * m))
    return np.arange(min(rules.floor, longest), longest + 1, m)


def _covered(length: int, patch: np.ndarray, overlap: int, multiple: int) -> np.ndarray:
    """Voxels worked on along an axis, overlaps counted twice."""
    stride = np.maximum((patch - overlap) // multiple * multiple, multiple)
    return patch * (np.maximum(np.ceil((length - patch) / stride), 0) + 1)


def _batch(patch: Triple, rules: PatchRules, voxels: float) -> int:
    """Slices go together; of 3D patches a few, since one already fills a device."""
    limit = 32 if rules.dims == 2 else 4
    return max(1, min(limit, int(voxels // math.prod(patch))))


def _halved(patch: Triple, rules: PatchRules) -> Triple:
    def half(side: int) -> int:
        return max(min(side, rules.floor), side // 2 // rules.multiple * rules.multiple)

    return (half(patch[0]) if rules.dims == 3 else patch[0], half(patch[1]), half(patch[2]))


class LiveBytes(TorchDispatchMode):
    """Adds up the tensors alive after each operation of a run."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[int] = []
        self.largest = 0
        """Elements of the largest tensor."""
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Trials run uncompiled. To be shielded from the compiler would mean to import it: a second of every run."""
        return False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self.largest = max(self.largest, leaf.numel())
                self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self._alive = {key: (ref, size) for key, (ref, size) in self._alive.items() if not ref.expired()}
        self.history.append(sum(size for _, size in self._alive.values()))
        return result


def measure_cost(run_patch: Callable[[Triple], Any], rules: PatchRules, policy: Policy) -> Cost:
    """Cost of a network; `run_patch(size)` evaluates it once on an empty patch.

    Two sizes tell for each moment what grows with the patch (features) and what does not (copies of weights).
    """
    small, large = _trial_sizes(rules)
    with torch.no_grad(), policy.uncompiled():
        (first, _), (second, most) = (_history(run_patch, size, policy) for size in (small, large))
        _wait(policy)
        began = time.perf_counter()
        with policy.autocast():
            run_patch(large)
        _wait(policy)
        seconds = time.perf_counter() - began
    voxels = math.prod(small), math.prod(large)
    slope, besides = _line(first, second, *voxels)
    return Cost(max(slope, 4.0), besides, seconds / voxels[1], most / voxels[1])


def _wait(policy: Policy) -> None:
    """CUDA works on while Python goes on."""
    if policy.kind == "cuda":
        torch.cuda.synchronize()


def _line(first: np.ndarray, second: np.ndarray, small: int, large: int) -> tuple[float, float]:
    """The steepest growth and the largest constant part over all moments."""
    if len(first) != len(second):
        return second.max() / large, 0.0
    slopes = (second - first) / (large - small)
    return float(slopes.max()), float(max(0.0, (first - slopes * small).max()))


def _trial_sizes(rules: PatchRules) -> tuple[Triple, Triple]:
    def size(side: int) -> Triple:
        side = -(-side // rules.multiple) * rules.multiple
        return (side if rules.dims == 3 else rules.slab, side, side)

    return (size(rules.trial), size(rules.trial + max(16, rules.multiple))) if rules.dims == 3 else (size(64), size(96))


def _history(run_patch: Callable[[Triple], Any], size: Triple, policy: Policy) -> tuple[np.ndarray, int]:
    """Bytes alive after each operation, and the elements of the largest tensor."""
    with policy.autocast(), LiveBytes() as live:
        run_patch(size)
    return np.array(live.history, dtype=float), live.largest
