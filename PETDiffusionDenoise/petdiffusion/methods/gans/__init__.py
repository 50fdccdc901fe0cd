"""The four adversarial methods that uPETe compares itself with: each by what is its own, all else alike."""

from __future__ import annotations

from typing import Any

from ..contract import Condition, MethodCard

_TAUGHT = "taught against a critic; no uncertainty."


def _card(name: str, title: str, summary: str, task: str, paper: str, **more: Any) -> MethodCard:
    return MethodCard(
        name, title, f"{summary}, {_TAUGHT}", f"petdiffusion.methods.gans.method:{name.replace('-', '_')}",
        "supervised", f"{paper}; compared in Jiang C, et al. (uPETe). MICCAI 2023.", needs_suv=True, needs_model=True,
        trainer=f"petdiffusion.methods.gans.task:{task}", weights_licence="Apache-2.0", activity_tolerance=0.05,
        scale_equivariant=False, flip_equivariant=False, **more,
    )  # fmt: skip


CARDS = (
    _card("la-gan", "LA-GAN", "Two U-nets in turn on PET, CT and MR weighed anew in every place of the body",
          "LocalityTask", "Wang Y, et al. IEEE Trans Med Imaging 2019",
          conditions=(Condition("ct", help="Tissue, for the body"), Condition("mr", help="Tissue, for the brain"))),
    _card("trans-gan", "Transformer-GAN", "U-net with a transformer between its two halves", "TransformerTask",
          "Luo Y, et al. MICCAI 2021"),
    _card("df-gan", "DF-GAN", "U-net with attention that finds low and high frequencies apart", "FrequencyTask",
          "Jiang C, et al. ISBI 2022"),
    _card("ar-gan", "AR-GAN", "U-net whose errors a second one mends, held to the image's spectrum", "RectifiedTask",
          "Luo Y, et al. Med Image Anal 2022"),
)  # fmt: skip
