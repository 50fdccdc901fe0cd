"""N2V-PT: Noise2Void that begins with what it learnt on other scans, BC-DPM's strongest rival without a GAN."""

from ..contract import MethodCard, Option

CARDS = (
    MethodCard(
        name="n2v-pt",
        title="N2V-PT",
        summary="Noise2Void on slices; begins with parameters from other low-count scans, then learns on this one.",
        entry="petdiffusion.methods.n2v_pt.method:denoise",
        trainer="petdiffusion.methods.n2v_pt.task:N2vPtTask",
        family="unsupervised",
        paper="Song T A, Yang F, Dutta J. Noise2Void: unsupervised denoising of PET images. Phys Med Biol 2021.",
        options=(
            Option("steps", "int", 100, "Steps of learning on this scan; 0: the parameters as they are", 0, 100_000,
                   tune=(0, 50, 100, 200, 400)),
        ),
        needs_model=True,
        learns=True,
        weights_licence="Apache-2.0",
        activity_tolerance=0.05,
        equivariance_tolerance=2e-2,
        flip_equivariant=False,
        stochastic=True,
    ),
)  # fmt: skip
