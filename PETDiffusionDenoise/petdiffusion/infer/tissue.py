"""A regression's image and the scan's average within the MR's tissues, put together.

Both estimate the same image and err differently: a network errs where a patient is unlike those of its training, an
average where activity is unlike the MR. The weight of the average was learnt on patients that no training saw
(stacking, Wolpert 1992). It is large where the PET is about as sharp as the MR and small where it is blurred, so it
goes by the width of the patient's edges in the scan.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import registry
from ..measure.edges import edge_widths
from ..methods.contract import Case
from ..prepare.noise import noise_sd
from ..progress import Run
from ..volume import ARBITRARY, SUVBW, Geometry, Volume

FILTER = "anatomy"
SETTINGS = {"guide": "mr", "fwhm_mm": 8.0, "kept": 0.2, "strength": 0.5}
"""Best at every dose on digital brains of the validation."""
LEAST_WEIGHT = 0.05
"""Less of it is not worth the seconds that the filter takes."""
Points = Sequence[Sequence[float]]
"""(width of edges in mm, weight of the average), by width; between them a straight line, beyond them as at the end."""


def stacked(case: Case, image: np.ndarray, points: Points, run: Run) -> np.ndarray:
    """The image as it is without an MR, without points, or where their weight is next to nothing."""
    if not points or case.mr is None:
        return image
    weight = weight_at(points, scan_width(case, image))
    return image if weight < LEAST_WEIGHT else image + np.float32(weight) * (averaged(case, run) - image)


def weight_at(points: Points, width_mm: float | None) -> float:
    """Where the width cannot be told, the smallest weight."""
    widths, weights = zip(*points)
    return float(min(weights) if width_mm is None else np.interp(width_mm, widths, weights))


def scan_width(case: Case, guide: np.ndarray) -> float | None:
    """Of the scan's own edges, found in the less noisy image."""
    spacing = case.pet.geometry.spacing[::-1]
    return edge_widths({"scan": case.pet.array}, guide, case.body, spacing)["scan"]


def averaged(case: Case, run: Run) -> np.ndarray:
    """The scan averaged within the MR's tissues: the anatomical (Bowsher) filter."""
    card = registry.card(FILTER)
    return card.load()(case, card.resolve(SETTINGS), run).pet.array


def case_of(low: np.ndarray, spacing_mm: tuple[float, float, float], body: np.ndarray, mr: np.ndarray) -> Case:
    """A case from bare arrays, as training has them; an MR that is missing is all NaN."""
    geometry = Geometry(low.shape[::-1], spacing_mm)
    pet = Volume(np.asarray(low, np.float32), geometry, SUVBW)
    image = None if np.isnan(mr).all() else Volume(np.asarray(mr, np.float32), geometry, ARBITRARY)
    return Case(pet, body, noise_sd(pet, body), mr=image)
