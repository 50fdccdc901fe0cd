"""CycleWGAN: learns from low-count and normal-dose slices of different patients; BC-DPM's Table 1 has it."""

from ..contract import MethodCard

CARDS = (
    MethodCard(
        name="cycle-wgan",
        title="CycleWGAN",
        summary="U-net on slices, taught by critics on scans of different patients, there and back; no uncertainty.",
        entry="petdiffusion.methods.cycle_wgan.method:denoise",
        trainer="petdiffusion.methods.cycle_wgan.task:CycleTask",
        family="unsupervised",
        paper="Zhou L, et al. Med Image Anal 2020 (unsupervised form); compared in Shen C, et al. (BC-DPM).",
        needs_model=True,
        weights_licence="Apache-2.0",
        activity_tolerance=0.05,
        equivariance_tolerance=2e-2,
        flip_equivariant=False,
    ),
)
