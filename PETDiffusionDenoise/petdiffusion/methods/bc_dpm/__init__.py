"""BC-DPM: unsupervised denoising by a score model of normal-dose slices and two conditions (Shen et al. 2023)."""

from ..contract import IMAGE, NOTHING, MethodCard, Option

CARDS = (
    MethodCard(
        name="bc-dpm",
        title="BC-DPM",
        summary="Learnt from normal-dose slices alone; one model for every count level, steered by the scan; "
        "uncertainty map.",
        entry="petdiffusion.methods.bc_dpm.method:denoise",
        trainer="petdiffusion.methods.bc_dpm.task:BcDpmTask",
        family="unsupervised",
        paper="Shen C, Yang Z, Zhang Y. PET Image Denoising with Score-Based Diffusion Probabilistic Models. "
        "MICCAI 2023.",
        options=(
            # Both move the samples: a stated level stands in for the one read from the noise, by which l, the filters
            # and the noise put in were set where a calibration was learnt, and the noise is no longer matched to the
            # scan's. How often truth lies within what a level stated too high or too low gives was not measured.
            Option("counts", "float", 0.0, "events in a slice, such as 3e5; 0: from `fraction`, or from the noise",
                   0, 1e9),
            Option("fraction", "float", 0.0, "part of a normal dose that was given; 0: not known", 0, 1,
                   acts_at=("counts", 0.0)),
            Option("samples", "int", 5, "runs: the mean of all is shown, their spread is the uncertainty", 1, 100,
                   moves=NOTHING),
            Option("estimate", "str", "mean", "mean of all runs, or one run (sample) with its texture",
                   choices=("mean", "sample"), moves=IMAGE),
            Option("search", "bool", False, "find l by trial on a digital patient at the same count level first"),
            Option("transitions", "int", 0, "l: last steps that the scan steers; 0: from the count level", 0, 1000,
                   tune=(3, 5, 8, 10, 15, 20), advanced=True),
            Option("balance", "float", 0.2, "lambda: weight of the noise-insertion condition against the filter's",
                   0, 1, advanced=True),
            Option("smooth_mm", "float", 0.0, "FWHM of the filter of the denoising condition; 0: from the count level",
                   0, 100, unit="mm", advanced=True),
            Option("resolution", "float", 0.5, "FWHM of the noise-insertion condition as part of the filter's", 0, 1,
                   advanced=True),
            Option("conditions", "str", "both", "which conditions steer the chain",
                   choices=("both", "gaussian", "sinogram", "none"), advanced=True),
            Option("start", "str", "scan", "chains start from the scan at the level of l steps, or from pure noise as "
                   "in the paper", choices=("scan", "noise"), advanced=True),
            Option("steps", "int", 100, "steps of a whole chain", 10, 1000, advanced=True),
            Option("axial_mm", "float", 8.0, "distance over which neighbouring slices share their noise and the "
                   "filters reach; 0: every slice for itself", 0, 100, unit="mm", advanced=True),
            Option("each_slice", "bool", False, "every slice holds `counts`: they were scanned one by one",
                   advanced=True),
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
