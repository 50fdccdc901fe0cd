"""uPETe: latent diffusion with Poisson noise and CT-guided attention, learnt from normal doses (Jiang et al. 2023)."""

from ..contract import IMAGE, NOTHING, Condition, MethodCard, Option

CARDS = (
    MethodCard(
        name="upete",
        title="uPETe",
        summary="Latent diffusion with Poisson noise, learnt from normal-dose scans alone; CT guides it if given; "
        "uncertainty map.",
        entry="petdiffusion.methods.upete.method:denoise",
        trainer="petdiffusion.methods.upete.task:UpeteTask",
        family="unsupervised",
        paper="Jiang C, Pan Y, Liu M, et al. PET-Diffusion: Unsupervised PET Enhancement Based on the Latent Diffusion "
        "Model. MICCAI 2023.",
        conditions=(Condition("ct", help="anatomy: queries and keys of the attention"),),
        options=(
            Option("estimate", "str", "mean", "mean: best on average, smooth. sample: one likely normal-dose scan, "
                   "with its noise", choices=("mean", "sample"), moves=IMAGE),
            Option("samples", "int", 5, "chains for the uncertainty map; 0 leaves it out", 0, 100, moves=NOTHING),
            Option("steps", "int", 3, "network evaluations of a chain, from the scan's own step down", 1, 400,
                   advanced=True),
            # Moves the samples: chains begin at the step that it tells, not at the one read from the scan's noise, as
            # they did where a calibration was learnt. How often truth lies within what a fraction stated wrongly gives
            # was not measured.
            Option("fraction", "float", 0.0, "part of a normal dose that was given; 0: from the noise of the image",
                   0, 1, acts_at=("start", 0)),
            Option("start", "int", 0, "step t of 1 to 400 that the scan is taken for; 0: from its noise or fraction",
                   0, 400, advanced=True),
            Option("diffusion", "str", "poisson", "noise that the network is to remove, where the model learnt both; "
                   "gaussian: the plain latent diffusion", choices=("poisson", "gaussian"), advanced=True),
            Option("skip", "float", 0.0, "what compression lost of the scan comes back where it exceeds this many SDs "
                   "of such losses; 0: never", 0, 20, advanced=True, moves=IMAGE),
        ),
        outputs=("denoised", "uncertainty"),
        needs_model=True,
        weights_licence="Apache-2.0",
        activity_tolerance=0.05,
        equivariance_tolerance=0.02,
        flip_equivariant=False,
        stochastic=True,
    ),
)  # fmt: skip
