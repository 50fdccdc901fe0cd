"""Blocks of an image: their transform, the search for similar ones, and stacks of them (for BM3D and BM4D)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from ...filters import FWHM
from ...progress import Run

THRESHOLD = 2.7
KAISER_BETA = 2.0
FARTHEST = (4.0, 0.64)
"""Largest mean squared difference between stacked blocks in steps 1 and 2, in units of the noise variance.
At the paper's SD of 25 these are its 2500 and 400."""
DISTANCES_AT_ONCE = 4_000_000
STACKED_AT_ONCE = 500_000
TRANSFORMED_AT_ONCE = 16_000
"""Floats (of the last: blocks) held at a time; small enough for the cache."""


@dataclass(frozen=True)
class Plan:
    """Block, step between reference blocks and reach of the search, (z, y, x); blocks in a stack of each step."""

    block: tuple[int, int, int]
    step: tuple[int, int, int]
    search: tuple[int, int, int]
    stack: tuple[int, int] = (16, 32)

    @property
    def voxels(self) -> int:
        return self.block[0] * self.block[1] * self.block[2]

    @property
    def offsets(self) -> np.ndarray:
        """All offsets of the search; that of the block itself lies in the middle."""
        return np.array(list(np.ndindex(*[2 * s + 1 for s in self.search]))) - self.search

    def corners(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(n - b + 1 for n, b in zip(shape, self.block))

    def references(self, shape: tuple[int, ...]) -> tuple[range, ...]:
        """Corners of the reference blocks along each axis."""
        return tuple(range(0, n, s) for n, s in zip(self.corners(shape), self.step))


@cache
def dct_matrix(size: int) -> torch.Tensor:
    """Orthonormal DCT-II, rows are basis functions."""
    k, n = np.mgrid[:size, :size]
    matrix = np.sqrt(2.0 / size) * np.cos(np.pi * (2 * n + 1) * k / (2 * size))
    matrix[0] = np.sqrt(1.0 / size)
    return torch.from_numpy(matrix.astype(np.float32))


def haar(stack: torch.Tensor) -> torch.Tensor:
    """Haar transform along the first axis, a power of two, by sums and differences of neighbours. Row i is not of
    length 1 but of the square root of `haar_lengths`."""
    rows, result = stack, torch.empty_like(stack)
    while len(rows) > 1:
        half = len(rows) // 2
        torch.sub(rows[0::2], rows[1::2], out=result[half:2 * half])
        rows = rows[0::2] + rows[1::2]
    result[0] = rows[0]
    return result


def haar_back(rows: torch.Tensor) -> torch.Tensor:
    """What `haar` made, from its rows divided by their squared lengths."""
    sums = rows[:1]
    while len(sums) < len(rows):
        differences, wider = rows[len(sums):2 * len(sums)], torch.empty((2 * len(sums), *rows.shape[1:]))
        torch.add(sums, differences, out=wider[0::2])
        torch.sub(sums, differences, out=wider[1::2])
        sums = wider
    return sums


@cache
def haar_lengths(size: int) -> torch.Tensor:
    """Squared lengths of the rows of `haar`: of the mean, then from the coarsest differences to the finest."""
    return torch.tensor([float(size), *(2.0 * size // 2 ** int(np.log2(2 * i)) for i in range(1, size))])


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


def filtered(noisy: torch.Tensor, pilot: torch.Tensor | None, plan: Plan, sd: torch.Tensor, layers: range,
             run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    """All stacks whose reference block starts in these layers, filtered and laid down again: the weighted sum of
    blocks over each voxel, and the weights. Step 1 without a pilot, step 2 with step 1's image as the pilot."""
    number = 0 if pilot is None else 1
    largest = int(np.log2(min(plan.stack[number], len(plan.offsets))))
    distance, position = matches(noisy if pilot is None else pilot, layers, plan, 2 ** largest, run)
    coefficients = _spectra(noisy, plan)
    pilots = None if pilot is None else _spectra(pilot, plan)
    gathered, mass = torch.zeros_like(coefficients), torch.zeros(len(coefficients))
    counts = (distance <= FARTHEST[number]).sum(1).clamp_(min=1)
    for size in (2 ** k for k in range(largest + 1)):
        alike = position[(counts >= size) & (counts < 2 * size), :size]
        for members in alike.split(max(1, STACKED_AT_ONCE // (size * plan.voxels))):
            run.check()
            members = members.T.contiguous()
            stack, weight = _filtered_stack(coefficients, pilots, members, sd)
            gathered.index_add_(0, members.view(-1), stack.mul_(weight[:, None]).view(-1, plan.voxels))
            mass.index_add_(0, members.view(-1), weight.repeat(size))
    return _laid_down(gathered, mass, plan, noisy.shape)


def _filtered_stack(coefficients: torch.Tensor, pilots: torch.Tensor | None, members: torch.Tensor,
                    sd: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Stacks (size, groups, voxels) after threshold or Wiener gain, and one weight each."""
    lengths = haar_lengths(len(members))[:, None, None]
    stack = haar(coefficients[members])
    if pilots is None:
        gain = (stack.abs() > THRESHOLD * lengths.sqrt() * sd).float()
    else:
        gain = haar(pilots[members]).square_()
        gain.div_(gain + lengths * sd ** 2)
    gain[0, :, 0] = 1.0
    weight = 1.0 / (gain.square().sum(0) @ sd ** 2)
    return haar_back(stack.mul_(gain).div_(lengths)), weight


def blocks(image: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Every block of the image as a row, by its corner. In memory each voxel of the block is a row of its own."""
    image = image.contiguous()
    view = image.as_strided((*plan.block, *plan.corners(image.shape)), image.stride() * 2)
    return view.reshape(plan.voxels, -1).T


def _layers(depth: int, count: int) -> list[slice]:
    """All layers of corners, as many at a time as stay in the cache; `count` corners lie in each."""
    together = max(1, TRANSFORMED_AT_ONCE // count)
    return [slice(z, min(depth, z + together)) for z in range(0, depth, together)]


def _spectra(image: torch.Tensor, plan: Plan) -> torch.Tensor:
    """The transform of every block."""
    depth, *plane = plan.corners(image.shape)
    transform, count = block_transform(plan.block).T, int(np.prod(plane))
    result = torch.empty((depth * count, plan.voxels))
    for z in _layers(depth, count):
        rows = blocks(image[z.start:z.stop + plan.block[0] - 1], plan)
        torch.mm(rows, transform, out=result[z.start * count:z.stop * count])
    return result


def _laid_down(spectra: torch.Tensor, mass: torch.Tensor, plan: Plan,
               shape: torch.Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Adds all blocks to an image at their places, weighted by a window that falls towards their borders."""
    corners = plan.corners(shape)
    total, weights = torch.zeros(shape), torch.zeros(shape)
    window = torch.from_numpy(_kaiser(plan.block))
    back = block_transform(plan.block).T * window[:, None]
    spectra, mass = spectra.view(corners[0], -1, plan.voxels), mass.view(corners)
    for z in _layers(corners[0], spectra.shape[1]):
        part, reach = (z.stop - z.start, *corners[1:]), slice(z.start, z.stop + plan.block[0] - 1)
        total[reach] += _overlaid((back @ spectra[z].reshape(-1, plan.voxels).T).view(*plan.block, *part))
        weights[reach] += _overlaid((window[:, None] * mass[z].reshape(-1)).view(*plan.block, *part))
    return total, weights


def _overlaid(rows: torch.Tensor) -> torch.Tensor:
    """Sum over blocks (block z, y, x; corner z, y, x) of their voxels at their places; axis after axis."""
    for axis in (2, 1, 0):
        size, shape = rows.shape[axis], list(rows.shape)
        corner = 2 * axis + 1
        count, shape[corner] = shape[corner], shape[corner] + size - 1
        del shape[axis]
        result = torch.zeros(shape)
        for i in range(size):
            result.narrow(corner - 1, i, count).add_(rows.select(axis, i))
        rows = result
    return rows


@cache
def _kaiser(block: tuple[int, int, int]) -> np.ndarray:
    window = np.ones(1)
    for size in block:
        window = np.kron(window, np.kaiser(size, KAISER_BETA))
    return window.astype(np.float32)


def matches(alike: torch.Tensor, layers: range, plan: Plan, most: int, run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    """For each reference block the `most` nearest blocks of the search window: distances and corner numbers."""
    _, *plane = plan.references(alike.shape)
    together = max(1, DISTANCES_AT_ONCE // (len(plan.offsets) * len(plane[0]) * len(plane[1])))
    groups = [layers[k:k + together] for k in range(0, len(layers), together)]
    found = [_nearest(alike, (group, *plane), plan, most, run) for group in groups]
    return torch.cat([distance for distance, _ in found]), torch.cat([position for _, position in found])


def _nearest(alike: torch.Tensor, references: tuple[range, ...], plan: Plan, most: int,
             run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    corners = plan.corners(alike.shape)
    z, y, x = torch.meshgrid(*[torch.tensor(list(r)) for r in references], indexing="ij")
    own = ((z * corners[1] + y) * corners[2] + x).reshape(-1)
    offsets = plan.offsets
    shifts = torch.from_numpy(offsets @ np.array([corners[1] * corners[2], corners[2], 1]))
    distances = torch.full((len(offsets), *z.shape), float("inf"))
    pairs = [{o: _pairs(r, o, b, n) for o in range(-s, s + 1)}
             for r, s, b, n in zip(references, plan.search, plan.block, alike.shape)]
    for row, offset in enumerate(offsets.tolist()):
        if row % 16 == 0:
            run.check()
        along = [of_axis[o] for of_axis, o in zip(pairs, offset)]
        if all(along):
            fits, here, there = zip(*along)
            distances[row][fits] = _distance(alike[here], alike[there], fits, plan)
    distances[len(offsets) // 2] = -1.0  # a reference block always is in its own stack, even among equals
    nearest, row = torch.topk(distances.view(len(offsets), -1), most, dim=0, largest=False)
    return nearest.T, torch.where(torch.isfinite(nearest), own + shifts[row], own).T


Pair = tuple[slice, slice, slice]


def _pairs(corners: range, offset: int, block: int, size: int) -> Pair | None:
    """Along one axis: the reference blocks whose neighbour at the offset lies in the image, the voxels of those
    blocks, and of the neighbours."""
    inside = [i for i, c in enumerate(corners) if 0 <= c + offset <= size - block]
    if not inside:
        return None
    low, high = corners[inside[0]], corners[inside[-1]] + block
    return slice(inside[0], inside[-1] + 1), slice(low, high), slice(low + offset, high + offset)


def _distance(here: torch.Tensor, there: torch.Tensor, fits: tuple[slice, ...], plan: Plan) -> torch.Tensor:
    """Mean squared difference of blocks, from the voxels of all of them."""
    squared = torch.sub(here, there).square_()
    for axis, (fit, block, step) in enumerate(zip(fits, plan.block, plan.step)):
        squared = _window_sums(squared, axis, fit.stop - fit.start, block, step)
    return squared.div_(float(plan.voxels))


def _window_sums(values: torch.Tensor, axis: int, count: int, size: int, step: int) -> torch.Tensor:
    """Sums of `size` values along an axis, beginning at every `step`-th. The first axis comes first: it thins out
    what is left to do, and whole planes are added."""
    if size == 1 and step == 1:
        return values

    def taken(start: int) -> torch.Tensor:
        return values[(slice(None),) * axis + (slice(start, start + (count - 1) * step + 1, step),)]

    total = taken(0) + taken(1) if size > 1 else taken(0)
    for start in range(2, size):
        total += taken(start)
    return total
