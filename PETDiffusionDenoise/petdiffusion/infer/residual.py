"""A prepared case as networks on the whitened residual see it; the inference side of `training.residual`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..diffusion.conditions import Conditions
from ..methods.contract import Case
from ..networks.unet import UNet, UNetConfig
from ..prepare import channels
from ..prepare.whiten import Whitening, whiten
from ..volume import Volume
from ..zoo.store import Model
from .networks import loaded


@dataclass(frozen=True, eq=False)
class ResidualCase:
    """`base` is what the residual refers to; `restored` takes a residual back to the image."""

    white: Whitening
    base: np.ndarray
    conditions: Conditions

    def restored(self, residual: torch.Tensor) -> np.ndarray:
        return self.base + residual.numpy().reshape(self.base.shape) * self.white.scale

    def spread(self, sd: torch.Tensor) -> np.ndarray:
        return sd.numpy().reshape(self.base.shape) * self.white.scale


def residual_case(case: Case, base: str, base_fwhm_mm: float) -> ResidualCase:
    """Whitened once on the whole volume, with CT and MR where they are given."""
    white = whiten(case.pet.array, case.pet.geometry.spacing, case.body, base_fwhm_mm)
    return _seen(case, white, case.pet.array if base == "input" else white.base)


def rebased(case: Case, seen: ResidualCase, image: np.ndarray) -> ResidualCase:
    """The case with another image, such as a regression's, as what the residual refers to."""
    white = seen.white.on_base(image)
    return _seen(case, white, white.base)


def _seen(case: Case, white: Whitening, anchor: np.ndarray) -> ResidualCase:
    ct, mr = _image(case.ct, case), channels.mr_scaled(_image(case.mr, case))
    cond = conditions(case.pet.array, white, case.pet.geometry.spacing, ct, mr)
    return ResidualCase(white, anchor, cond)


def conditions(
    low: np.ndarray, white: Whitening, spacing_mm: tuple[float, float, float], ct: Tensor, mr: Tensor
) -> Conditions:
    """What a network sees of a whole volume; `mr` is scaled, a missing image is all NaN."""
    images = [_tensor(a) for a in (low, white.base, white.root)]
    level, voxel = torch.tensor([white.level]), torch.tensor([float(np.prod(spacing_mm) ** (1 / 3))])
    seen = channels.images(*images, level, torch.tensor([white.root_mean]), ct, mr)
    return Conditions(images=seen, vector=channels.numbers(level, voxel, ct, mr), coordinates=True)


def load_network(model: Model) -> UNet:
    return loaded(model, _built)


def _built(config: Mapping[str, Any]) -> UNet:
    return UNet(UNetConfig.from_json(config["network"]))


def model_facts(model: Model) -> dict[str, Any]:
    """For the run record."""
    return {"model": model.card.id, "model_version": model.card.version, "model_sha256": model.card.sha256}


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32))[None, None]


def _image(volume: Volume | None, case: Case) -> torch.Tensor:
    """An image that is missing is all NaN, as in training."""
    return torch.full((1, 1, *case.pet.array.shape), torch.nan) if volume is None else _tensor(volume.array)
