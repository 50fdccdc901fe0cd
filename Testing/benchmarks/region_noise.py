"""How well a scan tells the noise of its own means: `SUVmean_noise_low` against the same patient scanned again.

    python Testing/benchmarks/region_noise.py [--seed 910003] [--scans 40] [--dose 0.1] [--methods csrd,nlm,gaussian]

A digital patient (72 slices around the liver, Biograph mCT) is scanned `--scans` times with other noise. The SD over
those scans of the mean in each organ and lesion is the truth; what one scan and its denoised image say of it is divided
by that. 1 is right; the truth itself is known to 1 / sqrt(2 scans), some 11 % for 40 scans.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import petdiffusion
import torch
from dynamic_frames import cropped
from petdiffusion.measure.lesions import split_lesions
from petdiffusion.measure.organs import without_lesions
from petdiffusion.phantoms.scan import facts_of, patient_of, preset_of
from petdiffusion.physics import attenuation, dose
from petdiffusion.progress import Run
from petdiffusion.volume import DIGITAL_PATIENT, LabelMap, Volume

JUDGED = 3
"""Scans that are denoised and asked."""
ML = (0.0, 5.0, 50.0, np.inf)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=910003)
    parser.add_argument("--scans", type=int, default=40)
    parser.add_argument("--dose", type=float, default=0.1)
    parser.add_argument("--methods", default="csrd,nlm,gaussian")
    args = parser.parse_args()
    patient = cropped(patient_of("body", args.seed, lesions=12))
    scans = list(repeated(patient, args.seed, args.scans, args.dose))
    lesions = patient.lesion_map
    masks = {"organs": without_lesions(patient.organs, lesions), "lesions": split_lesions(lesions)}
    truth = {kind: np.std([means(scan, mask) for scan in scans], axis=0, ddof=1) for kind, mask in masks.items()}
    for method in args.methods.split(","):
        found = [petdiffusion.denoise(scan, method, labels=patient.organs, lesions=lesions).tables
                 for scan in scans[:JUDGED]]  # fmt: skip
        for kind, mask in masks.items():
            told = np.array([[row["SUVmean_noise_low"] for row in tables[kind]] for tables in found])
            print(json.dumps({"method": method, "of": kind, **summary(told / truth[kind], mask)}), flush=True)


def repeated(patient: object, seed: int, scans: int, fraction: float) -> object:
    scanner = preset_of(patient, "mCT")
    facts = replace(facts_of(patient, scanner, seed), dose_fraction=fraction, simulated=DIGITAL_PATIENT)
    mu = attenuation.mu_from_hu(torch.tensor(patient.ct.array))
    for number in range(scans):
        made = dose.acquire(torch.tensor(patient.pet.array), patient.pet.geometry.spacing[::-1], mu=mu, preset=scanner,
                            fractions=(fraction,), nested=False, seed=1000 * seed + number, facts=facts,
                            run=Run())  # fmt: skip
        yield Volume(made[fraction].numpy(), patient.pet.geometry, "SUVbw", facts)


def means(scan: Volume, mask: LabelMap) -> list[float]:
    """In the order of the tables' rows."""
    return [float(scan.array[mask.array == value].mean()) for value in mask.present()]


def summary(ratio: np.ndarray, mask: LabelMap) -> dict[str, object]:
    ml = np.array([np.count_nonzero(mask.array == value) for value in mask.present()]) * mask.geometry.voxel_ml
    by_size = {f"{low:g} to {high:g} ml": round(float(np.median(ratio[:, (ml >= low) & (ml < high)])), 2)
               for low, high in pairwise(ML) if ((ml >= low) & (ml < high)).any()}  # fmt: skip
    tenth, ninetieth = np.percentile(ratio, [10, 90])
    return {"regions": len(ml), "median": round(float(np.median(ratio)), 2), "10 to 90 %":
            [round(float(tenth), 2), round(float(ninetieth), 2)], **by_size}  # fmt: skip


if __name__ == "__main__":
    main()
