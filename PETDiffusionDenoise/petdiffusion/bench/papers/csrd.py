"""CSRD (Yoon et al., MICCAI 2024): its Table 1 on digital DASB brains, whole bodies, and real scans."""

from __future__ import annotations

from ..contract import FILTERS, Bench, Claim, Curve, Dose, Point, Real, Row, Table

CITATION = (
    "Yoon S, Hu R, Wang Y, et al. Volumetric Conditional Score-based Residual Diffusion Model for PET/MR Denoising. "
    "MICCAI 2024."
)
TABLE_1 = {
    "Low-Dose": {"MAE": (0.059, 0.026), "PSNR_dB": (35.07, 4.21), "SSIM": (0.84, 0.070), "H_dist": (4.84, 1.74),
                 "P_dist": (0.27, 0.17)},
    "TV": {"MAE": (0.036, 0.015), "PSNR_dB": (40.04, 4.39), "SSIM": (0.91, 0.048), "H_dist": (22.53, 8.59),
           "P_dist": (0.33, 0.22)},
    "U-net": {"MAE": (0.034, 0.014), "PSNR_dB": (40.08, 4.36), "SSIM": (0.92, 0.042), "H_dist": (4.57, 2.39),
              "P_dist": (0.18, 0.12)},
    "Restormer": {"MAE": (0.036, 0.015), "PSNR_dB": (40.65, 4.68), "SSIM": (0.92, 0.045), "H_dist": (3.59, 1.31),
                  "P_dist": (0.14, 0.06)},
    "CSRD w/o MR": {"MAE": (0.056, 0.014), "PSNR_dB": (40.56, 4.56), "SSIM": (0.91, 0.039), "H_dist": (3.21, 1.68),
                    "P_dist": (0.10, 0.06)},
    "CSRD w MR": {"MAE": (0.033, 0.015), "PSNR_dB": (41.11, 4.97), "SSIM": (0.93, 0.044), "H_dist": (2.78, 1.21),
                  "P_dist": (0.10, 0.06)},
}  # fmt: skip
SMALL = ("dorsal_raphe", "median_raphe", "nucleus_accumbens_left", "nucleus_accumbens_right", "substantia_nigra_left",
         "substantia_nigra_right")  # fmt: skip
MEAN, SAMPLE = {"estimate": "mean", "samples": 0}, {"estimate": "sample", "samples": 1}


def filters(anatomy: str) -> tuple[Row, ...]:
    """Classical filters at their best; those with anatomy get what CSRD gets."""
    name = anatomy.upper()
    return (
        Row("gaussian", "Gaussian, tuned", "gaussian", tuned=True),
        Row("tv", "Total variation, tuned", "tv", tuned=True, paper="TV"),
        Row("nlm", "Non-local means, tuned", "nlm", tuned=True),
        Row("bm4d", "BM4D, tuned", "bm4d", tuned=True, quick=False),
        Row(f"guided-{anatomy}", f"Guided filter with {name}, tuned", "guided", anatomy=(anatomy,), tuned=True),
        Row(f"anatomy-{anatomy}", f"Anatomical filter with {name}, tuned", "anatomy", anatomy=(anatomy,), tuned=True,
            quick=False),
    )  # fmt: skip


def learned(anatomy: str) -> tuple[Row, ...]:
    name = anatomy.upper()
    return (
        Row(f"unet-{anatomy}", f"3D U-net with {name}", "unet-3d", anatomy=(anatomy,), paper="U-net"),
        Row(f"restormer-{anatomy}", f"Restormer with {name}", "restormer", anatomy=(anatomy,), paper="Restormer"),
        Row("csrd-mean", f"CSRD without {name}, mean", "csrd", MEAN),
        Row("csrd-sample", f"CSRD without {name}, one sample", "csrd", SAMPLE, paper="CSRD w/o MR"),
        Row(f"csrd-{anatomy}-mean", f"CSRD with {name}, mean", "csrd", MEAN, (anatomy,)),
        Row(f"csrd-{anatomy}-sample", f"CSRD with {name}, one sample", "csrd", SAMPLE, (anatomy,), paper="CSRD w MR"),
    )


LOW = Row("low", "Low-dose", paper="Low-Dose")


def quality(anatomy: str) -> tuple[Claim, ...]:
    name, champion, alone = anatomy.upper(), f"csrd-{anatomy}-mean", "csrd-mean"
    ordered = tuple(
        claim
        for metric, word in (("PSNR_dB", "PSNR"), ("SSIM", "SSIM"))
        for claim in (
            Claim(f"{word}: CSRD's mean with {name} above that without", metric, champion, (alone,)),
            Claim(f"{word}: CSRD's mean without {name} above every tuned filter", metric, alone, (FILTERS,)),
            Claim(f"{word}: CSRD's mean with {name} not below the U-net's", metric, champion, (f"unet-{anatomy}",)),
        )
    )
    unlike = ("low", FILTERS, f"unet-{anatomy}", alone, champion)
    return (
        *ordered,
        Claim("PSNR: at least 4 dB above the low-dose scan", "PSNR_dB", champion, ("low",), 4.0),
        Claim("PSNR: at least 1.5 dB above every tuned filter", "PSNR_dB", champion, (FILTERS,), 1.5),
        Claim(f"H_dist: one sample with {name} closest in texture", "H_dist", f"csrd-{anatomy}-sample", unlike),
        Claim(f"P_dist: one sample with {name} closest", "P_dist", f"csrd-{anatomy}-sample", unlike),
    )


