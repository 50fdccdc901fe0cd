"""AMDiff (Xia et al.): its Tables 2, 3 and 4 and Fig. 7 on digital bodies of three scanners, what a CT adds, and real
scans."""

from __future__ import annotations

from dataclasses import replace

from ..contract import Bench, Claim, Dose, Metric, Real, Row, Table

CITATION = (
    "Xia M, Ko K-Y, Wang D-S, et al. Anatomically and metabolically informed diffusion for unified denoising and "
    "segmentation in low-count PET imaging."
)
SETTINGS = {
    "NRMSE": "RMSE / (max - min of the normal-dose image), within the body; of a class within the class and over its "
             "own range (NRMSE_image_... in the JSON: over the body's)",
    "Dice": "against the labels of the digital patient; not counted where both are empty",
    "HD95_mm, ASSD_mm": "in the CSV, of lesions, liver, kidneys, spleen and aorta: of the distances between both "
                        "masks' surfaces the larger 95th percentile, and the mean; none where either mask is empty",
    "lesions": "found: any voxel of the lesion is marked. False positives: marked regions that touch no lesion. Made "
               "up: those of them that stand out by less than one SD of their surroundings in the low-count scan",
    "MTV, TLG, SUVmean": "by the method's masks on its image, against the true masks on the normal-dose image. "
                         "The paper's R2, all scanners together: MTV 0.81, TLG 0.88, SUVmean of liver and aorta 0.98",
    "PSNR_dB": "against the normal-dose image in the body; data range: its maximum there",
    "lesion_..._bias": "per cent of the normal-dose image, mean over the patient's lesions of 8 voxels and more",
}  # fmt: skip
CLASSES = ("lesion", "liver", "lung", "bone", "muscle", "kidney", "spleen", "aorta")
JUDGE = "petdiffusion.bench.unified:measured"
NRMSE = tuple(Metric(f"NRMSE_{name}", name, "low") for name in ("whole", *CLASSES))
DICE = tuple(Metric(f"Dice_{name}", name, "high") for name in CLASSES)
FOUND = (
    Metric("sensitivity", "found", "high", 2),
    Metric("sensitivity_small", "found, < 1 ml", "high", 2),
    Metric("sensitivity_middle", "1 to 5 ml", "high", 2),
    Metric("sensitivity_large", "> 5 ml", "high", 2),
    Metric("false", "false positives", "low", 2),
    Metric("false_small", "of them < 1 ml", "low", 2),
    Metric("false_without_lesions", "in patients without lesions", "low", 2),
    Metric("made_up", "made up", "low", 2),
)
FEW = (Metric("PSNR_dB", "PSNR, dB", "high", 2),
       *(Metric(f"lesion_{s}_bias", f"lesion {s}, %", "zero", 1, f"lesion_{s}_error") for s in ("SUVmean", "SUVmax")))
DOSES = (Dose("5 %", 0.05), Dose("10 %", 0.1), Dose("20 %", 0.2), Dose("40 %", 0.4))
TWO_DOSES = (DOSES[0], DOSES[2])
PATIENTS = 3
"""Of each scanner: nine in all, a whole run within an hour on two cores."""


def _paper(names: tuple[str, ...], lines: dict[str, str]) -> dict[str, dict[str, tuple[float, float]]]:
    """`mean/SD` words in the order of the columns, in thousandths."""
    def pair(word: str) -> tuple[float, float]:
        mean, sd = word.split("/")
        return int(mean) / 1000, int(sd) / 1000

    return {row: dict(zip(names, map(pair, text.split()), strict=True)) for row, text in lines.items()}


