"""A prepared scan as an AMDiff network sees it, and the network from its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...diffusion.conditions import Conditions
from ...infer.networks import loaded
from ...infer.patches import PatchRules
from ...prepare.whiten import whiten
from ...zoo.store import Model
from ..contract import Case
from . import beside
from .config import AmdiffConfig
from .network import AmdiffNetwork
from .units import Units, conditions_of, units_of


@dataclass(frozen=True, eq=False)
class Scan:
    """`air` is SUV 0 (or the filtered scan) in the values that are diffused."""

    units: Units
    conditions: Conditions
    air: float

    def suv(self, x: Tensor) -> Tensor:
        """(1, 1, z, y, x) of a volume of diffused values."""
        return self.units.inverse(x.reshape(self.units.low.shape))


def scan_of(case: Case, config: AmdiffConfig) -> Scan:
    low, spacing = case.pet.array, case.pet.geometry.spacing
    images = {"low": _tensor(low)}
    if config.base == "filtered":
        white = whiten(low, spacing, case.body, config.base_fwhm_mm)
        images |= {"base": _tensor(white.base), "root": _tensor(white.root)}
        voxel = float(np.prod(spacing) ** (1 / 3))
        numbers = {"level": white.level, "root_mean": white.root_mean, "voxel_mm": voxel}
        images |= {name: torch.tensor([value]) for name, value in numbers.items()}
    units = units_of(images, config)
    told = conditions_of(images, units, config)
    filtered = config.base == "filtered"
    cond = Conditions(images=told.images, vector=told.vector, coordinates=filtered)
    return Scan(units, cond, 0.0 if filtered else -1.0)


def rules_of(network: AmdiffNetwork) -> PatchRules:
    return PatchRules(multiple=network.denoiser.config.multiple)


def load_network(model: Model) -> AmdiffNetwork:
    config = AmdiffConfig.from_json(model.card.config)
    if config.beside is None:
        return loaded(model, _built)
    return beside.joined(model, config, loaded(beside.base_of(config), _built))


def _built(config: Mapping[str, Any]) -> AmdiffNetwork:
    return AmdiffNetwork(AmdiffConfig.from_json(config))


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))[None, None]
