"""What the MR makes of a scan: its average over neighbours of the same tissue, which blurs no border that the MR shows.

A network may be given it as one more image. It is the anatomical (Bowsher) filter, at settings that were best at every
dose on digital brains of the validation; where such a network and the filter err, they err differently.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .. import registry
from ..methods.contract import Case
from ..prepare.noise import noise_sd
from ..progress import Run
from ..volume import ARBITRARY, SUVBW, Geometry, Volume

FILTER = "anatomy"
SETTINGS = {"guide": "mr", "fwhm_mm": 8.0, "kept": 0.2, "strength": 0.5}


def averaged(case: Case, run: Run) -> np.ndarray:
    """The scan averaged within the MR's tissues; all NaN without an MR, as any image that is missing."""
    if case.mr is None:
        return np.full(case.pet.array.shape, np.nan, np.float32)
    card = registry.card(FILTER)
    return card.load()(case, card.resolve(SETTINGS), run).pet.array


def with_channel(images: Tensor, tissue: Tensor, base: Tensor, root: Tensor, level: Tensor) -> Tensor:
    """The images that a network sees (`prepare.channels`), then the average: its distance from the base in noise SD."""
    scale = root * level.reshape(-1, 1, 1, 1, 1)
    return torch.cat((images, torch.nan_to_num((tissue - base) / scale)), 1)


def case_of(low: np.ndarray, spacing_mm: tuple[float, float, float], body: np.ndarray, mr: np.ndarray) -> Case:
    """A case from bare arrays, as training has them; an MR that is missing is all NaN."""
    geometry = Geometry(low.shape[::-1], spacing_mm)
    pet = Volume(np.asarray(low, np.float32), geometry, SUVBW)
    image = None if np.isnan(mr).all() else Volume(np.asarray(mr, np.float32), geometry, ARBITRARY)
    return Case(pet, body, noise_sd(pet, body), mr=image)
