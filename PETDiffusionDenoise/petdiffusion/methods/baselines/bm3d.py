"""BM3D (Dabov, Foi, Katkovnik, Egiazarian 2007) slice by slice, and its extension to cubes, BM4D
(Maggioni, Katkovnik, Egiazarian, Foi 2013). One algorithm: a block of 1 x 8 x 8 or 4 x 4 x 4 voxels.

Step 1: blocks like the reference block are stacked, transformed (DCT in the block, Haar along the stack),
coefficients below lambda * SD are set to 0, and all estimates are averaged with weights 1 / (remaining variance).
Step 2: the same on stacks found in step 1's image, with the Wiener gain b^2 / (b^2 + SD^2) from its coefficients b.

Where this differs from the papers: DCT instead of the biorthogonal wavelet in step 1; the SD of each
coefficient follows from the correlation of the noise, which in PET is strong (as in Makinen, Azzari, Foi 2020);
the mean of a stack is never changed, so activity is kept. Distances are measured in units of the noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch

from ...prepare.noise import measure
from ...progress import Run
from ..contract import Case, Output
from .frame import FWHM, Frame, filtered

THRESHOLD = 2.7
KAISER_BETA = 2.0
FARTHEST = (4.0, 0.64)
"""Largest mean squared difference between stacked blocks in steps 1 and 2, in units of the noise variance.
At the paper's SD of 25 these are its 2500 and 400."""
DISTANCES_AT_ONCE = 12_000_000
STACKED_AT_ONCE = 4_000_000
"""Floats held at a time."""


