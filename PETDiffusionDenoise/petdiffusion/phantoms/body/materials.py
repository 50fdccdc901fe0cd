"""How tissues look on CT (HU, no contrast agent) and on a T1-weighted MR (arbitrary units, fat near 1000)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from .person import Person


@dataclass(frozen=True)
class Look:
    """Mean and fine variation of one tissue."""

    hu: float
    mr: float
    hu_sd: float = 0.0
    texture: str = "fine"

    def ct(self, field: np.ndarray | None) -> np.ndarray | np.float32:
        return np.float32(self.hu) if field is None else np.float32(self.hu) + np.float32(self.hu_sd) * field

    def mr_value(self, field: np.ndarray | None) -> np.ndarray | np.float32:
        """MR varies with the same texture, four per cent."""
        return np.float32(self.mr) if field is None else np.float32(self.mr) * (1 + np.float32(0.04) * field)


TISSUES: Mapping[str, Look] = {
    "air": Look(-1000, 0),
    "skin": Look(5, 420),
    "fat": Look(-104, 950, 6),
    "fat_visceral": Look(-97, 900, 12),
    "fat_marrow": Look(-70, 860, 10),
    "septum": Look(-75, 760),
    "breast": Look(5, 420, 22, "patch"),
    "muscle": Look(54, 300, 7),
    "tongue": Look(60, 340, 8),
    "tendon": Look(65, 150),
    "liver": Look(58, 430, 3.5),
    "spleen": Look(48, 290, 3),
    "kidney_cortex": Look(34, 380, 3),
    "kidney_medulla": Look(30, 290, 3),
    "urine": Look(6, 110, 1.5),
    "urine_bladder": Look(6, 110, 1.5),
    "gallbladder_wall": Look(30, 300),
    "bile": Look(9, 200, 1.5),
    "pancreas": Look(36, 460, 14),
    "adrenal": Look(15, 330, 5),
    "stomach_wall": Look(42, 320, 4),
    "stomach_content": Look(22, 250, 14, "patch"),
    "stomach_wall_thin": Look(36, 310),
    "cyst": Look(5, 130, 1),
    "bowel_wall": Look(40, 320, 5),
    "bowel_content": Look(24, 280, 14, "patch"),
    "colon_wall": Look(36, 320, 5),
    "stool": Look(-20, 360, 70),
    "gas": Look(-960, 5),
    "blood": Look(42, 190, 3),
    "vessel_wall": Look(48, 240, 3),
    "calcium": Look(420, 60),
    "heart_blood": Look(42, 200, 3),
    "myocardium": Look(46, 320, 3),
    "myocardium_right": Look(46, 320, 3),
    "atrium": Look(44, 240, 3),
    "lung": Look(-835, 28, 22),
    "lung_vessel": Look(30, 160),
    "bronchus_wall": Look(-150, 120),
    "airway": Look(-995, 3),
    "trachea_wall": Look(20, 260),
    "oesophagus": Look(36, 310, 5),
    "thyroid": Look(95, 380, 6),
    "thymus": Look(-40, 600, 20),
    "lymph_node": Look(32, 310, 4),
    "bone_cortex": Look(880, 25, 60),
    "bone_cortex_thin": Look(620, 60, 60),
    "bone_shaft": Look(1250, 15, 50),
    "marrow": Look(170, 520, 42),
    "marrow_spine": Look(165, 540, 38),
    "disc": Look(85, 260, 5),
    "cartilage": Look(95, 250, 12),
    "cartilage_larynx": Look(180, 200, 30),
    "vocal_cord": Look(50, 300),
    "skull_bone": Look(1050, 25, 60),
    "skull_diploe": Look(650, 350, 80),
    "tooth": Look(1800, 10, 150),
    "csf": Look(8, 110, 1),
    "spinal_cord": Look(36, 360),
    "grey_matter": Look(37, 380, 1.5),
    "white_matter": Look(29, 490, 1),
    "cerebellum": Look(36, 400, 2),
    "basal_ganglia": Look(37, 400, 1.5),
    "brainstem": Look(31, 440, 1.5),
    "eye": Look(12, 130),
    "eye_muscle": Look(45, 300),
    "salivary": Look(12, 520, 14),
    "sublingual": Look(25, 430, 8),
    "tonsil": Look(42, 330),
    "mucosa": Look(35, 300),
    "prostate": Look(40, 300, 4),
    "seminal_vesicle": Look(20, 260, 5),
    "testis": Look(35, 330),
    "penis": Look(40, 290, 4),
    "uterus": Look(48, 300, 4),
    "endometrium": Look(36, 330),
    "ovary": Look(28, 280, 4),
    "brown_fat": Look(-78, 800, 8),
}


class Looks:
    """The tissues of one patient: age, bone mineral and fatty liver change what CT shows."""

    def __init__(self, person: Person) -> None:
        rng = person.rng("looks")
        table = {
            name: replace(look, hu=look.hu + _shift(rng, look), mr=look.mr * float(np.exp(rng.normal(0, 0.05))))
            for name, look in TISSUES.items()
        }
        for name in ("marrow", "marrow_spine"):
            table[name] = replace(table[name], hu=-20 + (table[name].hu + 20) * person.bone)
        for name in ("bone_cortex", "bone_cortex_thin", "bone_shaft", "skull_bone"):
            table[name] = replace(table[name], hu=table[name].hu * (0.6 + 0.4 * person.bone))
        lost = person.muscle_fat
        table["muscle"] = replace(table["muscle"], hu=max(table["muscle"].hu + 5 - lost, 18), hu_sd=7 + 0.3 * lost)
        fat = person.fatty_liver
        table["liver"] = replace(
            table["liver"], hu=table["liver"].hu - 65 * fat, mr=table["liver"].mr * (1 + 0.5 * fat)
        )
        table["lung"] = replace(table["lung"], hu=float(table["lung"].hu + 18 - 1.2 * person.breath_mm))
        self.table = table

    def __getitem__(self, name: str) -> Look:
        return self.table[name]


def _shift(rng: np.random.Generator, look: Look) -> float:
    """People differ by a few HU in soft tissue and by some per cent in bone."""
    spread = 0.0 if look.hu < -900 else 2.5 + 0.04 * abs(look.hu) * (look.hu > 100)
    return float(rng.normal(0, spread))
