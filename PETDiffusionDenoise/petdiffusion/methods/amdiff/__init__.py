"""AMDiff: one model that denoises, segments lesions and organs and gives the clinical numbers (Xia et al. 2025)."""

from ..contract import IMAGE, MASKS, NOTHING, Condition, MethodCard, Option

_PAPER = (
    "Xia M, et al. Anatomically and metabolically informed diffusion for unified denoising and segmentation in "
    "low-count PET imaging."
)
_ESTIMATE = Option(
    "estimate", "str", "mean", "mean: best on average, smooth. sample: one likely image, with its texture",
    choices=("mean", "sample"), moves=IMAGE,
)  # fmt: skip
_SAMPLES = Option("samples", "int", 5, "samples for the uncertainty map and the intervals; 0 leaves them out", 0, 100,
                  moves=NOTHING)  # fmt: skip
_STEPS = Option("steps", "int", 8, "noise levels of each sample", 1, 250, advanced=True)
_SAMPLER = Option("sampler", "str", "dpmpp_2m", "how a sample is walked down the levels",
                  choices=("ddpm", "ddim", "dpmpp_2m"), advanced=True)  # fmt: skip
_THRESHOLD = Option("threshold", "float", None, "probability from which a voxel is lesion; unset: the model's own",
                    0.01, 0.99, advanced=True, moves=MASKS)  # fmt: skip
_SMALLEST = Option("smallest_ml", "float", None, "smaller lesions are dropped; unset: the model's own", 0.0, 100.0,
                   unit="ml", advanced=True, moves=MASKS)  # fmt: skip
_BORDERS = Option("borders", "str", "contrast", "where a lesion ends. contrast: at 30 % of its height above its "
                  "surroundings, large ones by the network. network: all by the network",
                  choices=("contrast", "network"), advanced=True, moves=MASKS)  # fmt: skip
_ALONE = Option("alone", "bool", True, "with borders=contrast: a marked region whose uptake goes on beyond it, as "
                "bowel's, muscle's or brown fat's does, is no lesion", advanced=True, moves=MASKS,
                acts_at=("borders", "contrast"))  # fmt: skip
_LEAVE_OUT = Option("leave_out", "str", "", "organs of the labels given, or fat by the CT, where nothing is a lesion: "
                    "colon,small_bowel,fat", moves=MASKS)  # fmt: skip
_LABELS = Condition("labels", help="say where marks lie; the network does not see them")
_PLACES = (Condition("ct", help="says which marks lie in fat; the network does not see it"), _LABELS)
_SEEN = (Condition("ct", help="organs are drawn by it too; says which marks lie in fat"), _LABELS)
_ONLY = Option("masks_only", "bool", False, "segment alone: the PET is given back as it came", advanced=True,
                moves=NOTHING)  # fmt: skip
_SHARED = {
    "family": "diffusion",
    "needs_suv": True,
    "needs_model": True,
    "weights_licence": "Apache-2.0",
    "activity_tolerance": 0.05,
    "scale_equivariant": False,
    "flip_equivariant": False,
    "stochastic": True,
}

CARDS = (
    MethodCard(
        name="amdiff",
        title="AMDiff",
        summary="One model denoises, segments lesions and organs, and gives MTV, TLG and organ SUVs with intervals.",
        entry="petdiffusion.methods.amdiff.method:denoise",
        trainer="petdiffusion.methods.amdiff.task:AmdiffTask",
        paper=_PAPER,
        conditions=_SEEN,
        options=(_ESTIMATE, _SAMPLES, _STEPS, _SAMPLER, _THRESHOLD, _SMALLEST, _BORDERS, _ALONE, _LEAVE_OUT, _ONLY),
        outputs=("denoised", "uncertainty", "organs", "lesions"),
        **_SHARED,
    ),
    MethodCard(
        name="med-ddpm-3d",
        title="Med-DDPM, 3D",
        summary="AMDiff's diffusion denoiser by itself, trained without masks.",
        entry="petdiffusion.methods.amdiff.method:denoise_alone",
        trainer="petdiffusion.methods.amdiff.task:DenoiserTask",
        paper="Dorjsembe Z, et al. Conditional Diffusion Models for Semantic 3D Brain MRI Synthesis. IEEE JBHI 2024; "
        "compared in Xia M, et al.",
        options=(_ESTIMATE, _SAMPLES, _STEPS, _SAMPLER),
        outputs=("denoised", "uncertainty"),
        **_SHARED,
    ),
    MethodCard(
        name="nnmamba",
        title="nnMamba",
        summary="AMDiff's segmenter by itself, on the scan and the output of a denoiser that never saw a mask.",
        entry="petdiffusion.methods.amdiff.method:segment_alone",
        trainer="petdiffusion.methods.amdiff.task:NnmambaTask",
        paper="Gong H, et al. nnMamba: 3D Biomedical Image Segmentation with State Space Model. 2024; compared in "
        "Xia M, et al.",
        conditions=_PLACES,
        options=(_ESTIMATE, _SAMPLES, _STEPS, _SAMPLER, _THRESHOLD, _SMALLEST, _BORDERS, _ALONE, _LEAVE_OUT, _ONLY),
        outputs=("denoised", "uncertainty", "organs", "lesions"),
        **_SHARED,
    ),
)
