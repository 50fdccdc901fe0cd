"""Networks that learn on the scan that they denoise: no model, no other patient, and minutes instead of seconds."""

from __future__ import annotations

from typing import Any

from ..contract import Condition, MethodCard, Option

_ANATOMY = (Condition("ct", help="Borders of organs"), Condition("mr", help="Borders of organs"))
_GUIDE = Option("guide", "str", "auto", "Image whose borders lead; auto: MR, else CT",
                choices=("auto", "ct", "mr"))  # fmt: skip

_PAINTED = 0.12
"""Of an image painted from nothing, with however few steps of learning."""


def _steps(default: int, tune: tuple[int, ...]) -> Option:
    return Option("steps", "int", default, "Steps of learning; more follow the scan more closely, its noise too",
                  1, 100_000, tune=tune)  # fmt: skip


def _card(name: str, title: str, summary: str, module: str, paper: str, *options: Option,
          activity_tolerance: float = 0.05, **more: Any) -> MethodCard:  # fmt: skip
    return MethodCard(
        name, title, summary, f"petdiffusion.methods.self_taught.{module}:denoise", "unsupervised", paper,
        options=options, learns=True, activity_tolerance=activity_tolerance, equivariance_tolerance=2e-2,
        flip_equivariant=False, stochastic=True, **more,
    )  # fmt: skip


CARDS = (
    _card(
        "noise2void", "Noise2Void", "Learns on the scan itself to guess each voxel from the others; no model.",
        "noise2void", "Krull, Buchholz and Jug, CVPR 2019; for PET Song, Yang and Dutta, Phys Med Biol 2021",
        _steps(600, (200, 400, 600, 900))),
    _card(
        "n2v-pt", "N2V-PT", "Noise2Void on slices that begins with what it learnt on other low-count scans.",
        "transfer", "Song, Yang and Dutta, Phys Med Biol 2021 (Noise2Void with parameter transfer)",
        Option("steps", "int", 300, "Steps of learning on this scan; 0: the parameters as they are", 0, 100_000,
               tune=(0, 100, 300, 600)),
        trainer="petdiffusion.methods.self_taught.transfer_task:TransferTask", needs_model=True, needs_suv=False,
        weights_licence="Apache-2.0"),
    _card(
        "noisier2noise", "Noisier2Noise", "Learns on the scan itself to take away noise that is added to it; no model.",
        "noisier2noise", "Moran et al., CVPR 2020; for PET Yie et al., Nucl Med Mol Imaging 2020",
        _steps(300, (150, 300, 600)),
        Option("added", "float", 1.0, "Noise that is added, in units of the scan's own", 0.1, 10.0,
               tune=(0.7, 1.0, 1.7)),
        Option("corrected", "bool", False, "Estimate by Moran's equation from noisier scans, instead of from the scan",
               advanced=True)),
    _card(
        "dip", "Deep image prior", "A U-net paints the scan from MR or CT until what is left is noise; no model.",
        "deep_prior", "Cui et al., Eur J Nucl Med Mol Imaging 2019; Ulyanov, Vedaldi and Lempitsky, CVPR 2018",
        _steps(1000, (500, 1000, 2000)), _GUIDE,
        conditions=_ANATOMY, activity_tolerance=_PAINTED),
    _card(
        "mr-gdd", "Guided deep decoder", "A decoder paints the scan from noise, led by the borders of MR or CT.",
        "guided_decoder", "Onishi et al., Med Image Anal 2021 (MR-GDD); Uezato et al., ECCV 2020",
        _steps(800, (400, 800, 1600)), _GUIDE,
        conditions=_ANATOMY, activity_tolerance=_PAINTED),
)  # fmt: skip
