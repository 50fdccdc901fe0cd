"""Organs that reach beyond the PET: no number counts what lies there, so it is told."""

from __future__ import annotations

import numpy as np

from ..progress import Run
from ..volume import Geometry, LabelMap
from .grids import seen

TOLD_OUTSIDE = 0.01
"""Part of an organ beyond the PET above which it is told, as of a lesion."""
NAMED = 10
"""Organs that the sentence names: those cut, whose numbers mislead, before those missed."""
BEGINS = "Organs reach beyond the PET"


def voxels(labels: LabelMap, region: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """By label: how many there are, and how many of them the region shows."""
    whole = np.zeros(int(labels.array.max(initial=0)) + 1, np.int64)
    shown = whole.copy()
    for plane, within in zip(labels.array, seen(region, labels.geometry)):
        whole += np.bincount(plane.ravel(), minlength=len(whole))
        shown += np.bincount(plane[within], minlength=len(whole))
    return whole, shown


def tell(organs: LabelMap, pet: Geometry, run: Run) -> None:
    """Nothing of a map that lies outside as a whole: that is told otherwise."""
    if organs.geometry.close_to(pet):
        return
    whole, shown = voxels(organs, pet)
    lost = whole - shown
    lost[0] = shown[0] = 0
    cut = [int(value) for value in np.lexsort((-lost, shown == 0)) if lost[value] > TOLD_OUTSIDE * whole[value]]
    if not cut or not shown.any():
        return
    ml, names = organs.geometry.voxel_ml, organs.present()
    each = ", ".join(f"{names[value]} ({'all ' if not shown[value] else f'{lost[value] * ml:.3g} of '}"
                     f"{whole[value] * ml:.3g} ml lie outside)" for value in cut[:NAMED])
    more = f" and {len(cut) - NAMED} more" if len(cut) > NAMED else ""
    run.warn(f"{BEGINS}; their numbers are of what lies inside it alone: {each}{more}.")
