"""Where a lesion ends, by its uptake: the network says that there is one, the contrast to its surroundings how large.

A network that sees voxels of 4 mm marks small lesions unevenly: too wide where they are hot, too tight where they are
faint. Readers draw them at a part of the height above their surroundings. On six validation patients at 1/10 dose it
raises the lesions' Dice from 0.59 to 0.72, with volumes right on average (parts from 0.25 to 0.4 are within 0.015 of
one another). A large tumour is not even: its cold core is tumour too, and a part of its hottest place cuts it away (nine
real sarcomas of the training: Dice 0.75 to 0.65), so the network's own border stays there.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ...volume import Geometry

PART = 0.3
"""Of the height above the surroundings."""
LARGEST_ML = 30.0
REACH_MM, SHELL_MM = 4.5, (8.0, 16.0)
"""A region may grow by one voxel of the model's; the surroundings are a shell around it, without other regions."""
_TOUCHING = np.ones((3, 3, 3), bool)


def by_contrast(lesions: np.ndarray, image: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The same lesions, those up to `LARGEST_ML` with their borders drawn anew; still numbered by size."""
    large = _sizes(lesions) * geometry.voxel_ml > LARGEST_ML
    found = np.where(large[lesions], lesions, 0)
    for number, box in enumerate(ndimage.find_objects(lesions), 1):
        if box is None or large[number]:
            continue
        wide = _around(box, geometry)
        found[wide][_drawn(lesions[wide], number, image[wide], geometry) & (found[wide] == 0)] = number
    return _by_size(found)


def _drawn(lesions: np.ndarray, number: int, image: np.ndarray, geometry: Geometry) -> np.ndarray:
    own = lesions == number
    steps = geometry.spacing[::-1]
    away = ndimage.distance_transform_edt(~own, steps)
    around = image[(away > SHELL_MM[0]) & (away <= SHELL_MM[1]) & (lesions == 0)]
    level = float(np.median(around)) if around.size else 0.0
    top = np.where(own, image, -np.inf)
    inside = (away <= max(REACH_MM, *steps)) & ((lesions == 0) | own) & (image >= level + PART * (top.max() - level))
    parts, _ = ndimage.label(inside, _TOUCHING)
    hottest = parts[np.unravel_index(top.argmax(), top.shape)]
    return parts == hottest if hottest else own


def _around(box: tuple[slice, ...], geometry: Geometry) -> tuple[slice, ...]:
    reach = [int(np.ceil(SHELL_MM[1] / step)) + 1 for step in geometry.spacing[::-1]]
    return tuple(slice(max(s.start - r, 0), s.stop + r) for s, r in zip(box, reach))


def _sizes(lesions: np.ndarray) -> np.ndarray:
    """Voxels of each number; of no lesion none."""
    sizes = np.bincount(lesions.ravel())
    sizes[0] = 0
    return sizes


def _by_size(lesions: np.ndarray) -> np.ndarray:
    """Numbered anew, the largest first."""
    sizes = _sizes(lesions)
    order = [v for v in np.argsort(-sizes, kind="stable") if sizes[v]]
    lookup = np.zeros(len(sizes), lesions.dtype)
    lookup[order] = np.arange(1, len(order) + 1)
    return lookup[lesions]
