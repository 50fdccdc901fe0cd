"""CSRD: volumetric conditional score-based residual diffusion (Yoon et al. 2024)."""

from ..contract import IMAGE, NOTHING, Condition, MethodCard, Option

CHURNED = ("euler", "heun")
"""Samplers that can add noise on their way."""
CARDS = (
    MethodCard(
        name="csrd",
        title="CSRD residual diffusion",
        summary="Diffusion model of what a low-count scan lacks, in 3D, with CT or MR if given; uncertainty map.",
        entry="petdiffusion.methods.csrd.method:denoise",
        trainer="petdiffusion.methods.csrd.task:CsrdTask",
        family="diffusion",
        paper="Yoon S, et al. Volumetric Conditional Score-based Residual Diffusion Model for PET/MR Denoising. "
        "MICCAI 2024.",
        conditions=(
            Condition("mr", help="T1-like, anatomy for the brain"),
            Condition("ct", help="anatomy for the body"),
        ),
        options=(
            Option(
                "estimate", "str", "mean", "mean: best on average, smooth. sample: one likely image, with its texture",
                choices=("mean", "sample"), moves=IMAGE,
            ),
            Option("samples", "int", 5, "samples for the uncertainty map; 0 leaves it out", 0, 100, moves=NOTHING),
            Option("steps", "int", 8, "noise levels of each sample", 1, 1000, advanced=True),
            Option("sampler", "str", "dpmpp_2m", "how a sample is walked down the levels",
                   choices=(*CHURNED, "dpmpp_2m"), advanced=True),
            Option("churn", "float", 0.0, "S_churn of euler and heun; 0 is deterministic", 0, 100, advanced=True,
                   acts_at=("sampler", *CHURNED)),
        ),
        outputs=("denoised", "uncertainty"),
        needs_suv=True,
        needs_model=True,
        weights_licence="Apache-2.0",
        activity_tolerance=0.05,
        scale_equivariant=False,
        flip_equivariant=False,
        stochastic=True,
        minimum_size=1,
    ),
)  # fmt: skip
