"""Restormer: a transformer by regression, the strongest rival in CSRD's table."""

from ..contract import Condition, MethodCard

CARDS = (
    MethodCard(
        name="restormer",
        title="Restormer",
        summary="Transformer by regression, with CT or MR if given; trained as the 3D U-net is; no uncertainty.",
        entry="petdiffusion.methods.restormer.method:denoise",
        trainer="petdiffusion.methods.restormer.task:RestormerTask",
        family="supervised",
        paper="Zamir S W, et al. Restormer. CVPR 2022; compared in Yoon S, et al. MICCAI 2024.",
        conditions=(
            Condition("mr", help="T1-like, anatomy for the brain"),
            Condition("ct", help="anatomy for the body"),
        ),
        needs_suv=True,
        needs_model=True,
        weights_licence="Apache-2.0",
        activity_tolerance=0.05,
        scale_equivariant=False,
        flip_equivariant=False,
    ),
)