@dataclass(frozen=True)
class Plan:
    """Block, step between reference blocks and reach of the search, (z, y, x); blocks in a stack of each step.

    `stride` is the distance in voxels between neighbours within a block, and between offsets of the search.
    """

    block: tuple[int, int, int]
    step: tuple[int, int, int]
    search: tuple[int, int, int]
    stride: tuple[int, int, int] = (1, 1, 1)
    stack: tuple[int, int] = (16, 32)

    @property
    def voxels(self) -> int:
        return int(np.prod(self.block))

    @property
    def extent(self) -> tuple[int, ...]:
        """Voxels from a block's first to its last, both counted."""
        return tuple((b - 1) * s + 1 for b, s in zip(self.block, self.stride))

    @property
    def offsets(self) -> np.ndarray:
        """All offsets of the search, in voxels."""
        return (np.array(list(np.ndindex(*[2 * s + 1 for s in self.search]))) - self.search) * self.stride

    def corners(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(n - e + 1 for n, e in zip(shape, self.extent))

    def strided(self, stride: tuple[int, ...]) -> Plan:
        """The same plan with wider blocks. Steps and strides share no factor, so blocks reach every voxel."""
        stride = tuple(s if b > 1 else 1 for s, b in zip(stride, self.block))
        step = tuple(n if np.gcd(n, s) == 1 else n + 1 for n, s in zip(self.step, stride))
        return replace(self, stride=stride, step=step)

    @property
    def margin(self) -> tuple[int, ...]:
        """Voxels at the image's ends that only blocks from beyond it would reach."""
        return tuple((d - 1) * s for d, s in zip(self.stride, self.step))


def slices_plan(search: int) -> Plan:
    return Plan((1, 8, 8), (1, 3, 3), (0, search, search))


def cubes_plan(search: int) -> Plan:
    return Plan((4, 4, 4), (3, 3, 3), (search, search, search))


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    """BM3D on every axial slice."""
    return _run(case, options, run, slices_plan(options["search"]))


def denoise_cubes(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    """BM4D."""
    return _run(case, options, run, cubes_plan(options["search"]))


def _run(case: Case, options: Mapping[str, Any], run: Run, plan: Plan) -> Output:
    fwhm = measure(case.pet, case.body).fwhm_mm if options["correlated"] and case.noise > 0 else (0.0, 0.0, 0.0)

    def core(frame: Frame) -> np.ndarray:
        return collaborative(frame, plan, run, options["strength"], fwhm)

    return filtered(case, run, core, options["stabilise"])


def collaborative(frame: Frame, plan: Plan, run: Run, strength: float = 1.0,
                  noise_fwhm_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    """Both steps. `noise_fwhm_mm` is the width of the noise's correlation; 0 for white noise. Where it spans
    several voxels, blocks take every second voxel: a block must be wider than a grain of noise."""
    if strength == 0:
        return frame.array
    image = frame.array / np.float32(frame.noise)
    fwhm = [f / s for f, s in zip(noise_fwhm_mm, frame.spacing)]
    plan = plan.strided(tuple(min(2, max(1, round(f))) for f in fwhm))
    image, crop = _padded(image, plan)
    sd = coefficient_sd(plan.block, [f / s for f, s in zip(fwhm, plan.stride)]) * strength
    noisy = torch.from_numpy(image)
    basic = _step(noisy, None, plan, sd, run)
    final = _step(noisy, basic, plan, sd, run)
    return np.ascontiguousarray(final.numpy()[crop]) * np.float32(frame.noise)


def _padded(image: np.ndarray, plan: Plan) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Mirrored at its ends so that the last reference block ends with it; and where the image lies in it."""
    widths = []
    for size, margin, extent, step in zip(image.shape, plan.margin, plan.extent, plan.step):
        spare = max(size + 2 * margin, extent) - extent
        widths.append((margin, extent + spare + -spare % step - size - margin))
    return np.pad(image, widths, mode="symmetric"), tuple(slice(w[0], w[0] + n) for w, n in zip(widths, image.shape))


@cache
def dct_matrix(size: int) -> torch.Tensor:
    """Orthonormal DCT-II, rows are basis functions."""
    k, n = np.mgrid[:size, :size]
    matrix = np.sqrt(2.0 / size) * np.cos(np.pi * (2 * n + 1) * k / (2 * size))
    matrix[0] = np.sqrt(1.0 / size)
    return torch.from_numpy(matrix.astype(np.float32))


@cache
def haar_matrix(size: int) -> torch.Tensor:
    """Orthonormal Haar transform of a power of two."""
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.vstack([np.kron(matrix, [1, 1]), np.kron(np.eye(len(matrix)), [1, -1])]) / np.sqrt(2)
    return torch.from_numpy(matrix.astype(np.float32))


def block_transform(block: tuple[int, int, int]) -> torch.Tensor:
    """The block's DCT as one orthonormal matrix over its flattened voxels."""
    return torch.kron(torch.kron(dct_matrix(block[0]), dct_matrix(block[1])), dct_matrix(block[2]))


def coefficient_sd(block: tuple[int, int, int], fwhm_voxels: list[float]) -> torch.Tensor:
    """SD of each DCT coefficient of unit-variance noise that a Gaussian kernel of this width has smoothed."""
    variance = np.ones(1)
    for size, fwhm in zip(block, fwhm_voxels):
        lag = np.subtract.outer(np.arange(size), np.arange(size))
        correlation = np.exp(-lag ** 2 / 4 / max(fwhm / FWHM, 1e-6) ** 2)
        dct = dct_matrix(size).double().numpy()
        variance = np.kron(variance, np.maximum(np.einsum("ki,ij,kj->k", dct, correlation, dct), 0))
    return torch.from_numpy(np.sqrt(np.maximum(variance, 1e-4)).astype(np.float32))


def _step(noisy: torch.Tensor, pilot: torch.Tensor | None, plan: Plan, sd: torch.Tensor, run: Run) -> torch.Tensor:
    """Step 1 without a pilot, step 2 with step 1's image as the pilot."""
    total, weights = torch.zeros_like(noisy), torch.zeros_like(noisy)
    depth, reach = noisy.shape[0], plan.search[0] * plan.stride[0]
    for first, last in _layers(noisy.shape, plan):
        run.progress(((pilot is not None) + first / depth) / 2)
        low, high = max(0, first - reach), min(depth, last + reach + plan.extent[0])
        part = slice(low, high)
        layers = range(first - low, last - low + 1, plan.step[0])
        _slab(noisy[part], None if pilot is None else pilot[part], plan, sd, layers, run, total[part], weights[part])
    reached = weights > 0  # all but the mirrored margin, which is cut off in the end
    return _without_chequers(torch.where(reached, total / weights.where(reached, torch.ones(())), noisy), plan)


def _without_chequers(image: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Blocks of every second voxel leave neighbours slightly apart. Along their axes the finest pattern is
    removed, and nothing that an image this blurred can hold: response 1, flat to third order, at 0; 0 at the end."""
    from scipy.ndimage import correlate1d

    array = image.numpy()
    for axis, stride in enumerate(plan.stride):
        if stride > 1:
            array = correlate1d(array, np.array([-1, 4, 10, 4, -1]) / 16, axis, mode="reflect")
    return torch.from_numpy(array)


def _layers(shape: torch.Size, plan: Plan) -> Iterator[tuple[int, int]]:
    """Groups of reference layers along z that are worked on together: first and last corner."""
    starts, *planes = [range(0, n, s) for n, s in zip(plan.corners(shape), plan.step)]
    together = max(1, DISTANCES_AT_ONCE // (len(plan.offsets) * len(planes[0]) * len(planes[1])))
    for k in range(0, len(starts), together):
        chosen = starts[k:k + together]
        yield chosen[0], chosen[-1]


def _slab(noisy: torch.Tensor, pilot: torch.Tensor | None, plan: Plan, sd: torch.Tensor, layers: range, run: Run,
          total: torch.Tensor, weights: torch.Tensor) -> None:
    """All stacks whose reference block starts in these layers; stacks of one size are filtered together."""
    number = 0 if pilot is None else 1
    largest = int(np.log2(min(plan.stack[number], len(plan.offsets))))
    distance, position = _matches(noisy if pilot is None else pilot, layers, plan, 2 ** largest, run)
    transform = block_transform(plan.block)
    coefficients = _blocks(noisy, plan) @ transform.T
    pilots = None if pilot is None else _blocks(pilot, plan) @ transform.T
    gathered, mass = torch.zeros_like(coefficients), torch.zeros(len(coefficients))
    counts = (distance <= FARTHEST[number]).sum(1).clamp_(min=1)
    for size in (2 ** k for k in range(largest + 1)):
        alike = position[(counts >= size) & (counts < 2 * size), :size]
        for members in alike.split(max(1, STACKED_AT_ONCE // (size * plan.voxels))):
            run.check()
            stack, weight = _filtered_stack(coefficients, pilots, members, sd)
            gathered.index_add_(0, members.reshape(-1), (stack * weight[:, None, None]).reshape(-1, plan.voxels))
            mass.index_add_(0, members.reshape(-1), weight.repeat_interleave(size))
    _lay_down(gathered @ transform, mass, plan, total, weights)


def _filtered_stack(coefficients: torch.Tensor, pilots: torch.Tensor | None, members: torch.Tensor,
                    sd: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Stacks (groups, size, voxels) after threshold or Wiener gain, and one weight each."""
    haar = haar_matrix(members.shape[1])
    stack = torch.einsum("ij,gjv->giv", haar, coefficients[members])
    if pilots is None:
        gain = (stack.abs() > THRESHOLD * sd).float()
    else:
        energy = torch.einsum("ij,gjv->giv", haar, pilots[members]).square_()
        gain = energy / (energy + sd ** 2)
    gain[:, 0, 0] = 1.0
    weight = 1.0 / (gain * sd).square_().sum((1, 2))
    return torch.einsum("ij,giv->gjv", haar, stack * gain), weight


def _blocks(image: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Every block of the image as a row, by its corner."""
    image = image.contiguous()
    inner = [stride * step for stride, step in zip(image.stride(), plan.stride)]
    view = image.as_strided((*plan.corners(image.shape), *plan.block), (*image.stride(), *inner))
    return view.reshape(-1, plan.voxels)


def _matches(alike: torch.Tensor, layers: range, plan: Plan, most: int,
             run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    """For each reference block the `most` nearest blocks of the search window: distances and corner numbers."""
    corners = plan.corners(alike.shape)
    planes = [range(0, n, s) for n, s in zip(corners[1:], plan.step[1:])]
    references = [torch.tensor(list(r)) for r in (layers, *planes)]
    z, y, x = torch.meshgrid(*references, indexing="ij")
    own = ((z * corners[1] + y) * corners[2] + x).reshape(-1)
    offsets = plan.offsets
    shifts = torch.from_numpy(offsets @ np.array([corners[1] * corners[2], corners[2], 1]))
    distances = torch.full((len(offsets), *z.shape), float("inf"))
    for row, offset in enumerate(offsets.tolist()):
        if row % 16 == 0:
            run.check()
        _block_distance(alike, offset, references, plan, distances[row])
    distances[len(offsets) // 2] = -1.0  # a reference block always is in its own stack, even among equals
    nearest, row = torch.topk(distances.view(len(offsets), -1), most, dim=0, largest=False)
    return nearest.T, torch.where(torch.isfinite(nearest), own + shifts[row], own).T


def _block_distance(alike: torch.Tensor, offset: list[int], references: list[torch.Tensor], plan: Plan,
                    into: torch.Tensor) -> None:
    """Mean squared difference of each reference block and the block at the offset; left as it is outside."""
    fits, here, there = [], [], []
    for corner, step, extent, length in zip(references, offset, plan.extent, alike.shape):
        low, high = max(0, -step), min(length, length - step)
        fits.append(torch.nonzero((corner >= low) & (corner + extent <= high)).flatten())
        if fits[-1].numel() == 0:
            return
        here.append(slice(low, high))
        there.append(slice(low + step, high + step))
    squared = torch.sub(alike[tuple(here)], alike[tuple(there)]).square_()
    for axis in (2, 1, 0):
        start = references[axis][fits[axis]] - here[axis].start
        squared = _window_sum(squared, axis, plan.block[axis], plan.stride[axis]).index_select(axis, start)
    into[tuple(slice(int(f[0]), int(f[-1]) + 1) for f in fits)] = squared / plan.voxels


def _window_sum(values: torch.Tensor, axis: int, size: int, stride: int) -> torch.Tensor:
    """Sum of `size` values (a power of two), `stride` apart, starting at each voxel; by doubling."""
    width = 1
    while width < size:
        length = values.shape[axis] - width * stride
        values = values.narrow(axis, 0, length) + values.narrow(axis, width * stride, length)
        width *= 2
    return values


@cache
def _kaiser(block: tuple[int, int, int]) -> np.ndarray:
    window = np.ones(1)
    for size in block:
        window = np.kron(window, np.kaiser(size, KAISER_BETA))
    return window.astype(np.float32)


def _lay_down(blocks: torch.Tensor, mass: torch.Tensor, plan: Plan, total: torch.Tensor,
              weights: torch.Tensor) -> None:
    """Adds all blocks to the image at their places, voxel of the block by voxel of the block."""
    corners = plan.corners(total.shape)
    blocks, mass = blocks.view(*corners, plan.voxels), mass.view(corners)
    for number, (index, window) in enumerate(zip(np.ndindex(*plan.block), _kaiser(plan.block))):
        place = tuple(slice(i * s, i * s + c) for i, s, c in zip(index, plan.stride, corners))
        total[place].add_(blocks[..., number], alpha=float(window))
        weights[place].add_(mass, alpha=float(window))
