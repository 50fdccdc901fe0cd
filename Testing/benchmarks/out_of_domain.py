"""Are scans noticed that a model was not trained for? Digital test patients as they are, and shifted.

    python Testing/benchmarks/out_of_domain.py [--patients 5] [--model csrd-body csrd-brain]

In the domain: test patients at doses the model was trained for; every warning is a false alarm. Shifted: the same
scans with one thing changed, each an error or a habit that occurs. Files that say nothing: neither dose fraction nor
tracer is given, so what is noticed is noticed from the image; two rows say one of them, and the last shows another
part of the body, on voxels of the size that was trained. Prints the share of scans that are warned about.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace

from petdiffusion.infer.device import prepare_process

prepare_process()

import numpy as np  # noqa: E402
from petdiffusion.bench import patients  # noqa: E402
from petdiffusion.bench.papers import paper  # noqa: E402
from petdiffusion.methods.contract import Case  # noqa: E402
from petdiffusion.prepare import case as preparing  # noqa: E402
from petdiffusion.prepare.grids import resample  # noqa: E402
from petdiffusion.progress import Run  # noqa: E402
from petdiffusion.volume import Facts, Geometry, Volume  # noqa: E402
from petdiffusion.zoo import store  # noqa: E402
from petdiffusion.zoo.choose import misfits  # noqa: E402

FIRST_TEST_SEED = 900_000
TABLE = {"csrd-body": "body", "csrd-brain": "brain"}
OTHER = {"body": "brain", "brain": "body"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=5)
    parser.add_argument("--model", nargs="*", default=list(TABLE))
    args = parser.parse_args()
    for model in args.model:
        measure(model, args.patients)


def measure(model: str, count: int) -> None:
    card, part, warned, scans = store.find(model).card, TABLE[model], defaultdict(list), 0
    for pet in silent_scans(part, count):
        scans += 1
        for name, shift in SHIFTS.items():
            warned[name].append(bool(misfits(card, shifted(pet, shift))))
    usual = float(np.sqrt(card.voxel_mm[0] * card.voxel_mm[1]))
    for pet in silent_scans(OTHER[part], count):
        times = usual / float(np.prod(pet.geometry.spacing) ** (1 / 3))
        warned[f"a {OTHER[part]} instead"].append(bool(misfits(card, shifted(pet, on_voxels(times)))))
    print(f"\n{model}: {scans} scans of {count} test patients, simulated")
    for name, found in warned.items():
        print(f"  {np.mean(found):4.0%}  {name}", flush=True)


def silent_scans(part: str, count: int) -> Iterator[Volume]:
    """Without a word on where they come from."""
    table = next(t for t in paper("csrd").tables if t.name == part)
    for seed in range(FIRST_TEST_SEED, FIRST_TEST_SEED + count):
        place = patients.ready(table.job(seed), Run())
        for dose in table.doses:
            yield replace(patients.load(place, dose.fraction).low, facts=Facts())


def told(**facts: object) -> Callable[[Volume], Volume]:
    return lambda pet: replace(pet, facts=Facts(**facts))


def shifted(pet: Volume, shift: Callable[[Volume], Volume]) -> Case:
    return preparing.build(shift(pet))


def scaled(factor: float) -> Callable[[Volume], Volume]:
    return lambda pet: pet.with_array(pet.array * np.float32(factor))


def on_voxels(times: float) -> Callable[[Volume], Volume]:
    def shift(pet: Volume) -> Volume:
        g = pet.geometry
        size = tuple(max(8, round(n / times)) for n in g.size)
        return resample(pet, Geometry(size, tuple(s * times for s in g.spacing), g.origin))

    return shift


def noisier(times: float) -> Callable[[Volume], Volume]:
    """Noise of an ever lower dose: white noise smoothed as the scan's, growing with the root of the activity."""

    def shift(pet: Volume) -> Volume:
        from petdiffusion.trust.kernels import gaussian

        spacing = pet.geometry.spacing[::-1]
        case = preparing.build(pet)
        noise = gaussian(np.random.default_rng(0).standard_normal(pet.array.shape).astype(np.float32), 6.0, spacing)
        root = np.sqrt(np.maximum(gaussian(pet.array, 8.0, spacing), 0))
        wanted = case.noise * np.sqrt(times**2 - 1) / max(float((noise * root)[case.body].std()), 1e-9)
        return pet.with_array(np.maximum(pet.array + np.float32(wanted) * noise * root, 0))

    return shift


def middle(part: float) -> Callable[[Volume], Volume]:
    """A short field: only the slices around the middle."""

    def shift(pet: Volume) -> Volume:
        keep = max(8, int(len(pet.array) * part))
        start = (len(pet.array) - keep) // 2
        g = pet.geometry
        return replace(pet, array=np.ascontiguousarray(pet.array[start:start + keep]),
                       geometry=replace(g, size=(*g.size[:2], keep)))  # fmt: skip

    return shift


SHIFTS: dict[str, Callable[[Volume], Volume]] = {
    "as it is (false alarms)": lambda pet: pet,
    "kBq/ml taken for SUV (SUV x 5)": scaled(5.0),
    "Bq/ml taken for SUV (SUV x 5000)": scaled(5000.0),
    "weight in pounds (SUV x 2.2)": scaled(2.2),
    "half the activity missing (SUV x 0.5)": scaled(0.5),
    "voxels twice as large": on_voxels(2.0),
    "voxels half as large": on_voxels(0.5),
    "noise x 2": noisier(2.0),
    "noise x 3": noisier(3.0),
    "a fifth of the field": middle(0.2),
    "the file says that the tracer is PSMA": told(tracer="PSMA"),
    "the file says 1/200 of the dose": told(dose_fraction=1 / 200),
}

if __name__ == "__main__":
    main()
