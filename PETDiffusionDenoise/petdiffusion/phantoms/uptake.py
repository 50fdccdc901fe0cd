"""Tracer uptake per tissue in SUVbw, within published normal ranges, as it varies between and within people.

Each row holds the mean and SD between patients (both of SUVmean), the coefficient of variation within the organ, the
texture that follows, and the sources whose ranges it was set by (tissues without one are set by their neighbours):
 1  Zincirkeser et al. Standardized uptake values of normal organs on FDG PET/CT. J Int Med Res 2007;35:231.
 2  Wang, Chiu, Rosenberg, Gambhir. SUV atlas: physiological FDG uptake in normal tissues. Mol Imaging Biol 2007;9:83.
 3  Boellaard et al. FDG PET/CT: EANM procedure guidelines, version 2.0. Eur J Nucl Med Mol Imaging 2015;42:328.
 4  Ramos et al. FDG-PET SUVs in normal anatomical structures. Eur J Nucl Med 2001;28:155.
 5  Paquet et al. Within-patient variability of FDG: SUVs in normal tissues. J Nucl Med 2004;45:784.
 6  Nakamoto et al. Normal FDG distribution patterns in the head and neck. Radiology 2005;234:879.
 7  Prabhakar et al. Bowel hot spots at PET-CT. Radiographics 2007;27:145.
 8  Cypess et al. Identification and importance of brown adipose tissue in adult humans. N Engl J Med 2009;360:1509.
 9  Kosuda et al. Uptake of FDG in the normal testis. Ann Nucl Med 1997;11:195.
10  Fan et al. Age-related changes in the metabolic activity of the red marrow. Mol Imaging Biol 2007;9:300.
11  Moran et al. Optimization of urinary FDG excretion during PET imaging. J Nucl Med 1999;40:1352.
12  Shreve, Anzai, Wahl. Pitfalls in oncologic diagnosis with FDG PET: variants. Radiographics 1999;19:61.
13  Fat, muscle and long bones were checked against 34 clinical scans (the STS set, see the page on digital patients).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import OptionError


@dataclass(frozen=True)
class Norm:
    """Published normal uptake: mean and SD between patients, variation within (cv) and its texture."""

    mean: float
    sd: float
    cv: float = 0.06
    texture: str = "patch"
    source: str = "1,2"


@dataclass(frozen=True)
class Level:
    """Uptake of one tissue in one patient."""

    suv: float
    cv: float
    texture: str

    def values(self, field: np.ndarray | None) -> np.ndarray | np.float32:
        """SUV, varied by a unit-variance field; never below a fifth of the mean."""
        if field is None:
            return np.float32(self.suv)
        return np.float32(self.suv) * np.maximum(1 + np.float32(self.cv) * field, np.float32(0.2))


FDG: Mapping[str, Norm] = {
    "air": Norm(0.0, 0.0, 0.0),
    "skin": Norm(0.55, 0.08, 0.1),
    "fat": Norm(0.29, 0.06, 0.16, source="2,4,13"),
    "fat_visceral": Norm(0.38, 0.07, 0.2, source="2,4"),
    "fat_marrow": Norm(0.45, 0.09, 0.1, source="10"),
    "septum": Norm(0.4, 0.05, 0.0),
    "breast": Norm(0.75, 0.2, 0.15, source="2"),
    "muscle": Norm(0.70, 0.11, 0.1, "broad", "1,2,4,13"),
    "tongue": Norm(1.6, 0.35, 0.15, source="6"),
    "tendon": Norm(0.5, 0.05),
    "liver": Norm(2.25, 0.28, 0.045, source="1,2,3,5"),
    "spleen": Norm(1.9, 0.22, 0.045, source="2,5"),
    "kidney_cortex": Norm(2.9, 0.5, 0.08, source="2,11"),
    "kidney_medulla": Norm(3.4, 0.8, 0.12, source="2,11"),
    "urine": Norm(14.0, 9.0, 0.15, source="11"),
    "urine_bladder": Norm(20.0, 14.0, 0.03, "broad", "1,11"),
    "gallbladder_wall": Norm(1.3, 0.2),
    "bile": Norm(0.9, 0.25, 0.03),
    "pancreas": Norm(1.6, 0.25, 0.08, source="1,2"),
    "adrenal": Norm(1.7, 0.35, 0.06, source="2"),
    "stomach_wall": Norm(2.2, 0.55, 0.2, source="1,2"),
    "stomach_wall_thin": Norm(1.3, 0.2),
    "cyst": Norm(0.6, 0.1, 0.03),
    "stomach_content": Norm(0.9, 0.25, 0.1),
    "bowel_wall": Norm(1.8, 0.5, 0.3, source="1,7"),
    "bowel_content": Norm(1.0, 0.25, 0.2, source="7"),
    "colon_wall": Norm(1.7, 0.55, 0.3, source="1,7"),
    "stool": Norm(1.15, 0.3, 0.25, source="7"),
    "gas": Norm(0.0, 0.0, 0.0),
    "blood": Norm(1.65, 0.2, 0.02, source="1,2,3"),
    "vessel_wall": Norm(1.5, 0.25, 0.05, source="2"),
    "calcium": Norm(1.2, 0.2),
    "heart_blood": Norm(1.65, 0.2, 0.02, source="1,2,3"),
    "myocardium": Norm(3.0, 1.0, 0.12, source="2"),
    "myocardium_right": Norm(1.9, 0.4, 0.08, source="2"),
    "atrium": Norm(1.8, 0.3, 0.05),
    "lung": Norm(0.48, 0.08, 0.14, source="1,2,5"),
    "lung_vessel": Norm(1.4, 0.15, 0.0),
    "bronchus_wall": Norm(0.8, 0.1, 0.0),
    "airway": Norm(0.0, 0.0, 0.0),
    "trachea_wall": Norm(1.1, 0.2),
    "oesophagus": Norm(1.6, 0.3, 0.15, source="2"),
    "thyroid": Norm(1.3, 0.3, 0.08, source="2,6"),
    "thymus": Norm(0.9, 0.3, 0.12),
    "lymph_node": Norm(1.1, 0.25, 0.05),
    "bone_cortex": Norm(0.45, 0.1, 0.1),
    "bone_cortex_thin": Norm(0.7, 0.12, 0.1),
    "bone_shaft": Norm(0.45, 0.1, 0.1),
    "marrow": Norm(1.15, 0.25, 0.1, source="10"),
    "marrow_spine": Norm(1.55, 0.3, 0.08, source="2,10"),
    "disc": Norm(0.6, 0.08),
    "cartilage": Norm(0.5, 0.08),
    "cartilage_larynx": Norm(0.9, 0.15),
    "vocal_cord": Norm(2.2, 0.6, source="6"),
    "skull_bone": Norm(0.6, 0.1),
    "skull_diploe": Norm(0.9, 0.15),
    "tooth": Norm(0.3, 0.05),
    "csf": Norm(1.0, 0.2, 0.0),
    "spinal_cord": Norm(1.9, 0.3, 0.08, source="2"),
    "grey_matter": Norm(9.8, 1.7, 0.07, "patch", "2,5"),
    "white_matter": Norm(3.6, 0.6, 0.05, source="2"),
    "cerebellum": Norm(7.6, 1.2, 0.06, source="2,5"),
    "basal_ganglia": Norm(10.8, 1.7, 0.04, source="2"),
    "brainstem": Norm(5.2, 0.8, 0.06, source="2"),
    "eye": Norm(0.7, 0.1),
    "eye_muscle": Norm(2.8, 0.7, 0.1, source="6"),
    "salivary": Norm(1.9, 0.45, 0.1, source="6"),
    "sublingual": Norm(2.9, 0.8, 0.1, source="2,6"),
    "tonsil": Norm(3.3, 0.9, 0.08, source="6"),
    "mucosa": Norm(1.9, 0.4, 0.15, source="6"),
    "prostate": Norm(1.5, 0.3, 0.08, source="2"),
    "seminal_vesicle": Norm(1.3, 0.25, 0.08),
    "testis": Norm(2.6, 0.5, 0.06, source="9"),
    "penis": Norm(1.3, 0.25, 0.1),
    "uterus": Norm(1.5, 0.3, 0.08, source="2"),
    "endometrium": Norm(2.0, 0.7, 0.05, source="2"),
    "ovary": Norm(1.4, 0.4, 0.1),
    "brown_fat": Norm(6.0, 3.0, 0.25, source="8"),
}

TRACERS: Mapping[str, Mapping[str, Norm]] = {"FDG": FDG}


class Uptake:
    """The uptake of one patient: every tissue drawn log-normally about its published mean, and how the day went."""

    def __init__(
        self, tracer: str, rng: np.random.Generator, bmi: float = 25.0, age: float = 60.0, male: bool = True
    ) -> None:
        if tracer not in TRACERS:
            raise OptionError(
                f"Tracer '{tracer}'", f"has no uptake table of the body; known: {', '.join(TRACERS)}",
                "Choose one of these, or draw a brain (--kind brain), which knows others.",
            )
        self.tracer = tracer
        common = rng.normal(0, 0.3)
        self.table = {name: _draw(norm, common, rng) for name, norm in TRACERS[tracer].items()}
        self.states = _states(rng, bmi, age, male)
        for name, factor in _changes(self.states, rng).items():
            self.table[name] = replace(self.table[name], suv=self.table[name].suv * factor)
        for name, (low, high) in LIMITS.items():
            self.table[name] = replace(self.table[name], suv=float(np.clip(self.table[name].suv, low, high)))

    def __getitem__(self, name: str) -> Level:
        return self.table[name]

    def to_json(self) -> dict[str, Any]:
        return dict(self.states)


LIMITS: Mapping[str, tuple[float, float]] = {
    "liver": (1.4, 3.4),
    "blood": (1.0, 2.4),
    "heart_blood": (1.0, 2.4),
    "myocardium": (1.5, 15.0),
    "urine": (4.0, 40.0),
    "urine_bladder": (5.0, 60.0),
    "brown_fat": (2.5, 15.0),
    "colon_wall": (0.9, 9.0),
    "bowel_wall": (0.9, 7.0),
}
"""Range of SUVmean seen in clinics, whatever state a patient is in."""


def _states(rng: np.random.Generator, bmi: float, age: float, male: bool) -> dict[str, Any]:
    """Fasting decides the heart, cold the brown fat, metformin the bowel, inflammation or G-CSF the marrow."""
    cold = np.clip(0.10 - 0.0016 * (age - 30) - 0.006 * (bmi - 24) + (0.0 if male else 0.03), 0.01, 0.2)
    return {
        "myocardium": str(rng.choice(["off", "partial", "on"], p=[0.45, 0.2, 0.35])),
        "brown_fat": bool(rng.random() < cold),
        "metformin": bool(rng.random() < 0.12),
        "marrow_active": bool(rng.random() < 0.12),
        "thyroiditis": bool(rng.random() < 0.04),
        "muscle_work": bool(rng.random() < 0.06),
    }


def _changes(states: Mapping[str, Any], rng: np.random.Generator) -> dict[str, float]:
    """Factors on the resting uptake."""
    draw = {
        "myocardium_on": rng.uniform(2.2, 4.5),
        "metformin": rng.uniform(2.0, 3.6),
        "marrow": rng.uniform(1.5, 2.2),
        "thyroid": rng.uniform(2.5, 5.0),
        "muscle": rng.uniform(1.25, 1.6),
        "partial": rng.uniform(1.3, 2.2),
    }
    changes: dict[str, float] = {
        "myocardium": {"on": draw["myocardium_on"], "partial": draw["partial"], "off": 0.72}[states["myocardium"]]
    }
    if states["myocardium"] == "on":
        changes["myocardium_right"] = 1.5
    if states["metformin"]:
        changes |= {"colon_wall": draw["metformin"], "bowel_wall": 1 + 0.6 * (draw["metformin"] - 1), "stool": 1.6}
    if states["marrow_active"]:
        changes |= {"marrow": draw["marrow"], "marrow_spine": draw["marrow"], "spleen": 1 + 0.35 * (draw["marrow"] - 1)}
    if states["thyroiditis"]:
        changes["thyroid"] = draw["thyroid"]
    if states["muscle_work"]:
        changes["muscle"] = draw["muscle"]
    return changes


def _draw(norm: Norm, common: float, rng: np.random.Generator) -> Level:
    """Log-normal with the table's mean and SD; people high in one tissue are often high in others (`common`)."""
    own = rng.normal()
    if norm.mean <= 0:
        return Level(0.0, 0.0, norm.texture)
    sigma = np.sqrt(np.log(1 + (norm.sd / norm.mean) ** 2))
    mixed = np.clip(common + np.sqrt(1 - 0.09) * own, -2.3, 2.3)
    return Level(float(norm.mean * np.exp(sigma * mixed - sigma**2 / 2)), norm.cv, norm.texture)
