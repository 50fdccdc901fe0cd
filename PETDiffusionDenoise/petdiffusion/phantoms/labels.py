"""The 117 structures of TotalSegmentator's `total` task by number, and the groups clinicians count them in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_SOFT = """spleen kidney_right kidney_left gallbladder liver stomach pancreas adrenal_gland_right adrenal_gland_left
lung_upper_lobe_left lung_lower_lobe_left lung_upper_lobe_right lung_middle_lobe_right lung_lower_lobe_right esophagus
trachea thyroid_gland small_bowel duodenum colon urinary_bladder prostate kidney_cyst_left kidney_cyst_right""".split()
_SPINE = ["sacrum", "vertebrae_S1"] + [
    f"vertebrae_{region}{n}" for region, count in (("L", 5), ("T", 12), ("C", 7)) for n in range(count, 0, -1)
]
_VESSELS = """heart aorta pulmonary_vein brachiocephalic_trunk subclavian_artery_right subclavian_artery_left
common_carotid_artery_right common_carotid_artery_left brachiocephalic_vein_left brachiocephalic_vein_right
atrial_appendage_left superior_vena_cava inferior_vena_cava portal_vein_and_splenic_vein iliac_artery_left
iliac_artery_right iliac_vena_left iliac_vena_right""".split()
_LIMBS = [
    f"{bone}_{side}" for bone in ("humerus", "scapula", "clavicula", "femur", "hip") for side in ("left", "right")
]
_MUSCLES = ["spinal_cord"] + [
    f"{muscle}_{side}"
    for muscle in ("gluteus_maximus", "gluteus_medius", "gluteus_minimus", "autochthon", "iliopsoas")
    for side in ("left", "right")
]
_RIBS = [f"rib_{side}_{n}" for side in ("left", "right") for n in range(1, 13)]

TOTAL: Mapping[int, str] = MappingProxyType(
    dict(
        enumerate(
            _SOFT
            + _SPINE
            + _VESSELS
            + _LIMBS
            + _MUSCLES
            + ["brain", "skull"]
            + _RIBS
            + ["sternum", "costal_cartilages"],
            1,
        )
    )
)
"""Name of each label value."""

ID: Mapping[str, int] = MappingProxyType({name: value for value, name in TOTAL.items()})
"""Label value of each name."""

RIBS = tuple(_RIBS)
VERTEBRAE = tuple(name for name in _SPINE if name.startswith("vertebrae"))
LUNGS = tuple(name for name in _SOFT if name.startswith("lung_"))

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "lung": LUNGS,
        "vertebrae": VERTEBRAE,
        "ribs": RIBS,
        "bone": (*_SPINE, *_LIMBS, *_RIBS, "skull", "sternum", "costal_cartilages"),
        "kidney": ("kidney_left", "kidney_right"),
        "adrenal": ("adrenal_gland_left", "adrenal_gland_right"),
        "muscle": tuple(_MUSCLES[1:]),
        "bowel": ("small_bowel", "duodenum", "colon"),
        "heart": ("heart", "atrial_appendage_left"),
        "vessels": tuple(_VESSELS[1:]),
        "brain": ("brain",),
    }
)
"""Structures counted together; names not listed here stand for themselves."""
