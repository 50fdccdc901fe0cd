"""Where things lie in MNI space (RAS, mm): nuclei, brainstem, cerebellum, lobes.

Coordinates follow the MNI152 average as it is drawn in common stereotaxic atlases; each shape was placed by eye on the
T1 map. Pairs are given once, for positive x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .shapes import Chain, Ellipsoid, Points, Shape, Union


@dataclass(frozen=True)
class Structure:
    """A named shape; `paired` names get `_left` or `_right` in the label map."""

    name: str
    shape: Shape
    paired: bool = True


# Painted in this order: later ones lie on top.
NUCLEI = (
    Structure("thalamus", Chain(((6, -6, 8, 5.5), (9, -12, 9, 8.0), (12, -19, 8, 9.5), (16, -27, 6, 7.5)), True)),
    Structure("hypothalamus", Chain(((4.5, -1, -9, 3.8), (4.5, -8, -9, 3.8)), True)),
    Structure("caudate_nucleus", Chain(((9, 17, -1, 5.0), (12, 15, 6, 6.6), (14, 7, 12, 5.6), (15, -4, 18, 4.0),
                                        (18, -15, 21, 3.2), (23, -27, 19, 2.5)), True)),
    Structure("nucleus_accumbens", Ellipsoid((10, 11, -7), (5.0, 6.5, 4.8), mirrored=True)),
    Structure("putamen", Union(Chain(((20, 12, -3, 6.0), (24, 8, 2, 7.2), (28, -3, 3, 6.2), (31, -16, 4, 3.6)), True),
                               Chain(((22, 9, 8, 4.0), (26, -3, 10, 4.6), (29, -12, 9, 3.6)), True))),
    Structure("pallidum", Union(Chain(((15, 4, -2, 3.8), (19, -3, -1, 5.2), (23, -9, 1, 3.8)), True),
                                Chain(((18, 1, 4, 3.4), (21, -6, 5, 3.4)), True))),
    Structure("amygdala", Ellipsoid((23, -4, -20), (8.3, 7.2, 7.4), turn=15, mirrored=True)),
    Structure("hippocampus", Chain(((24, -11, -21, 6.0), (28, -19, -17, 6.0), (31, -27, -12, 5.2), (29, -34, -5, 4.8),
                                    (23, -39, 1, 3.8)), True)),
    Structure("substantia_nigra", Chain(((7, -14, -13, 2.8), (11, -17, -12, 3.4), (14, -21, -9, 2.6)), True)),
    Structure("red_nucleus", Ellipsoid((4.5, -20, -8), (3.2, 3.2, 3.8), mirrored=True)),
    Structure("dorsal_raphe", Chain(((0, -27, -8, 2.2), (0, -30, -14, 2.8), (0, -32, -20, 2.2))), False),
    Structure("median_raphe", Chain(((0, -31, -24, 2.2), (0, -32, -32, 2.0))), False),
    Structure("dentate_nucleus", Ellipsoid((15, -57, -36), (5.8, 8.0, 5.2), turn=-25, mirrored=True)),
)

BRAINSTEM = (
    Structure("midbrain", Union(Chain(((8, -17, -12, 6.5), (5, -24, -9, 8.5)), True),
                                Chain(((5, -33, -5, 4.5), (5, -36, -11, 4.0)), True)), False),
    Structure("pons", Union(Ellipsoid((0, -25, -32), (16, 12.5, 13.5), tilt=12),
                            Chain(((15, -30, -32, 7.5), (26, -40, -34, 5.5)), True)), False),
    Structure("medulla", Chain(((0, -33, -44, 8.5), (0, -38, -55, 7.5), (0, -43, -72, 6.0), (0, -46, -90, 5.5)), False),
              False),
)

CEREBELLUM = Union(Ellipsoid((27, -62, -43), (34, 36, 26), tilt=-18, mirrored=True),
                   Ellipsoid((0, -60, -22), (19, 25, 23)))

INSULA = Ellipsoid((40, 4, 0), (6, 22, 17), turn=12, mirrored=True)

# Inside this no cortex can be: white matter between the nuclei, whatever the maps' probabilities say there.
DEEP = Union(Ellipsoid((0, -6, 7), (33, 34, 19)),
             Chain(((14, 34, 2, 7), (13, 22, 8, 10), (13, 5, 17, 11), (15, -12, 22, 11), (19, -28, 20, 10),
                    (27, -42, 12, 11), (29, -58, 9, 7)), True))

LOBES = ("frontal", "parietal", "temporal", "occipital", "insular", "cingulate")


def lobe(points: Points) -> np.ndarray:
    """Index into LOBES for cortex at `points`, by planes that follow the central, Sylvian and parieto-occipital
    sulci of the MNI brain."""
    x, y, z = np.broadcast_arrays(*points)
    x = np.abs(x)
    central = y + 0.55 * (z - 45) > -22 - 0.12 * x
    result = np.where(central, 0, 1)
    result[(z < 0.35 * (-y) + 4) & (x > 14) & (y < 22) & (z < 22) & (y > -82)] = 2
    result[y + 0.35 * (z - 10) - 0.15 * np.maximum(x - 25, 0) < -74] = 3
    result[(x < 12) & (_cingulate(y, z))] = 5
    result[INSULA((x, y, z)) < 0] = 4
    return result.astype(np.uint8)


def _cingulate(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """A band around the corpus callosum."""
    reach = np.hypot((y + 8) / 52.0, (z - 10) / 29.0)
    return (reach < 1) & (z > -12) & (y > -62) & (reach > 0.5)
