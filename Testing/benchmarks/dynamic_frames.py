"""A digital patient in a dynamic scan, each frame denoised: noise, error, and what becomes of the rate of uptake (Ki).

    python Testing/benchmarks/dynamic_frames.py DIR [--dose 0.1] [--methods csrd,csrd@each,gaussian@each] [--seed N]

All voxels but those of blood follow Patlak's line, Ki x (integral of blood) + V x blood, so that Ki is known of every
voxel; blood falls as after a bolus of FDG. Eight frames, by default 20 to 60 min after the injection, Biograph mCT.
What a user gets is what is measured: `petdiffusion dynamic` denoises the frames and fits Ki (here of the scans). Organs
are held against the truth, lesions against the same frames at the normal dose, whose scanner blurs them as much, and
what is said to be certain against a scan with a hundred times the normal counts: how many voxels of the body lie within
1.96 SDs of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import torch
from petdiffusion.phantoms.patient import Patient
from petdiffusion.phantoms.scan import facts_of, patient_of, preset_of
from petdiffusion.physics import attenuation, dose
from petdiffusion.progress import Run
from petdiffusion.volume import DIGITAL_PATIENT, Geometry, Volume
from petdiffusion.write import frames as frame_files
from petdiffusion.write import images, labels
from scipy.ndimage import binary_erosion

FRAMES = 8
SLICES = 72
HALF_LIFE_MIN = 109.77
V_BLOOD = 0.6
"""At most; of what takes up less than blood, that part of its uptake at 60 min."""
BLOOD = ("aorta", "heart", "pulmonary_vein", "inferior_vena_cava", "superior_vena_cava", "portal_vein_and_splenic_vein",
         "iliac_artery_left", "iliac_artery_right", "iliac_vena_left", "iliac_vena_right")  # fmt: skip
REFERENCE_MIN = 60.0
LONGER = 100.0
"""Than a frame lasts: what is scanned so long has hardly any noise."""


def blood(minutes: np.ndarray | float) -> np.ndarray:
    """Relative to that at 60 min: a bolus that falls in three exponentials, of which the late two matter here."""
    def raw(t: np.ndarray | float) -> np.ndarray:
        parts = ((8.0, 4.0), (2.2, 30.0), (0.9, 150.0))
        return sum(height * np.exp(-np.asarray(t) / life) for height, life in parts)

    return raw(minutes) / raw(REFERENCE_MIN)


def integral(minutes: float) -> float:
    """Of the blood's curve, in minutes."""
    t = np.linspace(0.0, minutes, 4001)
    return float(np.trapezoid(blood(t), t))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dose", type=float, default=0.1)
    parser.add_argument("--methods", default="csrd,csrd@each,gaussian@each",
                        help="led by the mean of all frames, or @each by itself")
    parser.add_argument("--seed", type=int, default=910001)
    parser.add_argument("--start", type=float, default=20.0, help="of the first frame, minutes after the injection")
    parser.add_argument("--seconds", type=float, default=300.0, help="of each frame")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    case = Dynamic(cropped(patient_of("body", args.seed, lesions=12)), args.seed, args.start, args.seconds)
    normal, scan = case.write(args.folder, "normal", 1.0), case.write(args.folder, "scan", args.dose)
    print(f"{FRAMES} x {args.seconds:g} s from {args.start:g} min, {100 * args.dose:g} % dose, seed {args.seed}")
    case.normal = case.patlak(array_of(normal))
    case.sure = array_of(case.write(args.folder, "sure", 1.0, LONGER))
    print(case.row("normal dose", normal))
    print(case.row("scan", scan))
    for method in args.methods.split(","):
        out, (name, _, each) = args.folder / method, method.partition("@")
        command = [sys.executable, "-m", "petdiffusion", "dynamic", str(scan), "--method", name, "--quiet",
                   "--ct", str(args.folder / "ct.nii.gz"), "--labels", str(args.folder / "organs.nii.gz"),
                   "--lesions", str(args.folder / "lesions.nii.gz"), "--patlak", str(args.folder / "blood.csv"),
                   "--patlak-from", "0", "--out", str(out), "--overwrite",
                   *(["--each"] if each else [])]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        print(case.row(method, out / "denoised.nii.gz"), flush=True)
        if (out / "uncertainty.nii.gz").is_file():
            print(case.certainty(method, out), flush=True)


