"""Where a lesion ends, and whether it does, by its uptake: the network says where lesions are, their contrast the rest.

A network that sees voxels of 4 mm marks small lesions unevenly: too wide where they are hot, too tight where they are
faint. Readers draw them at a part of the height above their surroundings. A large tumour is not even: its cold core is
tumour too, and a part of its hottest place cuts it off, so the network's own border stays there.

What the network takes for lesions by mistake is mostly uptake of bowel, muscle or brown fat. That goes on beyond the
mark at the same height; a lesion stands alone. What each rule is worth was measured on validation patients: README.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...measure.segmentation import regions
from ...volume import Geometry

PART, HALF = 0.3, 0.5
"""Of the height above the surroundings: where a lesion ends, and what counts as its uptake going on. A third of a faint
lesion's height is also its surroundings'."""
LARGEST_ML = 30.0
"""Larger regions stay as the network drew them."""
REACH_MM, SHELL_MM = 4.5, (8.0, 16.0)
"""A region may grow by one voxel of the model's. The surroundings are a shell around it, without other regions."""
BEYOND_MM, SEEN_MM = (12.0, 20.0), 24.0
"""Uptake goes on where it is above half the height in this shell, and connected with the region. So far the network
never marked a lesion too small."""
GOES_ON = 0.005
"""Part of that shell: of 115 lesions of training and validation patients none has more, of what is none every second
region has."""
_TOUCHING = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, eq=False)
class Drawn:
    lesions: np.ndarray
    """Numbered by size."""
    going_on: np.ndarray
    """Regions that were left out since their uptake goes on beyond them, as the network drew them."""


def by_contrast(lesions: np.ndarray, image: np.ndarray, geometry: Geometry, alone: bool = True) -> Drawn:
    """The same lesions with the borders of those up to `LARGEST_ML` drawn anew; `alone`: without those that do not
    end."""
    small = [(number, box, own) for number, box, own in regions(lesions)
             if np.count_nonzero(own) * geometry.voxel_ml <= LARGEST_ML]  # fmt: skip
    found, going_on = lesions.copy(), np.zeros_like(lesions)
    for _, box, own in small:
        found[box][own] = 0
    for number, box, _ in small:
        wide = _around(box, geometry)
        inside, goes_on = _drawn(lesions[wide], number, image[wide], geometry)
        if alone and goes_on > GOES_ON:
            going_on[wide][lesions[wide] == number] = number
        else:
            found[wide][inside & (found[wide] == 0)] = number
    return Drawn(_by_size(found), _by_size(going_on))


def _drawn(lesions: np.ndarray, number: int, image: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, float]:
    """The region within its new border, and in which part of the shell beyond it its uptake goes on."""
    own, free = lesions == number, lesions == 0
    steps = geometry.spacing[::-1]
    away, reach = ndimage.distance_transform_edt(~own, steps), max(REACH_MM, *steps)
    around = image[(away > SHELL_MM[0]) & (away <= SHELL_MM[1]) & free]
    level = float(np.median(around)) if around.size else 0.0
    top = np.where(own, image, -np.inf)
    hottest = np.unravel_index(top.argmax(), top.shape)

    def high(part: float, within: float) -> np.ndarray:
        enough = image >= level + part * (top.max() - level)
        return _connected(enough & (free | own) & (away <= within), hottest)

    beyond = (away > BEYOND_MM[0]) & (away <= BEYOND_MM[1]) & free
    goes_on = float(high(HALF, SEEN_MM)[beyond].mean()) if beyond.any() else 0.0
    inside = high(PART, reach)
    return (inside if inside[hottest] else own), goes_on


def _connected(mask: np.ndarray, voxel: tuple[int, ...]) -> np.ndarray:
    parts, _ = ndimage.label(mask, _TOUCHING)
    return parts == parts[voxel] if parts[voxel] else np.zeros(mask.shape, bool)


def _around(box: tuple[slice, ...], geometry: Geometry) -> tuple[slice, ...]:
    reach = [int(np.ceil(SEEN_MM / step)) + 1 for step in geometry.spacing[::-1]]
    return tuple(slice(max(s.start - r, 0), s.stop + r) for s, r in zip(box, reach))


def _by_size(lesions: np.ndarray) -> np.ndarray:
    """Numbered anew, the largest first."""
    found = np.zeros_like(lesions)
    for new, (_, box, own) in enumerate(sorted(regions(lesions), key=lambda one: -np.count_nonzero(one[2])), 1):
        found[box][own] = new
    return found
