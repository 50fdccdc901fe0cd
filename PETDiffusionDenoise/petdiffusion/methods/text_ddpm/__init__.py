"""Text-guided DDPM (Yu et al. 2025): two slices at a time, told in words what they show; and its two twins without."""

from ..contract import IMAGE, NOTHING, Condition, MethodCard, Option

_PAPER = (
    "Yu B, Ozdemir S, Wu J, et al. PET Image Denoising via Text-Guided Diffusion: Integrating Anatomical Priors "
    "through Text Prompts. 2025."
)
_BLEND = Option("blend", "bool", True, "pairs of slices overlap by one, so that no jumps are left between pairs",
                advanced=True)  # fmt: skip
_SAMPLING = (
    Option("estimate", "str", "mean", "mean: best on average, smooth. sample: one likely image, with its texture",
           choices=("mean", "sample"), moves=IMAGE),
    Option("samples", "int", 4, "samples for the uncertainty map; 0 leaves it out", 0, 100, moves=NOTHING),
    Option("steps", "int", 8, "noise levels of each sample; the paper's are 1000 with sampler=ddpm", 1, 1000,
           advanced=True),
    Option("sampler", "str", "dpmpp_2m", "how a sample is walked down the levels",
           choices=("ddpm", "ddim", "euler", "heun", "dpmpp_2m"), advanced=True),
    _BLEND,
)  # fmt: skip
_LEARNT = {"needs_suv": True, "needs_model": True, "weights_licence": "Apache-2.0", "activity_tolerance": 0.05,
           "scale_equivariant": False, "flip_equivariant": False}  # fmt: skip

CARDS = (
    MethodCard(
        name="text-ddpm",
        title="Text-guided DDPM",
        summary="Diffusion of two slices at a time, told in words which organs they show; uncertainty map.",
        entry="petdiffusion.methods.text_ddpm.method:text_ddpm",
        trainer="petdiffusion.methods.text_ddpm.task:TextDdpmTask",
        family="diffusion",
        paper=_PAPER,
        conditions=(
            Condition("labels", help="organs to be named in the prompts, best by TotalSegmentator's names"),
            Condition("ct", help="segmented by TotalSegmentator where no labels are given"),
            Condition("mr", help="segmented by TotalSegmentator where neither labels nor CT are given"),
            Condition("text", help="words for the whole scan, such as '1/20 dose FDG, adult female'"),
        ),
        options=(
            *_SAMPLING,
            Option("prompts", "str", "", "table of prompts (prompts.csv of an earlier result, edited)", file=True),
            Option("metadata", "bool", True, "without words of yours: say sex, age band, tracer, dose and scanner as "
                   "far as they are known", moves=NOTHING),
            Option("segment", "str", "auto", "organs from CT or MR by TotalSegmentator: auto goes on without where "
                   "that or the text encoder fails, and says so", choices=("auto", "never", "required"), moves=NOTHING),
            Option("pet_organs", "bool", False, "with neither labels nor CT nor MR: name the organs that AMDiff finds "
                   "in the PET alone (some 15 s more; no better image was measured)", moves=NOTHING),
            Option("segment_wait", "float", 300.0, "time without a sign of life after which it is stopped", 1, 86400,
                   unit="s", advanced=True, moves=NOTHING),
            Option("matches", "bool", True, "find the structures that match each slice best, with a heat map",
                   moves=NOTHING),
            Option("order", "str", "own", "which slice gets which prompt; all but own are there to see what text does",
                   choices=("own", "empty", "shuffled", "wrong"), advanced=True),
        ),
        outputs=("denoised", "uncertainty", "prompts"),
        stochastic=True,
        **_LEARNT,
    ),
    MethodCard(
        name="ddpm-2.5d",
        title="DDPM without text",
        summary="Text-guided DDPM's twin in size and data, told nothing; uncertainty map.",
        entry="petdiffusion.methods.text_ddpm.method:ddpm",
        trainer="petdiffusion.methods.text_ddpm.task:Ddpm25dTask",
        family="diffusion",
        paper=f"Compared in {_PAPER}",
        options=_SAMPLING,
        outputs=("denoised", "uncertainty"),
        stochastic=True,
        **_LEARNT,
    ),
    MethodCard(
        name="unet-2.5d",
        title="2.5D U-net",
        summary="Regression of two slices at a time, of the text-guided DDPM's size and data; no uncertainty.",
        entry="petdiffusion.methods.text_ddpm.method:unet",
        trainer="petdiffusion.methods.text_ddpm.task:Unet25dTask",
        family="supervised",
        paper=f"Compared in {_PAPER}",
        options=(_BLEND,),
        **_LEARNT,
    ),
)  # fmt: skip