_N, _D = tuple(m.key for m in NRMSE), tuple(m.key for m in DICE)
TABLE_2 = {
    "mCT": _paper(_N, {
        "LeqMod-GAN": "156/144 151/106 125/059 156/067 160/085 169/081 169/109 132/064 134/062",
        "SpachTransformer": "149/160 160/134 086/031 123/044 132/079 142/070 155/112 102/049 111/047",
        "3D Med-DDPM": "153/123 232/306 105/040 159/061 132/149 147/107 152/073 119/058 132/050",
        "AMDiff": "146/116 150/172 080/041 115/053 129/131 148/106 148/121 109/056 101/049"}),
    "Vision": _paper(_N, {
        "LeqMod-GAN": "193/056 134/055 103/012 102/021 136/046 123/034 156/047 091/028 122/011",
        "SpachTransformer": "192/056 136/052 080/012 093/022 139/048 117/035 145/050 072/027 100/013",
        "3D Med-DDPM": "189/060 201/084 086/010 138/027 142/046 120/034 175/061 088/028 110/018",
        "AMDiff": "183/058 132/052 080/011 090/023 133/046 116/033 147/053 075/028 097/014"}),
    "uEXPLORER": _paper(_N, {
        "LeqMod-GAN": "155/065 265/096 169/040 217/048 202/033 208/050 180/033 161/041 203/047",
        "SpachTransformer": "134/033 287/125 139/035 184/041 176/041 181/047 175/044 141/041 188/050",
        "3D Med-DDPM": "133/024 266/144 134/015 239/049 182/023 180/032 207/025 139/024 195/021",
        "AMDiff": "130/026 250/123 126/016 188/026 172/025 177/027 182/026 125/024 180/022"}),
}  # fmt: skip
TABLE_3 = {
    "mCT": _paper(_D, {"SwinUNETR": "509/461 854/057 893/038 584/057 764/046 553/160 573/232 719/090",
                       "Med-SAM": "531/336 865/049 903/037 628/059 773/044 591/155 570/230 630/109",
                       "nnMamba": "526/330 850/061 905/029 618/066 774/047 554/164 575/226 738/078",
                       "AMDiff": "573/251 862/055 912/033 651/063 780/047 596/166 606/270 757/079"}),
    "Vision": _paper(_D, {"SwinUNETR": "449/463 709/049 768/148 519/066 742/041 742/098 492/160 422/132",
                          "Med-SAM": "440/323 715/056 815/101 554/075 764/044 726/121 500/131 450/158",
                          "nnMamba": "438/231 690/062 810/093 549/064 742/042 719/145 506/081 434/134",
                          "AMDiff": "466/290 752/069 819/103 596/090 747/034 772/086 673/166 610/133"}),
    "uEXPLORER": _paper(_D, {"SwinUNETR": "386/363 894/016 847/080 483/063 728/037 748/054 787/050 439/135",
                             "Med-SAM": "368/318 899/021 859/062 563/066 732/043 731/079 825/046 603/127",
                             "nnMamba": "338/336 888/112 839/095 520/108 693/047 759/067 781/074 591/089",
                             "AMDiff": "396/362 901/034 879/049 633/062 746/045 815/040 794/129 758/071"}),
}  # fmt: skip
TABLE_4 = _paper(_N + _D, {
    "AMDiff": "147/097 185/149 091/039 130/056 139/109 152/089 156/101 110/050 119/054 "
              "520/216 860/066 894/056 641/047 768/048 666/167 658/253 742/133",
    "w/o revision": "163/099 217/171 093/040 137/058 155/120 167/097 174/113 113/054 123/055 "
                    "409/214 837/062 881/053 591/066 752/046 631/173 626/243 702/132",
    "w/o organ regulariser": "156/105 186/172 107/038 134/070 156/112 166/098 163/118 114/057 128/052 "
                             "519/225 855/074 882/061 632/064 763/045 652/169 652/251 731/130",
    "w/o lesion regulariser": "147/103 274/176 095/037 130/058 137/116 153/109 158/109 111/053 116/051 "
                              "474/218 860/067 892/058 640/075 766/048 662/176 655/248 740/128",
    "w/o ResMamba": "149/115 189/161 098/034 130/058 143/127 158/100 161/109 112/050 121/043 "
                    "476/206 849/069 884/057 611/074 761/045 646/172 638/247 701/129",
})  # fmt: skip

