"""uPETe (Jiang et al., MICCAI 2023): its Tables 1 and 2 and Fig. 2 on digital bodies, and what the CT is worth."""

from __future__ import annotations

from dataclasses import replace

from ..contract import Bench, Claim, Dose, Metric, Row, Table

CITATION = (
    "Jiang C, Pan Y, Liu M, et al. PET-Diffusion: Unsupervised PET Enhancement Based on the Latent Diffusion Model. "
    "MICCAI 2023."
)
TABLE_1 = {
    "LDM": {"PSNR_dB": (23.732, 1.264), "SSIM": (0.986, 0.010)},
    "LDM-P": {"PSNR_dB": (24.125, 1.072), "SSIM": (0.987, 0.009)},
    "LDM-CT": {"PSNR_dB": (25.348, 0.822), "SSIM": (0.990, 0.006)},
    "LDM-P-CT": {"PSNR_dB": (25.817, 0.675), "SSIM": (0.992, 0.004)},
}  # fmt: skip
TABLE_2 = {
    "DIP, unsupervised": {"PSNR_dB": (22.538, 2.136), "SSIM": (0.981, 0.015)},
    "Noisier2Noise, unsupervised": {"PSNR_dB": (22.932, 1.983), "SSIM": (0.983, 0.014)},
    "LA-GAN, supervised": {"PSNR_dB": (23.351, 1.725), "SSIM": (0.984, 0.012)},
    "MR-GDD, unsupervised": {"PSNR_dB": (23.628, 1.655), "SSIM": (0.985, 0.011)},
    "Trans-GAN, supervised": {"PSNR_dB": (23.852, 1.522), "SSIM": (0.985, 0.009)},
    "Noise2Void, unsupervised": {"PSNR_dB": (24.263, 1.351), "SSIM": (0.987, 0.009)},
    "DF-GAN, supervised": {"PSNR_dB": (24.821, 0.975), "SSIM": (0.989, 0.007)},
    "AR-GAN, supervised": {"PSNR_dB": (25.217, 0.853), "SSIM": (0.990, 0.006)},
    "uPETe": {"PSNR_dB": (25.817, 0.675), "SSIM": (0.992, 0.004)},
}  # fmt: skip
METRICS = (
    Metric("PSNR_dB", "PSNR, dB", "high", 2),
    Metric("SSIM", "SSIM", "high"),
    Metric("MAE", "MAE", "low"),
    Metric("lesion_SUVmean_bias", "lesion SUVmean, %", "zero", 1, "lesion_SUVmean_error"),
    Metric("lesion_SUVmax_bias", "lesion SUVmax, %", "zero", 1, "lesion_SUVmax_error"),
)
SETTINGS = {
    "PSNR_dB, SSIM": "against the normal-dose image in the body as found in the low-dose PET; data range: its maximum "
                     "there; SSIM 3D, Gaussian 11, sigma 1.5",
    "MAE": "in SUV, in the body",
    "lesion_..._bias": "per cent of the normal-dose image, mean over the patient's lesions of 8 voxels and more",
}  # fmt: skip
JUDGE = "petdiffusion.bench.few_numbers:measured"
MEAN, PLAIN = {"samples": 0}, {"samples": 0, "diffusion": "gaussian"}
LOW = Row("low", "Low-dose")
GAUSSIAN = Row("gaussian", "Gaussian, tuned", "gaussian", tuned=True)
UNET = Row("unet-ct", "3D U-net with CT, supervised", "unet-3d", anatomy=("ct",))
UNET_ALONE = Row("unet", "3D U-net without CT, supervised", "unet-3d")
F4 = Row("f4", "LDM-P-CT, f = 4", "upete", MEAN, ("ct",), model="upete-body-f4")
F4_ALONE = Row("f4-p", "LDM-P, f = 4", "upete", MEAN, model="upete-body-f4")
GANS = (
    Row("la-gan", "LA-GAN with CT, supervised", "la-gan", anatomy=("ct",), paper="LA-GAN, supervised"),
    Row("trans-gan", "Transformer-GAN, supervised", "trans-gan", paper="Trans-GAN, supervised"),
    Row("df-gan", "DF-GAN, supervised", "df-gan", paper="DF-GAN, supervised"),
    Row("ar-gan", "AR-GAN, supervised", "ar-gan", paper="AR-GAN, supervised"),
)
"""Their models are not bundled: `python Resources/training/csrd.py body --only gans` makes them."""
VARIANTS = (
    Row("ldm", "LDM", "upete", PLAIN, paper="LDM"),
    Row("ldm-p", "LDM-P", "upete", MEAN, paper="LDM-P"),
    Row("ldm-ct", "LDM-CT", "upete", PLAIN, ("ct",), paper="LDM-CT"),
    Row("ldm-p-ct", "LDM-P-CT (uPETe)", "upete", MEAN, ("ct",), paper="LDM-P-CT"),
)
ROWS = (LOW, GAUSSIAN, UNET_ALONE, UNET, *VARIANTS)
DIFFERS = (
    "digital bodies with FDG on the mCT, whose truth is known, at 4 mm instead of patients on the uEXPLORER at 2 mm",
    "the paper's PSNR is far below what its SSIM suggests; its range and mask are not said: only differences between "
    "rows compare",
    "one compact network (0.8 MB), trained for under an hour on a shared core and five minutes on a GPU, is all four "
    "rows: it learnt Poisson and Gaussian noise, told which, and was withheld the CT at random. The paper trains four",
    "the image is the mean, found in one evaluation at the scan's own step",
)


