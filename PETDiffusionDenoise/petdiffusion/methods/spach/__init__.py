"""Spach Transformer: attention of voxels near each other and of all channels in turn; AMDiff's Table 2 has it."""

from ..contract import MethodCard

CARDS = (
    MethodCard(
        name="spach-transformer",
        title="Spach Transformer",
        summary="Transformer by regression: nearby voxels and all channels attend in turn; no uncertainty.",
        entry="petdiffusion.methods.spach.method:denoise",
        trainer="petdiffusion.methods.spach.task:SpachTask",
        family="supervised",
        paper="Jang S-I, et al. IEEE Trans Med Imaging 2023; compared in Xia M, et al. (AMDiff).",
        needs_suv=True,
        needs_model=True,
        weights_licence="Apache-2.0",
        activity_tolerance=0.05,
        scale_equivariant=False,
        flip_equivariant=False,
    ),
)