MEAN = {"samples": 0}
LOW = Row("low", "Low-count")
AMDIFF = Row("amdiff", "AMDiff", "amdiff", MEAN, model="amdiff-body", paper="AMDiff")
"""Its segmenter learnt beside nnMamba's and for as long. A user is given ORGANS, or WITH_CT: same image and lesions."""
WITH_CT = Row("amdiff-ct", "AMDiff with CT", "amdiff", MEAN, ("ct",), model="amdiff-body-ct")
ORGANS = Row("amdiff-organs", "AMDiff, organs by a segmenter of their own", "amdiff", MEAN, model="amdiff-body-organs")
COMPLETE = Row("complete", "AMDiff, trained alike", "amdiff", MEAN, model="amdiff-body-complete", paper="AMDiff")
LEQMOD = Row("leqmod", "LeqMod-GAN", "leqmod-gan", model="leqmod-body", paper="LeqMod-GAN")
SPACH = Row("spach", "Spach Transformer", "spach-transformer", paper="SpachTransformer")
"""Its model is not bundled: `python Resources/training/csrd.py body --only spach-1` makes it."""
DENOISER = Row("med-ddpm", "Med-DDPM, 3D", "med-ddpm-3d", MEAN, paper="3D Med-DDPM")
SEGMENTER = Row("nnmamba", "nnMamba", "nnmamba", MEAN, paper="nnMamba")
ABLATED = tuple(
    Row(name, f"without {what}", "amdiff", MEAN, model=f"amdiff-body-{name}", paper=paper)
    for name, what, paper in (
        ("no-revision", "revision", "w/o revision"),
        ("no-organ-regulariser", "organ regulariser", "w/o organ regulariser"),
        ("no-lesion-regulariser", "lesion regulariser", "w/o lesion regulariser"),
        ("no-resmamba", "ResMamba", "w/o ResMamba"),
    )
)
DIFFERS = (
    "digital bodies with FDG, whose labels are the truth, at 4 mm, instead of patients at 1.65 to 2.9 mm",
    "NRMSE of a class is over the class's own range; the paper says 'the range of observed data'",
    "the networks are compact ones (7 MB), PET alone, trained on 48 digital patients for six minutes on one H100, then "
    "with 24 real scans for half an hour on one core",
    "SpachTransformer, SwinUNETR and Med-SAM stand with the paper's numbers alone; Med-DDPM and nnMamba are one "
    "model's halves",
    "LeqMod-GAN is a small network (0.4 MB), trained on 24 digital patients and 24 real scans on one core",
    "the image is the mean of the diffusion, found in one evaluation of two views",
    "both segmenters draw small lesions by their contrast and leave out marks whose uptake goes on beyond them",
)
_LESION_NRMSE = tuple(
    Claim(f"Lesion NRMSE: AMDiff below {row.title}", "NRMSE_lesion", "amdiff", (row.name,))
    for row in (DENOISER, LEQMOD)
)
_DICES = tuple(
    Claim(f"{name} Dice: AMDiff above nnMamba", f"Dice_{name}", "amdiff", ("nnmamba",)) for name in ("lesion", "liver")
)


def _table(kind: str, preset: str, first: int, metrics: tuple[Metric, ...], rows: tuple[Row, ...], title: str,
           paper: dict, claims: tuple[Claim, ...] = (), doses: tuple[Dose, ...] = DOSES) -> Table:  # fmt: skip
    quick = tuple(dose.label for dose in TWO_DOSES)
    return Table(f"{kind}-{preset.lower()}", f"{title}: digital bodies on the {preset}", "body", "FDG", preset, 4.0,
                 doses, rows, "amdiff", quick, PATIENTS, 2, 1, (), metrics, paper, DIFFERS, claims, first=first,
                 judge=JUDGE, scanned=DOSES)  # fmt: skip


