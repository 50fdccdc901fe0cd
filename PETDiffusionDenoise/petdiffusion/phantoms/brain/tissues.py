"""What tissues look like in each modality.

PET, [18F]FDG at 60 min: grey to white matter 4 to 1 as in the Hoffman brain phantom (Hoffman et al., IEEE Trans Nucl
Sci 1990;37:616); cerebellum SUVmean 8.0 +- 2.2, soft palate 2.9, tonsils 3.5, sublingual glands 3.3 (Wang et al., Mol
Imaging Biol 2007;9:83); primary visual cortex highest, mesial temporal lobe and pons low (Guo et al., J Nucl Med
2019;60 suppl 1:3032).
PET, [11C]DASB: tissue = cerebellar grey x (1 + BP). Order midbrain > thalamus and striatum > limbic > neocortex >
cerebellum (Frankle et al., J Nucl Med 2004;45:682; atlas on the HRRT: Beliveau et al., J Neurosci 2017;37:120). BP in
the raphe is set above what is reported, because the reports are blurred by the scanner and this is the truth before it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tissue:
    """CT in HU, T1-weighted MR (white matter = 1), uptake per tracer.

    In the brain uptake is relative (FDG: to cortical grey matter, DASB: to cerebellar grey matter), elsewhere SUV.
    """

    hu: float
    t1: float
    fdg: float
    dasb: float
    brain: bool = False


def _brain(hu: float, t1: float, fdg: float, dasb: float) -> Tissue:
    return Tissue(hu, t1, fdg, dasb, brain=True)


TISSUES: dict[str, Tissue] = {
    "air": Tissue(-1000, 0.0, 0.0, 0.0),
    "sinus_air": Tissue(-960, 0.02, 0.02, 0.02),
    "air_cells": Tissue(-350, 0.08, 0.25, 0.25),
    "skin": Tissue(20, 0.75, 0.55, 0.6),
    "fat": Tissue(-95, 1.35, 0.25, 0.35),
    "muscle": Tissue(55, 0.52, 0.75, 0.65),
    "eye_muscle": Tissue(50, 0.52, 3.6, 0.9),
    "cortical_bone": Tissue(1350, 0.06, 0.30, 0.40),
    "diploe": Tissue(620, 0.62, 1.00, 1.10),
    "petrous_bone": Tissue(1650, 0.08, 0.30, 0.40),
    "face_bone": Tissue(700, 0.35, 0.60, 0.70),
    "vertebra": Tissue(330, 0.62, 1.60, 1.40),
    "tooth": Tissue(2200, 0.03, 0.05, 0.05),
    "vitreous": Tissue(10, 0.20, 0.12, 0.15),
    "lens": Tissue(80, 0.40, 0.35, 0.30),
    "mucosa": Tissue(40, 0.60, 1.70, 1.30),
    "parotid": Tissue(10, 0.95, 1.80, 2.30),
    "submandibular": Tissue(35, 0.75, 2.20, 2.60),
    "tongue": Tissue(50, 0.62, 1.60, 1.00),
    "tonsil": Tissue(45, 0.58, 3.20, 1.20),
    "soft_palate": Tissue(45, 0.58, 2.60, 1.10),
    "blood": Tissue(48, 0.55, 1.70, 0.90),
    "pituitary": Tissue(45, 0.75, 2.80, 2.50),
    "cord": Tissue(35, 0.85, 1.90, 1.40),
    "csf": Tissue(8, 0.20, 0.12, 0.15),
    "choroid_plexus": Tissue(50, 0.50, 1.60, 3.00),
    "grey": _brain(38, 0.66, 1.00, 1.22),
    "white": _brain(29, 1.00, 0.25, 0.90),
    "cerebellar_grey": _brain(39, 0.66, 0.86, 1.00),
    "cerebellar_white": _brain(30, 0.98, 0.26, 0.80),
    "thalamus": _brain(38, 0.80, 1.02, 2.85),
    "hypothalamus": _brain(37, 0.74, 0.72, 2.70),
    "caudate_nucleus": _brain(38, 0.68, 1.06, 2.45),
    "nucleus_accumbens": _brain(38, 0.69, 0.95, 2.80),
    "putamen": _brain(39, 0.72, 1.16, 2.60),
    "pallidum": _brain(40, 0.90, 0.66, 2.05),
    "amygdala": _brain(37, 0.66, 0.66, 2.15),
    "hippocampus": _brain(37, 0.66, 0.72, 1.60),
    "substantia_nigra": _brain(36, 0.84, 0.66, 2.90),
    "red_nucleus": _brain(36, 0.90, 0.75, 2.30),
    "dorsal_raphe": _brain(35, 0.88, 0.60, 5.80),
    "median_raphe": _brain(35, 0.90, 0.52, 4.20),
    "dentate_nucleus": _brain(38, 0.88, 0.75, 1.02),
    "midbrain": _brain(35, 0.92, 0.56, 2.20),
    "pons": _brain(33, 0.93, 0.46, 1.70),
    "medulla": _brain(33, 0.90, 0.44, 1.50),
}

TRACERS = ("FDG", "DASB")
HALF_LIFE_S = {"FDG": 6586.2, "DASB": 1221.66}
"""18F and 11C."""
