"""Text-guided DDPM (Yu et al. 2025): its Fig. 5 on digital bodies, and what prompts that are wrong do."""

from __future__ import annotations

from ..contract import Bench, Claim, Dose, Metric, Row, Table

CITATION = (
    "Yu B, Ozdemir S, Wu J, et al. PET Image Denoising via Text-Guided Diffusion: Integrating Anatomical Priors "
    "through Text Prompts. 2025."
)
JUDGE = "petdiffusion.bench.organ_score:measured"
SETTINGS = {
    "PSNR, SSIM": "data range: maximum of the normal-dose image in the body, for the organs too; SSIM 3D, Gaussian 11, "
                  "sigma 1.5; of an organ: over its voxels",
    "steps along z": "RMS of the error's change from slice to slice over that from row to row; seams make it large",
    "prompts": "own: from the digital patient's organ map. Empty, shuffled over the slices, or those of the other end "
               "of the body",
}  # fmt: skip
PLACES = ("whole", "heart", "liver", "lung", "pancreas", "spleen", "vessels")
"""As `organ_score` has them."""
PSNR = tuple(Metric(f"PSNR_dB_{place}", place, "high", 2) for place in PLACES)
SSIM = tuple(Metric(f"SSIM_{place}", place, "high", 4) for place in PLACES)
STEPS = Metric("axial_steps", "steps along z", "low", 2)

MEAN, SAMPLE = {"estimate": "mean", "samples": 0}, {"estimate": "sample", "samples": 1}
TOLD = {"matches": False, "segment": "required"}
"""Of the text-guided rows: nothing beside the image is asked for, and without a text encoder they are left out."""
WORDS = ("labels",)
LOW = Row("low", "Low-dose")
UNET = Row("unet", "2.5D U-net", "unet-2.5d", paper="UNet")
DDPM = Row("ddpm-mean", "DDPM without text, mean", "ddpm-2.5d", MEAN)
DDPM_SAMPLE = Row("ddpm-sample", "DDPM without text, one sample", "ddpm-2.5d", SAMPLE, paper="DDPM")
TEXT = Row("text-mean", "Text-guided DDPM, mean", "text-ddpm", MEAN | TOLD, WORDS)
TEXT_SAMPLE = Row("text-sample", "Text-guided DDPM, one sample", "text-ddpm", SAMPLE | TOLD, WORDS, paper="Proposed")
ROWS = (LOW, Row("gaussian", "Gaussian, tuned", "gaussian", tuned=True, quick=False), UNET, DDPM, DDPM_SAMPLE, TEXT,
        TEXT_SAMPLE)  # fmt: skip
WRONG = (
    *(Row(f"text-{order}", f"Text-guided DDPM, mean, {title}", "text-ddpm", {**MEAN, **TOLD, "order": order}, WORDS)
      for order, title in (("empty", "no prompt for the slice"), ("shuffled", "prompts shuffled over the slices"),
                           ("wrong", "prompts of the other end of the body"))),
    Row("text-slice", "Text-guided DDPM, mean, no words of the scan", "text-ddpm",
        {**MEAN, **TOLD, "metadata": False}, WORDS),
    Row("text-none", "Text-guided DDPM, mean, no text at all", "text-ddpm",
        {**MEAN, **TOLD, "order": "empty", "metadata": False}, WORDS),
)  # fmt: skip
PAPERS_DOSE = Dose("1/20", 1 / 20)
DOSES = (Dose("1/4", 1 / 4), Dose("1/10", 1 / 10), PAPERS_DOSE)
PATIENTS = 8
DIFFERS = (
    "digital bodies with FDG on the Biograph mCT at 4 mm, with their own organ maps, instead of patients on a Quadra "
    "at 1.65 mm with TotalSegmentator's",
    "compact networks on the residual to the filtered scan, on one core; text through a compact CLIP that was trained "
    "on digital patients, not through OpenAI's",
    "the paper shows bars (Fig. 5) without numbers: only the order of its rows can be compared",
)


def _above(word: str, key: str, what: str, others: tuple[str, ...]) -> tuple[Claim, ...]:
    return tuple(Claim(f"{word} of {place}: {what}", f"{key}_{place}", "text-mean", others) for place in PLACES)


def _claims(word: str, key: str) -> tuple[Claim, ...]:
    return (
        *_above(word, key, "text-guided above the DDPM without text, both means", ("ddpm-mean",)),
        Claim(f"{word} of {PLACES[0]}: text-guided, mean, not below the U-net", f"{key}_{PLACES[0]}", "text-mean",
              ("unet",)),
        Claim(f"{word} of {PLACES[0]}: one text-guided sample above one without text", f"{key}_{PLACES[0]}",
              "text-sample", ("ddpm-sample",)),
    )  # fmt: skip


def _table(name: str, title: str, rows: tuple[Row, ...], metrics: tuple[Metric, ...], claims: tuple[Claim, ...],
           doses: tuple[Dose, ...] = DOSES) -> Table:  # fmt: skip
    return Table(name, f"{title}: digital bodies on the mCT", "body", "FDG", "mCT", 4.0, doses, rows, "text-mean",
                 (PAPERS_DOSE.label,), PATIENTS, 2, 3, (), metrics, {}, DIFFERS, claims, judge=JUDGE,
                 scanned=DOSES)  # fmt: skip


TABLES = (
    _table("psnr", "PSNR in dB (Fig. 5)", ROWS, (*PSNR, STEPS), _claims("PSNR", "PSNR_dB")),
    _table("ssim", "SSIM (Fig. 5)", ROWS, SSIM, _claims("SSIM", "SSIM")),
    _table("text", "Does the text matter? PSNR in dB", (TEXT, *WRONG), PSNR,
           tuple(Claim(f"PSNR of the whole: own prompts above '{row.title.split(', ', 2)[2]}'", "PSNR_dB_whole",
                       "text-mean", (row.name,)) for row in WRONG), (PAPERS_DOSE,)),
)  # fmt: skip
BENCH = Bench("text-ddpm", "Text-guided DDPM on digital bodies", CITATION, TABLES, quick=("psnr", "ssim", "text"),
              settings=SETTINGS, also=("text-guided",))  # fmt: skip