BY_ORGANS = tuple(
    Claim(f"{name} Dice: above the common segmenter's", f"Dice_{name}", ORGANS.name, (AMDIFF.name,))
    for name in ("liver", "lung", "kidney", "aorta")
)
BY_CT = tuple(
    Claim(f"{name} Dice: with CT above PET alone", f"Dice_{name}", WITH_CT.name, (AMDIFF.name, ORGANS.name))
    for name in ("lung", "bone", "muscle", "aorta")
)
"""Image and lesions are those of PET alone, with a CT and without."""
SCANNERS = (("mCT", 0), ("Vision", 100), ("uEXPLORER", 200))
"""With the first test patient of each; no model was trained on uEXPLORER."""
TABLES = tuple(
    table
    for preset, first in SCANNERS
    for table in (
        _table("table2", preset, first, NRMSE, (LOW, LEQMOD, SPACH, DENOISER, AMDIFF), "NRMSE (Table 2)",
               TABLE_2[preset], _LESION_NRMSE),
        _table("table3", preset, first, DICE, (SEGMENTER, AMDIFF), "Dice (Table 3)", TABLE_3[preset], _DICES),
        _table("lesions", preset, first, FOUND, (SEGMENTER, AMDIFF), "Lesions found and made up", {}),
        _table("organs", preset, first, DICE, (AMDIFF, ORGANS), "Organs by a segmenter of their own", {}, BY_ORGANS,
               TWO_DOSES),
        _table("ct", preset, first, DICE, (AMDIFF, ORGANS, WITH_CT), "What a CT adds", {}, BY_CT, TWO_DOSES),
    )
)  # fmt: skip
_WORTH = tuple(
    Claim(f"{text}: AMDiff better than without {what}", metric, COMPLETE.name, (name,))
    for name, what, metric, text in (
        ("no-revision", "revision", "NRMSE_lesion", "Lesion NRMSE"),
        ("no-revision", "revision", "Dice_lesion", "Lesion Dice"),
        ("no-organ-regulariser", "organ regulariser", "NRMSE_liver", "Liver NRMSE"),
        ("no-lesion-regulariser", "lesion regulariser", "NRMSE_lesion", "Lesion NRMSE"),
        ("no-resmamba", "ResMamba", "Dice_lesion", "Lesion Dice"),
        ("no-resmamba", "ResMamba", "Dice_aorta", "Aorta Dice"),
    )
)
_BUNDLED = replace(AMDIFF, title="AMDiff as bundled, trained longer", paper="")
ABLATION = replace(
    _table("table4", "mCT", 0, NRMSE + DICE, (COMPLETE, *ABLATED, _BUNDLED), "Ablations (Table 4)", TABLE_4, _WORTH),
    champion=COMPLETE.name,
    differs=(*DIFFERS, "five short trainings, all alike, by Resources/training/amdiff_ablations.py"),
)

_WITHOUT = Row("gan", "the same network against its critic alone", "leqmod-gan", model="leqmod-body-without")
LEQMOD_ALONE = Table(
    "leqmod", "LeqMod-GAN by its own measures: digital bodies on the mCT", "body", "FDG", "mCT", 4.0, DOSES,
    (LOW, _WITHOUT, replace(LEQMOD, paper=""), Row("unet", "3D U-net without CT", "unet-3d"), DENOISER, AMDIFF),
    LEQMOD.name, tuple(dose.label for dose in TWO_DOSES), metrics=FEW,
    differs=(*DIFFERS, "the GAN without LeqMod is trained by Resources/training/csrd.py, and not bundled"),
    claims=(
        Claim("Lesion SUVmax: nearer than without LeqMod", "lesion_SUVmax_bias", LEQMOD.name, (_WITHOUT.name,)),
        Claim("Lesion SUVmean: nearer than without LeqMod", "lesion_SUVmean_bias", LEQMOD.name, (_WITHOUT.name,)),
        Claim("PSNR: above that without LeqMod", "PSNR_dB", LEQMOD.name, (_WITHOUT.name,)),
    ),
    judge="petdiffusion.bench.few_numbers:measured", scanned=DOSES,
)  # fmt: skip

REAL = Real(
    "Real FDG scans of soft-tissue sarcoma",
    "DiscoveryST",
    (Dose("1/4", 1 / 4), Dose("1/10", 1 / 10)),
    (LOW, LEQMOD, SPACH, DENOISER, SEGMENTER, AMDIFF),
    champion="amdiff",
    tuning=(2, 28),
    test=(29, 36),
    metrics=(Metric("NRMSE_whole", "NRMSE", "low"), Metric("NRMSE_lesion", "NRMSE, tumour", "low"),
             Metric("Dice_lesion", "Dice, tumour", "high"), Metric("false", "other regions", "low", 1)),
    differs=(
        "reduced doses are simulated by adding noise to the clinical image; lesion: the tumour as drawn by experts",
        "scans are cropped to 5 cm around the tumour; only the tumour was drawn, so other regions that are marked are "
        "not all wrong",
    ),
    judge=JUDGE,
)  # fmt: skip

BENCH = Bench("amdiff", "AMDiff", CITATION, (*TABLES, ABLATION, LEQMOD_ALONE), REAL,
              quick=("table2-mct", "table3-mct", "lesions-mct"), settings=SETTINGS,
              by_name=(LEQMOD_ALONE.name,))  # fmt: skip
