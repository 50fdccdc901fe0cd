"""Led by another image: a noisy frame takes the detail of an image of the same place that has more counts."""

from ..contract import NOTHING, MethodCard, Option

CARDS = (
    MethodCard(
        name="led",
        title="Led by an image of more counts",
        summary="Frames of a dynamic scan: locally a linear function of the denoised mean of all frames.",
        entry="petdiffusion.methods.led.method:denoise",
        options=(
            Option("lead", "str", "", "The image that leads: of the same place, with more counts, denoised; without "
                   "one the scan leads itself, smoothed", file=True),
            Option("fwhm_mm", "float", 9.0, "Width of the neighbourhood in which both go together", 2.0, 40.0,
                   unit="mm", tune=(7.0, 9.0, 11.0, 14.0)),
            Option("samples", "int", 4, "How often noise like the scan's goes the same way, for the SD map; 0 "
                   "leaves it out", 0, 100, moves=NOTHING),
            Option("lead_sd", "str", "", "SD map of the lead, to be counted in", file=True, advanced=True,
                   moves=NOTHING),
            Option("pull", "float", 0.01, "How strongly the slope is drawn to the ratio of both where the lead is even",
                   0.0, 1.0, advanced=True),
        ),
        outputs=("denoised", "uncertainty"),
        activity_tolerance=0.05,
    ),
)  # fmt: skip