BRAIN = Table(
    "brain",
    "Digital DASB brains on the HRRT",
    "brain", "DASB", "HRRT", 2.0,
    (Dose("4x", 1 / 4), Dose("6x", 1 / 6), Dose("8x", 1 / 8), Dose("10x, unseen", 1 / 10, seen=False)),
    (LOW, *filters("mr"), *learned("mr")),
    champion="csrd-mr-mean",
    quick_doses=("4x", "10x, unseen"),
    small=SMALL,
    paper=TABLE_1,
    differs=(
        "digital brains, whose truth is known, instead of seven people; 2 mm voxels instead of 1.22 mm",
        "each reduced dose is a scan of its own, so its noise is independent of the reference's; the paper thinned the "
        "reference's own events, which makes both more alike",
        "MAE is in SUV in the body; the paper says neither its unit nor its mask nor the data range of PSNR and SSIM: "
        "only differences between rows compare",
        "the networks are compact ones trained on digital patients; the U-net is 3D with the same conditions as CSRD, "
        "the paper's works on slices",
        "both estimates of CSRD are listed: the mean, best in PSNR, and one sample, best in texture; the paper's 100 "
        "evaluations make one sample",
        "the paper's filters were not tuned on validation data as far as it says; here all are",
        "Restormer learnt from 32 of the U-net's 48 brains, for as many steps",
        "SD here is over scans of patients, the paper's over its seven patients at four doses",
    ),
    claims=(
        *quality("mr"),
        Claim("Lesion SUVmean: bias smaller than the U-net's", "lesion_SUVmean_bias", "csrd-mr-mean", ("unet-mr",)),
        Claim("Lesion SUVmax: one sample's bias smaller than the U-net's", "lesion_SUVmax_bias", "csrd-mr-sample",
              ("unet-mr",)),
        Claim("Small structures: bias smaller than the U-net's", "small_SUVmean_bias", "csrd-mr-mean", ("unet-mr",)),
    ),
)  # fmt: skip

BODY = Table(
    "body",
    "Digital bodies with FDG on the Biograph mCT",
    "body", "FDG", "mCT", 4.0,
    (Dose("1/4", 1 / 4), Dose("1/10", 1 / 10), Dose("1/20", 1 / 20)),
    (LOW, *filters("ct"), *learned("ct"),
     Row("gaussian-equal", "Gaussian, as noisy as CSRD's mean", "gaussian", matched="csrd-ct-mean"),
     Row("gaussian-equal-sample", "Gaussian, as noisy as CSRD's sample", "gaussian", matched="csrd-ct-sample")),
    champion="csrd-ct-mean",
    quick_doses=("1/4", "1/10"),
    differs=("the paper has no whole-body table",),
    claims=(
        *quality("ct"),
        Claim("Lesion SUVmax: CSRD's mean within 10 %", "lesion_SUVmax_bias", "csrd-ct-mean", (), 10.0),
        Claim("Lesion SUVmax: less lost than by the Gaussian of equal noise", "lesion_SUVmax_bias", "csrd-ct-mean",
              ("gaussian-equal",)),
    ),
)  # fmt: skip

_NO_ANATOMY = tuple(row for row in filters("ct") if row.name in ("gaussian", "nlm", "guided-ct"))

REAL = Real(
    "Real FDG scans of soft-tissue sarcoma",
    "DiscoveryST",
    (Dose("1/4", 1 / 4), Dose("1/10", 1 / 10)),
    (LOW, *_NO_ANATOMY, *learned("ct")),
    champion="csrd-ct-mean",
    tuning=(2, 28),
    test=(29, 36),
    differs=(
        "reduced doses are simulated by adding noise to the clinical image, which is noisy itself: every metric has a "
        "floor",
        "the counts of the scans are not known and were estimated from the noise of each image",
        "lesion: the tumour as drawn by experts; scans are cropped to its surroundings",
    ),
    claims=(
        Claim("PSNR: CSRD's mean above the best tuned Gaussian", "PSNR_dB", "csrd-ct-mean", ("gaussian",)),
        Claim("Tumour SUVmean within 5 % (median)", "lesion_SUVmean_bias", "csrd-ct-mean", (), 5.0, "median"),
        Claim("Tumour SUVmax within 10 % (median)", "lesion_SUVmax_bias", "csrd-ct-mean", (), 10.0, "median"),
    ),
)

CURVE = Curve(
    "brain", "8x", "csrd", ("mr",),
    (Point(1, 1, 1), Point(2, 2, 1), Point(4, 2, 2), Point(8, 2, 4), Point(18, 3, 6), Point(36, 4, 9),
     Point(100, 10, 10)),
)  # fmt: skip

BENCH = Bench("csrd", "CSRD residual diffusion", CITATION, (BRAIN, BODY), REAL, CURVE, ("brain",),
              by_name=("body",))  # fmt: skip
