"""BM3D (Dabov, Foi, Katkovnik, Egiazarian 2007) slice by slice, and its extension to cubes, BM4D
(Maggioni, Katkovnik, Egiazarian, Foi 2013). One algorithm: a block of 1 x 8 x 8 or 4 x 4 x 4 voxels.

Step 1: blocks like the reference block are stacked, transformed (DCT in the block, Haar along the stack),
coefficients below lambda * SD are set to 0, and all estimates are averaged with weights 1 / (remaining variance).
Step 2: the same on stacks found in step 1's image, with the Wiener gain b^2 / (b^2 + SD^2) from its coefficients b.

Where this differs from the papers: DCT instead of the biorthogonal wavelet in step 1; the SD of each
coefficient follows from the correlation of the noise, which in PET is strong (as in Makinen, Azzari, Foi 2020);
the mean of a stack is never changed, so activity is kept. Distances are measured in units of the noise.

A block must be wider than a grain of noise. Where the correlation spans several voxels, blocks take every second
voxel: the image falls into interleaved lattices, and each is filtered by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...prepare.frame import Frame
from ...prepare.frame import filtered as in_frame
from ...prepare.noise import measure
from ...progress import Run
from ...threads import in_order, one_thread_each
from ..contract import Case, Output
from .blocks import Plan, coefficient_sd, filtered

BLOCKS_AT_ONCE = 300_000
"""Blocks whose coefficients are held by each thread: 64 floats each, three times."""
FEWEST_LAYERS = 4
"""Of reference blocks; fewer would spend most of the time on the neighbours they share with the next."""
CUBE = 4
WIDER = 2
"""By its defaults BM3D searches so many times as far as BM4D."""
Stride = tuple[int, int, int]


def slices_plan(search: int) -> Plan:
    return Plan((1, 8, 8), (1, 3, 3), (0, search, search))


def cubes_plan(search: int) -> Plan:
    return Plan((CUBE, CUBE, CUBE), (3, 3, 3), (search, search, search))


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    """BM3D on every axial slice."""
    return _run(case, options, run, slices_plan(options["search"]))


def denoise_cubes(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    """BM4D. Of fewer slices than a cube has, the rest would be copies, whose noise is the same and stays: they are
    filtered as BM3D filters them, with a search as wide."""
    thin, search = len(case.pet.array) < CUBE, options["search"]
    return _run(case, options, run, slices_plan(WIDER * search) if thin else cubes_plan(search))


def _run(case: Case, options: Mapping[str, Any], run: Run, plan: Plan) -> Output:
    fwhm = measure(case.pet, case.body).fwhm_mm if options["correlated"] and case.noise > 0 else (0.0, 0.0, 0.0)

    def core(frame: Frame) -> np.ndarray:
        return collaborative(frame, plan, run, options["strength"], fwhm)

    return in_frame(case, run, core, options["stabilise"])


def collaborative(frame: Frame, plan: Plan, run: Run, strength: float = 1.0,
                  noise_fwhm_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    """Both steps. `noise_fwhm_mm` is the width of the noise's correlation; 0 for white noise."""
    if strength == 0:
        return frame.array
    noisy = frame.array / np.float32(frame.noise)
    fwhm = [f / s for f, s in zip(noise_fwhm_mm, frame.spacing)]
    stride = tuple(min(2, max(1, round(f))) if b > 1 else 1 for f, b in zip(fwhm, plan.block))
    sd = coefficient_sd(plan.block, [f / s for f, s in zip(fwhm, stride)]) * strength
    with one_thread_each():
        basic = step(noisy, None, plan, stride, sd, run)
        return step(noisy, basic, plan, stride, sd, run) * np.float32(frame.noise)


def step(noisy: np.ndarray, pilot: np.ndarray | None, plan: Plan, stride: Stride, sd: torch.Tensor,
         run: Run) -> np.ndarray:
    """Step 1 without a pilot, step 2 with step 1's image as the pilot."""
    lattices = [Lattice(noisy, pilot, parity, stride, plan) for parity in np.ndindex(*stride)
                if all(p < n for p, n in zip(parity, noisy.shape))]
    parts = [(lattice, *layers) for lattice in lattices for layers in lattice.slabs(plan)]
    start = 0.0 if pilot is None else 0.5
    for (lattice, *_), (z, total, weights) in in_order(lambda part: _slab(*part, plan, sd, run), parts, run, start,
                                                       start + 0.5):
        lattice.total[z] += total
        lattice.weights[z] += weights
    result = np.empty_like(noisy)
    for lattice in lattices:
        result[lattice.place] = (lattice.total / lattice.weights)[lattice.crop]
    return _without_chequers(result, stride)


class Lattice:
    """Every second voxel (or every one) of the image along each axis, mirrored at its ends so that the last
    reference block ends with it, and the sums over blocks on it."""

    def __init__(self, noisy: np.ndarray, pilot: np.ndarray | None, parity: Stride, stride: Stride,
                 plan: Plan) -> None:
        self.place = tuple(slice(p, None, s) for p, s in zip(parity, stride))
        # half a step apart, so that the borders of blocks on the one lattice are not those on the other
        shifts = [(s // 2 + 1) * p for p, s in zip(parity, plan.step)]
        shape = noisy[self.place].shape
        self.crop = tuple(slice(shift, shift + n) for shift, n in zip(shifts, shape))
        self.widths = [(shift, _spare(n + shift, b, s)) for n, shift, b, s in zip(shape, shifts, plan.block, plan.step)]
        self.noisy = self._taken(noisy)
        self.pilot = None if pilot is None else self._taken(pilot)
        self.total, self.weights = (np.zeros(self.noisy.shape, np.float32) for _ in range(2))

    def _taken(self, image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.pad(image[self.place], self.widths, mode="symmetric"))

    def slabs(self, plan: Plan) -> list[tuple[int, int]]:
        """Groups of reference layers along z that are worked on together: first and last corner."""
        starts = plan.references(self.noisy.shape)[0]
        depth = BLOCKS_AT_ONCE // int(np.prod(self.noisy.shape[1:])) - 2 * plan.search[0]
        together = max(FEWEST_LAYERS, depth // plan.step[0])
        return [(chosen[0], chosen[-1]) for k in range(0, len(starts), together)
                if (chosen := starts[k:k + together])]


def _spare(size: int, block: int, step: int) -> int:
    """Voxels to add at the end, so that steps from the first block on meet it."""
    return block - size if size < block else -(size - block) % step


def _slab(lattice: Lattice, first: int, last: int, plan: Plan, sd: torch.Tensor,
          run: Run) -> tuple[slice, np.ndarray, np.ndarray]:
    """Sums over the blocks of all stacks whose reference block starts in these layers."""
    low = max(0, first - plan.search[0])
    high = min(len(lattice.noisy), last + plan.search[0] + plan.block[0])
    part = slice(low, high)
    pilot = None if lattice.pilot is None else lattice.pilot[part]
    layers = range(first - low, last - low + 1, plan.step[0])
    total, weights = filtered(lattice.noisy[part], pilot, plan, sd, layers, run)
    return part, total.numpy(), weights.numpy()


def _without_chequers(array: np.ndarray, stride: Stride) -> np.ndarray:
    """Lattices leave neighbours slightly apart. Along their axes the finest pattern is removed, and nothing that an
    image this blurred can hold: response 1, flat to third order, at 0; 0 at the end."""
    from scipy.ndimage import correlate1d

    for axis, s in enumerate(stride):
        if s > 1:
            array = correlate1d(array, np.array([-1, 4, 10, 4, -1]) / 16, axis, mode="reflect")
    return array
