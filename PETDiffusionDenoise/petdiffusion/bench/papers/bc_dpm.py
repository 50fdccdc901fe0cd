"""BC-DPM (Shen et al., MICCAI 2023): its Table 1 on slices of digital bodies, what each part is worth, real slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..contract import FILTERS, Bench, Claim, Dose, Metric, Row, SliceTable

CITATION = (
    "Shen C, Yang Z, Zhang Y. PET Image Denoising with Score-Based Diffusion Probabilistic Models. MICCAI 2023."
)
LEVELS = (Dose("1M", 0.0, counts=1e6), Dose("0.3M", 0.0, counts=3e5), Dose("0.1M", 0.0, counts=1e5))
TABLE_1 = {
    "Gaussian": ((32.9406, 0.9713), (31.5443, 0.9611), (30.9818, 0.9531)),
    "BM3D": ((32.0151, 0.9564), (31.6693, 0.9527), (28.2746, 0.9117)),
    "N2V-PT": ((34.4333, 0.9767), (33.4353, 0.9695), (31.0254, 0.9545)),
    "CycleWGAN": ((35.1976, 0.9821), (33.6778, 0.9653), (31.6183, 0.9500)),
    "BC-DPM": ((35.6297, 0.9831), (33.9297, 0.9700), (32.1648, 0.9621)),
}
METRICS = (
    Metric("PSNR_dB", "PSNR, dB", "high", 2),
    Metric("SSIM", "SSIM", "high"),
    Metric("sharpness", "sharpness", "high", 2),
    Metric("bias_percent", "total, %", "zero", 1),
)
SPREAD = (*METRICS, Metric("SD_rank", "SD rank", "high", 2), Metric("SD_over_error", "SD / error", "high", 2))
TWO = {"samples": 2}


def levels_of_paper() -> dict[str, dict[str, dict[str, tuple[float, None]]]]:
    return {
        dose.label: {name: {"PSNR_dB": (row[i][0], None), "SSIM": (row[i][1], None)} for name, row in TABLE_1.items()}
        for i, dose in enumerate(LEVELS)
    }


def bc_dpm(name: str, title: str, options: Mapping[str, Any] | None = None, **more: Any) -> Row:
    return Row(name, title, "bc-dpm", options or {}, told=True, **more)


LOW = Row("low", "Low-count")
GAUSSIAN = Row("gaussian", "Gaussian, tuned", "gaussian", tuned=True, paper="Gaussian")
BM3D = Row("bm3d", "BM3D, tuned", "bm3d", tuned=True, paper="BM3D")
VOID = Row("noise2void", "Noise2Void, from nothing", "noise2void")
TRANSFER = Row("n2v-pt", "N2V-PT", "n2v-pt", paper="N2V-PT")
CYCLE = Row("cycle-wgan", "CycleWGAN", "cycle-wgan", paper="CycleWGAN")
"""Its model is not bundled: `python Resources/training/cycle_wgan.py` makes it."""
FIVE = bc_dpm("bc-dpm", "BC-DPM, mean of five", paper="BC-DPM")
ONE = bc_dpm("bc-dpm-one", "BC-DPM, one run", {"estimate": "sample", "samples": 1})
DIFFERS = (
    "digital bodies instead of 70 people: their normal-dose scans on the Biograph mCT (4 mm, with noise of their "
    "own) are what is projected and compared with, as the paper's clinical images are",
    "the paper says neither mask nor data range of PSNR and SSIM: only differences between rows compare",
    "what differs from the paper in the method itself is listed in its README: chains start from the scan, their noise "
    "is four times as high, the conditions are put on at a resolution",
    "N2V-PT has a table of its own (`self-taught`), as it learns on each patient for a while. CycleWGAN's model is not "
    "bundled; its row is left out where the model is not on this machine",
    "filters were not tuned on validation data in the paper as far as it says; here they are, at each count level",
)


def better(champion: str, others: Mapping[str, str]) -> tuple[Claim, ...]:
    return tuple(
        Claim(f"{word}: mean of five above {name}", metric, champion, (other,))
        for metric, word in (("PSNR_dB", "PSNR"), ("SSIM", "SSIM"))
        for name, other in others.items()
    )


def table_1() -> SliceTable:
    return SliceTable(
        "table1", "Slices of digital bodies at three count levels", LEVELS, (LOW, GAUSSIAN, BM3D, CYCLE, ONE, FIVE),
        "bc-dpm", SPREAD, quick_doses=("1M", "0.3M", "0.1M"), levels=levels_of_paper(), differs=DIFFERS,
        claims=(*better("bc-dpm", {"the tuned Gaussian": "gaussian", "BM3D": "bm3d", "CycleWGAN": "cycle-wgan",
                                    "one run": "bc-dpm-one"}),
                Claim("PSNR: mean of five 1 dB above every tuned filter (asked at 1M)", "PSNR_dB", "bc-dpm",
                      (FILTERS,), 1.0)),
    )  # fmt: skip


def self_taught() -> SliceTable:
    return SliceTable(
        "self-taught", "With Noise2Void, which learns on each patient's slices", LEVELS,
        (LOW, GAUSSIAN, VOID, TRANSFER, FIVE),
        "bc-dpm", METRICS, quick_doses=("0.3M",), patients=7, quick_patients=1, levels=levels_of_paper(),
        claims=better("bc-dpm", {"Noise2Void": "noise2void", "N2V-PT": "n2v-pt"}),
    )  # fmt: skip


def sweep(name: str, title: str, rows: tuple[Row, ...], champion: str, claims: tuple[Claim, ...] = (),
          patients: int = 2, quick: int = 1, metrics: tuple[Metric, ...] = METRICS) -> SliceTable:  # fmt: skip
    return SliceTable(name, title, LEVELS, rows, champion, metrics, ("0.3M",), patients, quick, every=4, claims=claims)


CONDITIONS = sweep(
    "conditions", "What each condition is worth (two runs)",
    (LOW,
     bc_dpm("none", "neither condition", {**TWO, "conditions": "none"}),
     bc_dpm("gaussian-alone", "filter condition alone", {**TWO, "conditions": "gaussian"}),
     bc_dpm("sinogram-alone", "noise-insertion condition alone", {**TWO, "conditions": "sinogram"}),
     bc_dpm("both", "both", TWO)),
    "both",
    (Claim("PSNR: both conditions above either alone and neither", "PSNR_dB", "both",
           ("none", "gaussian-alone", "sinogram-alone")),),
)  # fmt: skip
TRANSITIONS = sweep(
    "l", "The last l transitions are steered (two runs)",
    tuple(bc_dpm(f"l-{n}", f"l = {n}", {**TWO, "transitions": n}) for n in (2, 3, 5, 10, 15, 30)), "l-10",
    (Claim("larger l, more blurred: l = 5 sharper than 15", "sharpness", "l-5", ("l-15",)),),
)  # fmt: skip
BALANCE = sweep(
    "lambda", "The balance of both conditions (two runs)",
    tuple(bc_dpm(f"lambda-{v:g}", f"lambda = {v:g}", {**TWO, "balance": v}) for v in (0.0, 0.1, 0.2, 0.5, 1.0)),
    "lambda-0.2",
)  # fmt: skip
START = sweep(
    "start", "Chains from the scan and from pure noise, and fewer evaluations (two runs)",
    (bc_dpm("scan", "from the scan, l evaluations", TWO),
     bc_dpm("noise", "from pure noise as in the paper", {**TWO, "start": "noise"}, quick=False),
     bc_dpm("few", "from the scan, half the evaluations", {**TWO, "steps": 50})),
    "scan",
    (Claim("PSNR: nothing lost by starting from the scan", "PSNR_dB", "scan", ("noise",)),),
    patients=1,
)  # fmt: skip
REAL = SliceTable(
    "real", "Slices of real FDG scans of soft-tissue sarcoma, low counts simulated", LEVELS,
    (LOW, GAUSSIAN, ONE, FIVE), "bc-dpm", SPREAD, patients=8, quick_patients=2, tuning_patients=6, slices=20,
    quick_doses=("1M", "0.3M", "0.1M"), preset="", numbers=(29, 36), tuning_numbers=(2, 28),
    differs=("the clinical image is projected as it is, as in the paper, with the noise it has; scans are cropped to "
             "the tumour's surroundings, so the same counts fall on a smaller body than the paper's",
             "the model saw normal-dose slices of patients 2 to 28; the test patients are others"),
    claims=better("bc-dpm", {"the tuned Gaussian": "gaussian", "one run": "bc-dpm-one"}),
)  # fmt: skip

TABLES = (table_1(), self_taught(), CONDITIONS, TRANSITIONS, BALANCE, START)
BENCH = Bench("bc-dpm", "BC-DPM score-based denoising", CITATION, TABLES, REAL, quick=("table1", "conditions"),
              by_name=("self-taught",))  # fmt: skip