def _order(metric: str, word: str) -> tuple[Claim, ...]:
    pairs = (("ldm-p", "ldm"), ("ldm-ct", "ldm-p"), ("ldm-p-ct", "ldm-ct"))
    titles = {row.name: row.title.split(" ")[0] for row in VARIANTS}
    return tuple(Claim(f"{word}: {titles[a]} above {titles[b]}", metric, a, (b,)) for a, b in pairs)


def _table(name: str, title: str, doses: tuple[Dose, ...], rows: tuple[Row, ...], claims: tuple[Claim, ...],
           differs: tuple[str, ...] = DIFFERS, **more) -> Table:  # fmt: skip
    return Table(name, title, "body", "FDG", "mCT", 4.0, doses, rows, "ldm-p-ct", metrics=METRICS, differs=differs,
                 claims=claims, judge=JUDGE, scanned=DOSES, **more)  # fmt: skip


DOSES = tuple(Dose(f"1/{n}", 1 / n) for n in (2, 4, 10, 20, 50))
TENTHS = DOSES[1:4]
ABLATION = _table(
    "table1", "Ablation (Table 1): digital bodies", TENTHS, ROWS,
    (
        *_order("PSNR_dB", "PSNR"),
        *_order("SSIM", "SSIM"),
        Claim("PSNR: at least 2 dB above the low-dose scan", "PSNR_dB", "ldm-p-ct", ("low",), 2.0),
        Claim("PSNR: above the tuned Gaussian", "PSNR_dB", "ldm-p-ct", ("gaussian",)),
        Claim("Lesion SUVmax: within 10 %", "lesion_SUVmax_bias", "ldm-p-ct", (), 10.0),
    ),
    quick_doses=("1/10",), paper=TABLE_1,
)  # fmt: skip
COMPARED = _table(
    "table2", "With other methods (Table 2): digital bodies", TENTHS,
    (LOW, GAUSSIAN, *GANS, UNET_ALONE, UNET, replace(VARIANTS[3], title="uPETe", paper="uPETe")),
    tuple(Claim(f"{word}: unsupervised uPETe above the supervised {title}", metric, "ldm-p-ct", (row,))
          for row, title in (*((gan.name, gan.title.split(",")[0]) for gan in GANS), ("unet-ct", "U-net with CT"))
          for metric, word in (("PSNR_dB", "PSNR"), ("SSIM", "SSIM"))),
    (*DIFFERS, "the paper's supervised methods, all of them GANs, are U-nets of one size here (two where the paper has "
               "two networks), each with what is its own; their models are not bundled, and rows whose model is not on "
               "this machine are left out. The unsupervised ones have a table of their own: they learn on each scan "
               "for minutes"),
    quick_doses=("1/10",), paper=TABLE_2,
)  # fmt: skip
ON_THE_SCAN = (
    Row("noisier2noise", "Noisier2Noise", "noisier2noise", paper="Noisier2Noise, unsupervised"),
    Row("dip", "Deep image prior, of CT", "dip", anatomy=("ct",), paper="DIP, unsupervised"),
    Row("mr-gdd", "Guided deep decoder, led by CT", "mr-gdd", anatomy=("ct",), paper="MR-GDD, unsupervised"),
    Row("noise2void", "Noise2Void", "noise2void", paper="Noise2Void, unsupervised"),
)
OWN = _table(
    "self-taught", "With methods that learn on the scan itself (Table 2, unsupervised): digital bodies", TENTHS[1:2],
    (LOW, GAUSSIAN, *ON_THE_SCAN, replace(VARIANTS[3], title="uPETe", paper="uPETe")),
    tuple(Claim(f"{word}: uPETe above {row.title}", metric, "ldm-p-ct", (row.name,))
          for metric, word in (("PSNR_dB", "PSNR"), ("SSIM", "SSIM")) for row in ON_THE_SCAN),
    (*DIFFERS, "each method's small network learns on each scan anew, as in the papers that it comes from"),
    quick_doses=("1/10",), paper=TABLE_2, patients=8, quick_patients=2,
)  # fmt: skip
CURVE = _table(
    "doses", "Dose (Fig. 2): one model, not trained again", DOSES,
    (LOW, GAUSSIAN, UNET, VARIANTS[1], VARIANTS[3]),
    (Claim("PSNR: above the tuned Gaussian", "PSNR_dB", "ldm-p-ct", ("gaussian",)),
     Claim("PSNR: above the U-net", "PSNR_dB", "ldm-p-ct", ("unet-ct",))),
    quick_doses=("1/2", "1/50"),
)  # fmt: skip

COMPRESSION = _table(
    "compression", "Compression: f = 2 and f = 4", TENTHS, (LOW, VARIANTS[1], VARIANTS[3], F4_ALONE, F4),
    (Claim("PSNR: f = 2 above f = 4", "PSNR_dB", "ldm-p-ct", ("f4",)),
     Claim("Lesion SUVmax: f = 2 nearer than f = 4", "lesion_SUVmax_bias", "ldm-p-ct", ("f4",))),
    quick_doses=("1/10",),
)  # fmt: skip

BENCH = Bench("upete", "uPETe", CITATION, (ABLATION, COMPARED, OWN, CURVE, COMPRESSION), quick=("table1", "table2"),
              settings=SETTINGS, by_name=("self-taught",))  # fmt: skip
