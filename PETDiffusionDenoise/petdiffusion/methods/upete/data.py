"""Cubes of normal-dose scans for training: low-count images are never opened. Of a manifest's rows the reference is
read, the CT, and the lesion map, which says where to look more often. Noise is what the physics would add (`perturb`).

The batch of a step depends on (seed, step, rank) alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...progress import Run
from ...training.manifest import Manifests, Row, body_of, collect, half, image, lesions
from ...training.patches import Drawn, fitted
from ...training.settings import TrainSettings
from ...volume import Volume
from . import perturb
from .config import UpeteConfig
from .units import level_of, units_of, warm_of

LESION_SHARE, STEP = 0.3, 2


@dataclass(frozen=True, eq=False)
class NormalScan:
    """Images (z, y, x) in half precision: PET and noise of level 1 in units, what a unit stands for, CT in HU (all NaN:
    none), lesions."""

    id: str
    images: Mapping[str, torch.Tensor]
    own: float
    """Level of its own noise."""
    voxel_mm: float
    body: np.ndarray
    lesions: np.ndarray


class NormalCubes(Drawn[NormalScan]):
    """Batches {normal, noise, scale, ct, lesions: (B, 1, z, y, x), own, voxel_mm: (B,)}."""

    def patch(self, people: list[NormalScan], rng: np.random.Generator, training: bool) -> dict[str, torch.Tensor]:
        return cube(people, self.settings.patch, rng, training)

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"images": "normal-dose scans and their CTs alone"}


def load(manifests: Manifests, config: UpeteConfig, settings: TrainSettings, run: Run) -> NormalCubes:
    """Normal-dose scans of manifests with a column reference. Test patients are refused."""
    found = collect(manifests, lambda folder, group: normal_scan(folder, group[0], config), run,
                    "normal-dose scans, and drawing their noise once")  # fmt: skip
    return NormalCubes(found.train, found.valid, settings, found.source, found.skipped, found.people)


def normal_scan(folder: Path, row: Row, config: UpeteConfig) -> NormalScan:
    from ...prepare import grids

    normal = image(folder, row, "reference")
    ct = grids.resample(image(folder, row, "ct"), normal.geometry) if row.get("ct") else None
    return scan_of(row["id"], normal, ct, lesions(folder, row, normal), config)


def scan_of(id_: str, normal: Volume, ct: Volume | None, lesions: np.ndarray, config: UpeteConfig) -> NormalScan:
    """`ct` lies on the PET's grid; `lesions` are voxel indices (n, 3)."""
    body, spacing = body_of(normal, id_), normal.geometry.spacing
    units = units_of(normal.array, spacing, body, config)
    u, warm = units.forward(normal.array), warm_of(normal.array, spacing, body, config)
    own = config.structure * level_of(u, spacing, warm, config)
    mask = np.zeros(u.shape, np.uint8)
    mask[tuple(lesions.T)] = 1
    images = {"normal": half(u), "scale": half(units.scale), "lesions": torch.from_numpy(mask),
              "ct": torch.full(u.shape, float("nan")).half() if ct is None else half(ct.array)}  # fmt: skip
    if config.stage == "diffusion":
        noise = units.forward(perturb.noise_of(normal, ct, seed=0))
        images["noise"] = half(noise / max(level_of(noise, spacing, warm, config), 1e-6))
    places = np.argwhere(body)
    return NormalScan(id_, images, own, float(np.prod(spacing) ** (1 / 3)),
                      places[:: max(1, len(places) // 50_000)], lesions)  # fmt: skip


def cube(scans: list[NormalScan], size: int, rng: np.random.Generator, flip: bool) -> dict[str, torch.Tensor]:
    """Somewhere in a body, three times in ten around a lesion, mirrored left to right half the time."""
    scan = scans[rng.integers(len(scans))]
    near = len(scan.lesions) and rng.random() < LESION_SHARE
    places = scan.lesions if near else scan.body
    shape = np.array(scan.images["normal"].shape)
    centre = places[rng.integers(len(places))] + rng.integers(-size // 4, size // 4 + 1, 3)
    corner = np.clip(centre - size // 2, 0, np.maximum(shape - size, 0))
    cut = tuple(slice(c, c + size) for c in corner)
    mirrored = flip and rng.random() < 0.5
    found = {name: fitted(image[cut].float(), size, mirrored) for name, image in scan.images.items()}
    return found | {"own": torch.tensor(scan.own), "voxel_mm": torch.tensor(scan.voxel_mm)}
