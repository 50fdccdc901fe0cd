"""A digital patient that is drawn in no time: a cylinder of water with even activity and one warm rod."""

from __future__ import annotations

import numpy as np
from petdiffusion.phantoms.patient import Lesion, Patient
from petdiffusion.volume import ARBITRARY, HU, SUVBW, Facts, Geometry, LabelMap, Volume

SPACING = 6.0


def cylinder(seed: int = 0, kind: str = "brain", tracer: str = "FDG", size: int = 32, slices: int = 10) -> Patient:
    geometry = Geometry((size, size, slices), (SPACING,) * 3)
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    body = np.broadcast_to(np.hypot(x, y) < 0.42 * size, geometry.shape)
    rod = np.broadcast_to(np.hypot(x - 4, y + 2) < 2.2, geometry.shape)
    pet = np.where(rod, 6.0, np.where(body, 2.0, 0.0)) * (1 + 0.1 * rng.random())
    labels = LabelMap(np.where(body, 1, 0), geometry, {1: "water"})
    lesion = Lesion(1, "water", (0.0, 0.0, 0.0), 26.0, float(rod.sum() * geometry.voxel_ml), 6.0, 6.0)
    ct, mr = np.where(body, 0.0, -1000.0), np.where(body, 500.0, 0)
    return Patient(seed, kind, Volume(pet, geometry, SUVBW, Facts(tracer=tracer)), Volume(ct, geometry, HU),
                   Volume(mr, geometry, ARBITRARY), labels,
                   LabelMap(np.where(rod, 1, 0), geometry, {1: "rod"}), (lesion,), tracer, weight_kg=70.0)
