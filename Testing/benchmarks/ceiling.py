"""What the reference's own noise allows: PSNR of a reconstruction without noise against the normal-dose scan.

    python Testing/benchmarks/ceiling.py [--table brain] [--patients 4]

A benchmark's reference is a scan with noise of its own, which no low-dose scan tells. An image that is right in every
voxel therefore has a finite PSNR: the ceiling. Printed for a table's test patients, beside the low-dose scans' PSNR and
the best that is left between them, in dB. Patients come from the benchmark's cache, or are drawn.
"""

from __future__ import annotations

import argparse

from petdiffusion.infer.device import prepare_process

prepare_process()

import numpy as np  # noqa: E402
from petdiffusion.bench import patients  # noqa: E402
from petdiffusion.bench.papers import paper  # noqa: E402
from petdiffusion.measure.image import psnr, ssim  # noqa: E402
from petdiffusion.phantoms.scan import patient_of, scan  # noqa: E402
from petdiffusion.prepare.mask import body_mask  # noqa: E402
from petdiffusion.progress import Run  # noqa: E402

COUNTS = 1e12
"""Expected counts of the scan without noise: its noise is a few ten-thousandths of the normal dose's."""
FIRST_TEST_SEED = 900_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default="csrd")
    parser.add_argument("--table", default="brain")
    parser.add_argument("--patients", type=int, default=4)
    args = parser.parse_args()
    table = next(t for t in paper(args.bench).tables if t.name == args.table)
    rows = [of_patient(table, FIRST_TEST_SEED + number) for number in range(args.patients)]
    print(f"\nmean over {args.patients} patients")
    for label in rows[0]:
        low, low_ssim, most, most_ssim = np.mean([row[label] for row in rows], axis=0)
        print(f"{label:>12}: low dose {low:.2f} dB, {low_ssim:.3f}; without noise {most:.2f} dB, {most_ssim:.3f}; "
              f"between them {most - low:.2f} dB")  # fmt: skip


def of_patient(table, seed: int) -> dict[str, tuple[float, float, float, float]]:
    job = table.job(seed)
    place, found = patients.ready(job, Run()), {}
    clean = without_noise(job)
    for dose in table.doses:
        known = patients.load(place, dose.fraction)
        body, normal = body_mask(known.low), known.normal.array
        numbers = []
        for image in (known.low.array, clean):
            numbers += [psnr(image, normal, mask=body), ssim(image, normal, mask=body)]
        found[dose.label] = tuple(numbers)
        print(job.name, dose.label, " ".join(f"{n:.3f}" for n in numbers), flush=True)
    return found


def without_noise(job) -> np.ndarray:
    patient = patient_of(job.kind, job.seed, spacing_mm=job.spacing_mm, tracer=job.tracer)
    return scan(patient, fractions=(1.0,), preset=job.preset, seed=job.seed, counts=COUNTS).normal.array


if __name__ == "__main__":
    main()
