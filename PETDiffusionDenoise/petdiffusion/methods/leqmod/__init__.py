"""LeqMod-GAN: a U-net that learns against a critic and is held to lesions and to regions' SUVmean and SUVmax."""

from ..contract import MethodCard

CARDS = (
    MethodCard(
        name="leqmod-gan",
        title="LeqMod-GAN",
        summary="U-net taught against a critic and to keep SUVmean and SUVmax of regions and lesions; no uncertainty.",
        entry="petdiffusion.methods.leqmod.method:denoise",
        trainer="petdiffusion.methods.leqmod.task:LeqmodTask",
        family="supervised",
        paper="Xia M, et al. LeqMod. 2024; compared in Xia M, et al. (AMDiff).",
        needs_suv=True,
        needs_model=True,
        weights_licence="Apache-2.0",
        activity_tolerance=0.05,
        scale_equivariant=False,
        flip_equivariant=False,
    ),
)
