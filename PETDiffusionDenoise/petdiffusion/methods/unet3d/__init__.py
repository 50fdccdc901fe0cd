"""A 3D U-net by regression: CSRD's twin in size and data, and its yardstick."""

from ..contract import Condition, MethodCard

CARDS = (
    MethodCard(
        name="unet-3d",
        title="3D U-net",
        summary="Regression network of CSRD's size and data; one evaluation, no uncertainty.",
        entry="petdiffusion.methods.unet3d.method:denoise",
        trainer="petdiffusion.methods.unet3d.task:Unet3dTask",
        family="supervised",
        paper="Ronneberger O, et al. U-Net. MICCAI 2015; compared in Yoon S, et al. MICCAI 2024.",
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
