"""Poisson diffusion (Eq. 1): Poisson deviates on the sinogram of an image, whose strength grows linearly with t.

Each step adds independent noise of expectation lambda_t growing linearly from 0, so the variance after t steps grows
as t^2 and the SD, the strength g_t, as t. Projecting a latent would mean nothing: the noise is added to the image,
which is then encoded. A scan with 1/c of the counts has noise of c times the variance, so a strength is a count level.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...physics.attenuation import body_mu, mu_of_ct
from ...physics.poisson import generator, sample_counts, scale_to_counts
from ...physics.presets import scanner, scanner_called
from ...physics.scan import Scan
from ...volume import Volume
from ...write import moving
from .config import UpeteConfig

COUNTS = 2e5
"""Trues in a slice at which noise is drawn once and kept, about a tenth of a normal dose; other strengths are this
noise, scaled, for its variance goes as 1 / counts."""


def strength(t: Tensor | float, config: UpeteConfig) -> Tensor | float:
    """g_t in units: linear in t, `top` times the noise of normal-dose scans at t = T."""
    return t / config.T * config.top * (config.normal_level or 1.0)


def step_of(g: float, config: UpeteConfig) -> int:
    """The step t in 1..T whose strength is nearest to g."""
    t = config.T * g / (config.top * (config.normal_level or 1.0))
    return int(np.clip(round(t), 1, config.T))


@dataclass(frozen=True, eq=False)
class Sinogram:
    """The scan that an image would be the mean of."""

    scan: Scan
    clean: Tensor
    """Its reconstruction without noise, which does not depend on the counts."""

    @classmethod
    def of(cls, pet: Volume, ct: Volume | None) -> Sinogram:
        """Attenuation by the CT where there is one; the scanner is the one that made the image, else mCT."""
        image = torch.tensor(np.maximum(pet.array, 0))
        spacing = pet.geometry.spacing[::-1]
        mu = body_mu(image, spacing) if ct is None else mu_of_ct(ct, pet.geometry).to(image)
        made = scanner_called(pet.facts.scanner) or scanner("mCT")
        scan = Scan.of(image, spacing, made, mu, blurred=made.models_psf)
        one = scale_to_counts(scan.trues, COUNTS * len(image))
        return cls(scan, scan.reconstruct(scan.expected(one), one))

    def scale(self, counts: float = COUNTS) -> Tensor:
        """Counts for one unit of the sinogram, for so many trues in a mean slice."""
        return scale_to_counts(self.scan.trues, counts * len(self.clean))

    def counts(self, scale: Tensor, random: torch.Generator) -> Tensor:
        """Poisson deviates: never negative, variance equal to the mean, totals kept in expectation."""
        return sample_counts(self.scan.expected(scale), random)

    def noise(self, scale: Tensor, random: torch.Generator) -> Tensor:
        """What counting adds to the image."""
        return self.scan.reconstruct(self.counts(scale, random), scale) - self.clean


def noise_of(pet: Volume, ct: Volume | None, seed: int) -> np.ndarray:
    """In activity, at `COUNTS`; kept on disk, since a projector costs more than a training step."""
    place = _place(pet, ct, seed)
    if not place.is_file():
        sinogram = Sinogram.of(pet, ct)
        _keep(place, sinogram.noise(sinogram.scale(), generator(seed, 0)).numpy())
    return np.load(place)["noise"].astype(np.float32)


def _keep(place: Path, noise: np.ndarray) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_suffix(f".{os.getpid()}.npz")
    np.savez(aside, noise=noise.astype(np.float16))
    moving.replace(aside, place)


def perturbed(u: Tensor, noise: Tensor) -> Tensor:
    """An image without negative values stays so, as OSEM would have it."""
    return (u + noise).clamp_min(0)


def _place(pet: Volume, ct: Volume | None, seed: int) -> Path:
    parts: Sequence[bytes] = (
        pet.array.tobytes(),
        b"" if ct is None else ct.array.tobytes(),
        f"{pet.facts.scanner} {pet.geometry} {seed} {COUNTS}".encode(),
    )
    name = hashlib.sha256(b"".join(parts)).hexdigest()[:20]
    return _folder() / f"{name}.npz"


def _folder() -> Path:
    """`$PETDIFFUSION_CACHE`, or the system's place for caches; may be deleted at any time."""
    given = os.environ.get("PETDIFFUSION_CACHE")
    if given:
        return Path(given).expanduser() / "upete"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "petdiffusion" / "upete"
