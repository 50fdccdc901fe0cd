"""l found by trial on a digital patient at the scan's count level, whose normal-dose slices are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ...networks.unet import UNet
from ...phantoms.scan import patient_of
from ...physics.blur import gaussian_filter
from ...physics.noise import insert_noise
from ...physics.poisson import generator
from ...physics.presets import scanner
from ...prepare.mask import body_mask
from ...prepare.region import BODY, region_of
from ...progress import Run
from ..contract import Case
from . import conditions as eq10
from .chain import Settings, SliceScan, sample
from .config import BcDpmConfig
from .units import units_of

SEED = 850_000
"""A validation patient."""
SLICES, ITERATIONS = 8, 100
TRIED = (0.5, 0.7, 1.0, 1.4, 2.0)
"""Parts of the l that the count level says."""
PRESET = "mCT"
PIXELS_MM, SLICE_MM = (1.0, 8.0), 12.0
"""Pixels that patients can be drawn with; a body's slices are drawn far apart, since only a few are needed."""


def best_transitions(
    settings: Settings, level: float, case: Case, network: UNet, config: BcDpmConfig, run: Run
) -> tuple[int, list[dict[str, Any]]]:
    """(l with the highest mean PSNR over some slices, one row a trial); two runs each, mean of both."""
    normal, body, spacing = known_slices(region_of(case.pet, case.body), case.pet.geometry.spacing[0], run)
    geometry = eq10.slice_geometry(normal.shape[1:], spacing[1::-1])
    low = insert_noise(torch.from_numpy(normal), geometry, level, generator(SEED, level), iterations=ITERATIONS)
    units = units_of(low.numpy(), spacing, body, config, each_slice=True)
    scan = SliceScan(low.numpy(), body, spacing[1::-1], spacing[2], units)
    insert = eq10.inserter(low, spacing[1::-1], level, each_slice=True)
    rows = []
    for count in candidates(settings.transitions, settings.steps):
        run.check()
        quiet = Run(seed=run.seed, device=run.device, cancelled=run.cancelled)
        trial = replace(settings, transitions=count, reach=0.0, samples=2, estimate="mean", axial_mm=0.0)
        found = sample(scan, trial, insert, network, config, quiet)
        image = scan.units.inverse(found.mean.numpy()[0])
        rows.append({"transitions": count, "psnr": mean_psnr(image, normal, body)})
    return max(rows, key=lambda row: row["psnr"])["transitions"], rows


def candidates(usual: int, steps: int) -> list[int]:
    return sorted({int(np.clip(round(usual * part), 1, steps)) for part in TRIED})


def known_slices(region: str, pixel_mm: float, run: Run) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """Evenly spaced slices of the patient at the scanner's resolution, the body in them, the spacing (x, y, z)."""
    quiet = Run(seed=SEED, device=run.device, cancelled=run.cancelled)
    pixel = float(np.clip(pixel_mm, *PIXELS_MM))
    drawn = (pixel, pixel, SLICE_MM) if region == BODY else pixel
    patient = patient_of(region, SEED, spacing_mm=drawn, run=quiet)
    spacing = patient.pet.geometry.spacing
    blurred = gaussian_filter(torch.tensor(patient.pet.array), scanner(PRESET).resolution_mm, spacing[1::-1]).numpy()
    body = body_mask(patient.pet.with_array(blurred))
    filled = np.flatnonzero(body.any((1, 2)))
    chosen = filled[_spread(len(filled))]
    return blurred[chosen], body[chosen], spacing


def _spread(count: int) -> np.ndarray:
    return np.unique(np.linspace(0.08 * count, 0.92 * count - 1, SLICES).round().astype(int))


def mean_psnr(image: np.ndarray, reference: np.ndarray, body: np.ndarray) -> float:
    """Slice by slice, as in the paper's table."""
    found = []
    for one, other, inside in zip(image, reference, body):
        error = float(np.mean((one[inside] - other[inside]) ** 2)) if inside.any() else 0.0
        if error > 0:
            found.append(10 * np.log10(float(other[inside].max()) ** 2 / error))
    return float(np.mean(found))
