"""A Denoiser for volumes of any size: the estimates of overlapping patches, blended at every step.

The chain itself runs on the whole volume with one noise field, so there are no chains of patches and no seams. Patches
without body are not evaluated; there the estimate is the fallback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ..diffusion.conditions import Conditions, coordinate_axis
from ..diffusion.parameterisation import Denoiser
from ..progress import RAN_OUT, Run
from .device import Policy, make_room
from .plan import Cost, PatchRules, Plan, plan_tiles, smaller
from .tiles import Box, Tile, mirrored

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate", "alloc_failed",
                 "unable to find an engine")
"""The last two are how CUDA's libraries say that there is no room for what they need beside."""


@dataclass(eq=False)
class Patched:
    """D over patches. x is (batch, channels, z, y, x) of the whole volume, on any device; so is the result.

    `denoiser` sees patches on the plan's device: (n, channels, d, h, w), or (n, channels * slab, h, w) in 2D.
    `fallback` is a number, or an image that broadcasts against x. `advance(part)` is told how much of the volume each
    call of the network has finished.
    """

    denoiser: Denoiser
    plan: Plan
    rules: PatchRules
    policy: Policy
    cost: Cost
    run: Run
    body: np.ndarray | None = None
    fallback: float | Tensor = 0.0
    advance: Callable[[float], None] | None = None
    _tiles: list[Tile] = field(default_factory=list, repr=False)
    _kept: tuple[Conditions, int, Conditions] | None = field(default=None, repr=False)
    """Conditions already cut, where all patches go in one call."""
    _moved: tuple[Conditions, Conditions] | None = field(default=None, repr=False)
    """Conditions of the whole volume, and they on the device of the chain's volumes."""

    def __post_init__(self) -> None:
        self._tiles, _ = plan_tiles(self.plan, self.rules, self.body)

    def __call__(self, x: Tensor, sigma: Tensor, cond: Conditions | None = None) -> Tensor:
        while True:
            make_room(self.plan.bytes if self.policy.kind == "cpu" else 0)
            trouble = None
            try:
                return self._evaluated(x, sigma, cond)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                trouble = str(error).splitlines()[0] if str(error) else type(error).__name__
            self._shrink(trouble)  # outside `except`, where the failed call no longer holds its tensors

    @torch.no_grad()  # a chain that kept what gradients need would hold every evaluation's features
    def _evaluated(self, x: Tensor, sigma: Tensor, cond: Conditions | None) -> Tensor:
        result = _background(self.fallback, x)
        for tiles in _grouped(self._tiles, max(1, self.plan.batch // len(x))):
            estimates = self._run_network([t.box for t in tiles], x, sigma, cond)
            for tile, estimate in zip(tiles, estimates.chunk(len(tiles))):
                self._add(result, tile, estimate.to(result.device))
        return result

    def _run_network(self, boxes: list[Box], x: Tensor, sigma: Tensor, cond: Conditions | None) -> Tensor:
        """D of these patches of all samples, `batch` of them in a call."""
        crops = _joined([cut(x, box) for box in boxes])
        patches = None if cond is None else self._conditions(cond, boxes, x.shape)
        parts, size = [], self.plan.batch
        for begin in range(0, len(crops), size):
            self.run.check()
            rows = crops[begin:begin + size]
            given = None if patches is None else patches.rows(begin, begin + size)
            parts.append(self._call(rows, sigma, given))
            if self.advance is not None:
                self.advance(len(rows) / (len(self._tiles) * len(x)))
        return _joined(parts)

    def _call(self, rows: Tensor, sigma: Tensor, cond: Conditions | None) -> Tensor:
        device = self.plan.device
        with self.policy.autocast():
            estimate = self.denoiser(folded(rows.to(device), self.rules), sigma.to(device), cond)
        return estimate.to(rows.dtype).reshape(rows.shape)

    def _conditions(self, cond: Conditions, boxes: list[Box], shape: torch.Size) -> Conditions:
        if self._kept is not None and self._kept[0] is cond and self._kept[1] == shape[0]:
            return self._kept[2]
        patches = cut_conditions(self._near(cond), boxes, shape, self.rules).to(self.plan.device)
        self._kept = (cond, shape[0], patches) if len(boxes) == len(self._tiles) else None
        return patches

    def _near(self, cond: Conditions) -> Conditions:
        """Where the chain's volumes are, moved there once: not every patch anew in every evaluation."""
        if self.plan.state == "cpu":
            return cond
        if self._moved is None or self._moved[0] is not cond:
            self._moved = (cond, cond.to(self.plan.state))
        return self._moved[1]

    def _add(self, result: Tensor, tile: Tile, estimate: Tensor) -> None:
        """result += share * (estimate - fallback): where patches are left out, the fallback keeps its share."""
        where = (..., *tile.box.inside(result.shape[2:]))
        size = result[where].shape[2:]
        estimate = estimate[..., :size[0], :size[1], :size[2]]
        if len(self._tiles) == 1:
            result[where] = estimate
            return
        change = estimate - _part(self.fallback, where, result)
        for axis, share in enumerate(tile.shares):
            shape = [1] * axis + [-1] + [1] * (2 - axis)
            change = change * torch.from_numpy(share[:size[axis]]).to(change).reshape(shape)
        result[where] += change

    def _shrink(self, trouble: str) -> None:
        self.plan = smaller(self.plan, self.rules, self.cost, self.policy, self.body)
        self._tiles, _ = plan_tiles(self.plan, self.rules, self.body)
        self._kept, self._moved = None, None
        if self.policy.kind == "cuda":
            torch.cuda.empty_cache()
        self.run.warn(f"{RAN_OUT} ({trouble}); going on with a smaller plan: {self.plan}.")


def is_out_of_memory(error: BaseException) -> bool:
    return (isinstance(error, (MemoryError, torch.OutOfMemoryError))
            or any(text in str(error).lower() for text in OUT_OF_MEMORY))


def cut(image: Tensor, box: Box) -> Tensor:
    """The box of (..., z, y, x); beyond the volume's end it goes on like a mirror."""
    shape = image.shape[-3:]
    part = image[(..., *box.inside(shape))] if box.fits(shape) else image
    if box.fits(shape):
        return part
    for axis, (start, stop, length) in enumerate(zip(box.start, box.stop, shape)):
        index = torch.from_numpy(mirrored(start, stop, length)).to(image.device)
        part = part.index_select(part.ndim - 3 + axis, index)
    return part


def cut_conditions(cond: Conditions, boxes: list[Box], shape: torch.Size, rules: PatchRules) -> Conditions:
    """Conditions of a batch of patches, each patch with all the samples of x (whose shape is given)."""
    samples = shape[0]
    images = [_cut_images(cond, box, tuple(shape[2:]), samples) for box in boxes]
    joined = None if images[0] is None else folded(torch.cat(images), rules)
    return replace(cond, images=joined, context=_cut_context(cond, boxes, shape, rules), coordinates=False,
                   by_slice=False, vector=_each(cond.vector, len(boxes), samples))


def folded(patches: Tensor, rules: PatchRules) -> Tensor:
    """For 2D networks the slices of a slab become channels."""
    return patches.flatten(1, 2) if rules.dims == 2 else patches


def _cut_images(cond: Conditions, box: Box, shape: tuple[int, ...], samples: int) -> Tensor | None:
    parts = []
    if cond.images is not None:
        part = cut(cond.images, box)
        parts.append(part.expand(samples, *part.shape[1:]))
    if cond.coordinates:
        device = "cpu" if cond.images is None else cond.images.device
        parts.append(_cut_coordinates(box, shape, device).expand(samples, -1, -1, -1, -1))
    return torch.cat(parts, 1) if parts else None


def _cut_coordinates(box: Box, shape: tuple[int, ...], device: torch.device | str) -> Tensor:
    axes = [coordinate_axis(n, device)[torch.from_numpy(mirrored(a, b, n)).to(device)]
            for a, b, n in zip(box.start, box.stop, shape)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def _cut_context(cond: Conditions, boxes: list[Box], shape: torch.Size, rules: PatchRules) -> Tensor | None:
    """One context for all, or that of each patch's middle slice (of a pair: the first)."""
    if cond.context is None or not cond.by_slice:
        return _each(cond.context, len(boxes), shape[0])
    middle = [min(box.start[0] + (rules.slab - 1) // 2, len(cond.context) - 1) for box in boxes]
    return cond.context[middle].repeat_interleave(shape[0], 0)


def _each(value: Tensor | None, boxes: int, samples: int) -> Tensor | None:
    if value is None or len(value) == 1:
        return value
    if len(value) != samples:
        raise ValueError(f"conditions for {len(value)} images do not fit {samples} samples")
    return value.repeat(boxes, *[1] * (value.ndim - 1))


def _background(fallback: float | Tensor, x: Tensor) -> Tensor:
    if isinstance(fallback, Tensor):
        return fallback.to(x).expand_as(x).clone()
    return torch.full_like(x, fallback)


def _part(fallback: float | Tensor, where: tuple, result: Tensor) -> float | Tensor:
    return fallback.to(result).expand_as(result)[where] if isinstance(fallback, Tensor) else fallback


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _grouped(tiles: list[Tile], size: int) -> Iterator[list[Tile]]:
    for begin in range(0, len(tiles), size):
        yield tiles[begin:begin + size]
