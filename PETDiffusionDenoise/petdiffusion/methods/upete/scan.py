"""A case in latents: everything on the latent's grid, so that patches are cut there; and the way back to activity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...diffusion.conditions import Conditions
from ...infer import blend
from ...infer.device import Policy
from ...infer.patches import PatchRules
from ...networks.blocks import depth_to_space, space_to_depth
from ...progress import Run
from ..contract import Case
from . import parts
from .config import UpeteConfig
from .network import UpeteNetwork
from .units import Units, level_of, smoothed, units_of, warm_of

LARGEST, OVERLAP = 80, 16
"""Side of the patches that are encoded and decoded, and what neighbours share, in voxels of the latent."""
AIR_MM = 16.0


@dataclass(frozen=True, eq=False)
class LatentScan:
    """`u` (1, 1, z, y, x) in units, continued by its edge to multiples of f; `level`: its noise."""

    case: Case
    units: Units
    level: float
    u: Tensor
    body: np.ndarray
    """On the latent's grid."""
    f: int

    @classmethod
    def of(cls, case: Case, config: UpeteConfig, f: int) -> LatentScan:
        spacing = case.pet.geometry.spacing
        units = units_of(case.pet.array, spacing, case.body, config)
        u = units.forward(case.pet.array)
        level = level_of(u, spacing, warm_of(case.pet.array, spacing, case.body, config), config)
        body = space_to_depth(_padded(case.body.astype(np.float32), f), f).amax(1)[0].numpy() > 0
        return cls(case, units, level, _padded(u, f), body, f)

    def conditions(self, kind: float) -> Conditions:
        case, spacing = self.case, self.case.pet.geometry.spacing
        ct = np.full(case.pet.array.shape, np.nan, np.float32) if case.ct is None else case.ct.array
        voxel = torch.tensor([float(np.prod(spacing) ** (1 / 3))])
        return parts.told(_padded(ct, self.f), voxel, torch.tensor([kind]), self.f)

    @property
    def air(self) -> np.ndarray:
        """What is shown outside of the body's surroundings: the scan, filtered."""
        return smoothed(self.case.pet.array, self.case.pet.geometry.spacing, AIR_MM)

    @cached_property
    def air_units(self) -> Tensor:
        return _padded(self.units.forward(self.air), self.f)

    def image(self, u: Tensor) -> np.ndarray:
        """Activity on the case's grid out of (1, 1, z, y, x) units."""
        z, y, x = self.case.pet.array.shape
        return self.units.inverse(u[0, 0, :z, :y, :x].numpy())


@dataclass(frozen=True, eq=False)
class Codec:
    """Encoding and decoding of whole scans in patches: memory does not grow with the scan."""

    network: UpeteNetwork
    scan: LatentScan
    policy: Policy
    run: Run

    def encoded(self, u: Tensor) -> Tensor:
        """(1, c, ...) of (1, 1, z, y, x)."""
        latent = self.network.autoencoder.config.latent
        return self._blended("encode_blocks", space_to_depth(u, self.scan.f), latent)

    def of_air(self) -> Tensor:
        """The latent where no patch is worked on: nothing small is there for the autoencoder to keep."""
        return self.by_shortcut(self.scan.air_units) if self.has_shortcut else self.encoded(self.scan.air_units)

    @property
    def has_shortcut(self) -> bool:
        return self.network.autoencoder.config.shortcut

    def by_shortcut(self, u: Tensor) -> Tensor:
        """Encoded by the autoencoder's linear part alone, for what its other part does not keep: air, noise."""
        with torch.no_grad():
            return self.network(u.to(self.policy.device), part="linear_encode").cpu()

    def decoded(self, z: Tensor) -> Tensor:
        """(1, 1, z, y, x) in units; outside of the body's surroundings that of `air`."""
        air = space_to_depth(self.scan.air_units, self.scan.f)
        blocks = self._blended("decode_blocks", z, self.scan.f**3, air)
        return depth_to_space(blocks, self.scan.f)

    def _blended(self, part: str, images: Tensor, channels: int, fallback: Tensor | None = None) -> Tensor:
        rules = PatchRules(multiple=1, largest=LARGEST, overlap=OVERLAP, smallest=2 * OVERLAP)
        body = self.scan.body if self.scan.body.any() else None
        found = blend.blended(lambda cond: self.network(cond.images, part=part), Conditions(images=images), rules,
                              self.policy, self.run, channels=channels, body=body, fallback=fallback)  # fmt: skip
        return found[None]


def _padded(image: np.ndarray, f: int) -> Tensor:
    """(1, 1, z, y, x), continued by its edge to multiples of f."""
    z, y, x = (-n % f for n in image.shape)
    return F.pad(torch.from_numpy(np.array(image, np.float32))[None, None], [0, x, 0, y, 0, z], mode="replicate")