def cropped(patient: Patient) -> Patient:
    """The slices with the liver in their middle: one bed position and a half."""
    liver = np.flatnonzero(patient.organs.mask("liver").any(axis=(1, 2)))
    first = int(np.clip(liver.mean() - SLICES // 2, 0, patient.pet.array.shape[0] - SLICES))
    old = patient.pet.geometry
    origin = tuple(np.asarray(old.affine @ [0, 0, first, 1])[:3])
    geometry = Geometry((*old.size[:2], SLICES), old.spacing, origin, old.direction)

    def part(image: object) -> object:
        return replace(image, array=image.array[first : first + SLICES], geometry=geometry)

    names = ("pet", "ct", "mr", "organs", "lesion_map")
    return replace(patient, **{name: part(getattr(patient, name)) for name in names})


def array_of(file: Path) -> np.ndarray:
    """(frame, z, y, x)."""
    return nibabel.load(file).get_fdata(dtype=np.float32).transpose(3, 2, 1, 0)


class Dynamic:
    """The patient, its Ki and its scan."""

    normal: np.ndarray
    """Ki of the normal dose."""
    sure: np.ndarray
    """Frames as the scanner would show them with hardly any noise."""

    def __init__(self, patient: Patient, seed: int, start: float, seconds: float) -> None:
        self.patient, self.seed, self.start, self.seconds = patient, seed, start, seconds
        late = patient.pet.array
        names = [name for name in BLOOD if name in patient.organs.names.values()]
        self.of_blood = patient.organs.mask(*names) if names else np.zeros(late.shape, bool)
        self.v = V_BLOOD * np.minimum(late / self.level, 1.0)
        self.ki = np.where(self.of_blood, 0.0, (late / self.level - self.v) / integral(REFERENCE_MIN))
        self.inside = binary_erosion(patient.organs.array > 0) & ~self.of_blood
        self.middles = start + (np.arange(FRAMES) + 0.5) * seconds / 60

    @property
    def level(self) -> float:
        """SUV of the blood at 60 min."""
        return float(self.patient.pet.array[self.of_blood].mean()) if self.of_blood.any() else 1.65

    def at(self, minutes: float) -> np.ndarray:
        """SUV decay-corrected to the injection."""
        now = self.level * float(blood(minutes))
        tissue = self.ki * self.level * integral(minutes) + self.v * now
        return np.where(self.of_blood, self.patient.pet.array * float(blood(minutes)), tissue).astype(np.float32)

    def write(self, folder: Path, name: str, fraction: float, longer: float = 1.0) -> Path:
        patient, target = self.patient, folder / f"{name}.nii.gz"
        scanner = preset_of(patient, "mCT")
        facts = replace(facts_of(patient, scanner, self.seed), dose_fraction=fraction, simulated=DIGITAL_PATIENT)
        mu = attenuation.mu_from_hu(torch.tensor(patient.ct.array))
        like = Volume(patient.pet.array, patient.pet.geometry, "SUVbw", facts)

        def images_of() -> object:
            for number, minutes in enumerate(self.middles):
                left = facts.injected_dose_bq * 0.5 ** (minutes / HALF_LIFE_MIN)
                now = replace(facts, suv_factor=1000 * facts.weight_kg / left,
                              frame_seconds=longer * self.seconds)
                made = dose.acquire(torch.tensor(self.at(minutes)), like.geometry.spacing[::-1], mu=mu, preset=scanner,
                                    fractions=(fraction,), nested=False, seed=1000 * self.seed + number, facts=now,
                                    run=Run())  # fmt: skip
                yield made[fraction].numpy()

        minutes = np.linspace(0, 120, 2401)
        curve = "".join(f"{60 * m:.1f},{self.level * float(blood(m)):.5f}\n" for m in minutes)
        (folder / "blood.csv").write_text("time_s,value\n" + curve, encoding="utf-8")
        starts = [60 * self.start + n * self.seconds for n in range(FRAMES)]
        times = {"FrameTimesStart": starts, "FrameDuration": [self.seconds] * FRAMES, "InjectionStart": 0}
        frame_files.write(like, images_of(), FRAMES, target, times)
        images.write(patient.ct, folder / "ct.nii.gz", overwrite=True)
        labels.write(patient.organs, folder / "organs.nii.gz", overwrite=True)
        labels.write(patient.lesion_map, folder / "lesions.nii.gz", overwrite=True)
        return target

    def row(self, name: str, file: Path) -> str:
        """Noise and error of the frames, and Ki of voxels and lesions against the truth."""
        frames = array_of(file)
        truth = np.stack([self.at(minutes) for minutes in self.middles])
        liver = binary_erosion(self.patient.organs.mask("liver"), iterations=3) & (self.patient.lesion_map.array == 0)
        noise = np.mean([frame[liver].std() / frame[liver].mean() for frame in frames])
        body = self.patient.pet.array > 0.1
        rms = np.sqrt(np.mean((frames - truth)[:, body] ** 2))
        ki, true = self.patlak(frames), self.patlak(truth)
        tumours = self.patient.lesion_map.array
        found = [n for n in np.unique(tumours)[1:] if (tumours == n).sum() >= 8]
        pairs = np.array([(ki[tumours == n].mean(), self.normal[tumours == n].mean()) for n in found])
        pairs = pairs.reshape(-1, 2) if found else np.full((1, 2), np.nan)
        off = (pairs[:, 0] - pairs[:, 1]) / pairs[:, 1].mean()  # of the mean, since Ki of faint ones is near zero
        return json.dumps({
            "image": name, "liver_noise_percent": round(100 * float(noise), 1), "rms_SUV": round(float(rms), 3),
            "Ki_rms_error": round(float(np.sqrt(np.mean((ki - true)[self.inside] ** 2))), 5),
            "Ki_liver_SD": round(float(ki[liver].std()), 5), "Ki_liver_bias_percent":
                round(100 * float(ki[liver].mean() / true[liver].mean() - 1), 1),
            "lesions": len(found), "lesion_Ki_bias_percent": round(100 * float(off.mean()), 1),
            "lesion_Ki_abs_error_percent": round(100 * float(np.abs(off).mean()), 1),
        })  # fmt: skip

    def certainty(self, name: str, out: Path) -> str:
        """How often a voxel is as near to the truth as is said of it."""
        frames, sd = array_of(out / "denoised.nii.gz"), array_of(out / "uncertainty.nii.gz")
        body = self.patient.pet.array > 0.1
        z = np.abs(frames - self.sure)[:, body] / np.maximum(sd[:, body], 1e-9)
        return json.dumps({"image": name, "voxels_covered_percent": round(100 * float(np.mean(z < 1.96)), 1),
                           "median_SD": round(float(np.median(sd[:, body])), 4)})  # fmt: skip

    def patlak(self, frames: np.ndarray) -> np.ndarray:
        """Slope of tissue over blood against the integral of blood over blood, by least squares; the true blood."""
        now = self.level * np.array([float(blood(m)) for m in self.middles])
        x = np.array([self.level * integral(m) for m in self.middles]) / now
        y = frames / now[:, None, None, None]
        return np.tensordot(x - x.mean(), y, axes=1) / np.sum((x - x.mean()) ** 2)


if __name__ == "__main__":
    main()
