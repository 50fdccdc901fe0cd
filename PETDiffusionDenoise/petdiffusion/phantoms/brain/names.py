"""Names and numbers of the label map: TotalSegmentator's where it has one, clear ones for what it does not divide."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from ...volume import LabelMap
from ..labels import ID as TOTAL_ID

CORTEX = tuple(f"{lobe}_cortex" for lobe in ("frontal", "parietal", "temporal", "occipital", "insular", "cingulate"))
_PAIRED_BRAIN = (*CORTEX, "cerebral_white_matter", "cerebellum", "cerebellar_white_matter", "thalamus", "hypothalamus",
                 "caudate_nucleus", "nucleus_accumbens", "putamen", "pallidum", "amygdala", "hippocampus",
                 "substantia_nigra", "red_nucleus", "dentate_nucleus")
_SINGLE_BRAIN = ("midbrain", "pons", "medulla", "dorsal_raphe", "median_raphe", "ventricle", "subarachnoid_space")
_PAIRED_HEAD = ("eye", "eye_lens", "optic_nerve", "parotid_gland", "submandibular_gland", "nasal_cavity",
                "auditory_canal", "internal_jugular_vein")
_SINGLE_HEAD = ("venous_sinuses", "pituitary_gland", "hard_palate", "soft_palate", "nasopharynx", "oropharynx")
_FROM_TOTAL = ("skull", "spinal_cord", "trachea", "common_carotid_artery_left", "common_carotid_artery_right",
               *(f"vertebrae_C{n}" for n in range(1, 8)))


def _both(names: tuple[str, ...]) -> list[str]:
    return [f"{name}_{side}" for name in names for side in ("left", "right")]


BRAIN = (*_both(_PAIRED_BRAIN), *_SINGLE_BRAIN)
"""Every structure that TotalSegmentator's `brain` contains."""
ID: Mapping[str, int] = MappingProxyType({
    **{name: TOTAL_ID[name] for name in _FROM_TOTAL},
    **{name: 201 + i for i, name in enumerate((*BRAIN, *_both(_PAIRED_HEAD), *_SINGLE_HEAD))}})
NAMES: Mapping[int, str] = MappingProxyType({value: name for name, value in sorted(ID.items(), key=lambda i: i[1])})
GREY = frozenset(ID[f"{name}_{side}"] for name in (*CORTEX, "hippocampus", "amygdala") for side in ("left", "right"))
"""Where a hypometabolic focus can lie."""


def whole(labels: LabelMap) -> LabelMap:
    """The same map in the terms of TotalSegmentator's `total` task: all parts of the brain become `brain`."""
    array = np.where(labels.mask(*BRAIN), np.int16(TOTAL_ID["brain"]), labels.array)
    known = {value: name for value, name in NAMES.items() if name in TOTAL_ID}
    array = np.where(np.isin(array, [*known, TOTAL_ID["brain"]]), array, 0)
    return LabelMap(array, labels.geometry, {**known, TOTAL_ID["brain"]: "brain"})
