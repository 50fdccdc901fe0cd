"""Organ masks on one real CT: TotalSegmentator's example (90 mm of a trunk, with its labels), its PET simulated.

    python Testing/benchmarks/real_ct.py [--data ../shared/data/totalseg_ct] [--draws 6] [--fraction 0.1] MODEL …

The uptake of each draw is a digital patient's, put into the real organs; what has no label is fat, soft tissue or air
by its HU. The scan is simulated (mCT) on a grid of 4 mm. So anatomy and CT are real and the PET is not. 90 mm are less
than any model was taught on, so both ends go on like a mirror, to 256 mm; Dice is of the middle, against
TotalSegmentator's labels. Muscle is left out, as only three muscles are labelled.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from petdiffusion.infer.device import prepare_process

prepare_process()

import numpy as np  # noqa: E402
from petdiffusion import read, registry  # noqa: E402
from petdiffusion.bench.unified import class_masks  # noqa: E402
from petdiffusion.measure.segmentation import dice  # noqa: E402
from petdiffusion.phantoms.labels import GROUPS  # noqa: E402
from petdiffusion.phantoms.patient import Patient  # noqa: E402
from petdiffusion.phantoms.scan import scan  # noqa: E402
from petdiffusion.phantoms.uptake import Uptake  # noqa: E402
from petdiffusion.prepare import case as preparing  # noqa: E402
from petdiffusion.prepare import grids  # noqa: E402
from petdiffusion.prepare.upright import turned  # noqa: E402
from petdiffusion.progress import Run  # noqa: E402
from petdiffusion.volume import SUVBW, Geometry, LabelMap, Volume  # noqa: E402

ORGANS = ("liver", "lung", "bone", "kidney", "spleen", "aorta")
SPACING_MM, LENGTH, MUSCLE = 4.0, 64, "muscle"
TISSUE = {"vertebrae": "marrow_spine", "ribs": "marrow", "muscle": MUSCLE, "lung": "lung", "vessels": "blood",
          "kidney": "kidney_cortex", "bowel": "colon_wall", "adrenal": "adrenal"}  # fmt: skip
OWN = {"liver": "liver", "spleen": "spleen", "pancreas": "pancreas", "stomach": "stomach_wall", "gallbladder": "bile",
       "spinal_cord": "spinal_cord", "costal_cartilages": "cartilage"}  # fmt: skip
FAT_HU, AIR_HU = -30.0, -300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/totalseg_ct"))
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--fraction", type=float, default=0.1)
    args = parser.parse_args()
    ct = turned(read.image(args.data / "example_ct_sm.nii.gz", "ct"))
    organs = turned(read.labels(args.data / "example_seg.nii.gz"))
    size = tuple(round(n * s / SPACING_MM) for n, s in zip(ct.geometry.size, ct.geometry.spacing))
    geometry = Geometry(size, (SPACING_MM,) * 3, ct.geometry.origin, ct.geometry.direction)
    ct, organs = grids.resample(ct, geometry), grids.resample_labels(organs, geometry)
    ct, organs, middle = longer(ct, organs)
    found: dict[str, list[dict[str, float]]] = {model: [] for model in args.models}
    for seed in range(args.draws):
        patient = person(ct, organs, seed)
        low = scan(patient, fractions=(1.0, args.fraction), preset="mCT", seed=seed).at(args.fraction)
        case, truth = preparing.build(low, ct), class_masks(organs, patient.lesion_map)
        for model in args.models:
            card = registry.card("amdiff")
            output = card.load()(case, card.resolve({"samples": 0}), Run(model=model))
            masks = class_masks(output.organs, output.lesions)
            found[model].append({name: dice(masks[name][middle], truth[name][middle]) for name in ORGANS}
                                | {"marks": len(output.lesions.names)})  # fmt: skip
    print(f"{'Dice':24}" + "".join(f"{name:>9}" for name in (*ORGANS, "marks")) + f"   ({args.draws} draws)")
    for model, rows in found.items():
        print(f"{Path(model).stem:24}" + "".join(f"{np.mean([r[n] for r in rows]):9.3f}" for n in rows[0]))


def longer(ct: Volume, organs: LabelMap) -> tuple[Volume, LabelMap, slice]:
    """Both with mirrors of themselves at either end, and where they were."""
    length = len(ct.array)
    before = (LENGTH - length) // 2
    more = ((before, LENGTH - length - before), (0, 0), (0, 0))
    geometry = Geometry((*ct.geometry.size[:2], LENGTH), ct.geometry.spacing)
    arrays = (np.pad(image.array, more, "symmetric") for image in (ct, organs))
    return (Volume(next(arrays), geometry, ct.unit), LabelMap(next(arrays), geometry, organs.names),
            slice(before, before + length))  # fmt: skip


def person(ct: Volume, organs: LabelMap, seed: int) -> Patient:
    """The uptake of a digital patient in the organs of this one."""
    table = Uptake("FDG", np.random.default_rng(seed))
    suv = np.full(ct.array.shape, table["fat"].suv, np.float32)
    suv[ct.array > FAT_HU] = table[MUSCLE].suv
    suv[ct.array < AIR_HU] = 0.02
    for group, tissue in TISSUE.items():
        suv[organs.mask(*GROUPS[group])] = table[tissue].suv
    for name, tissue in OWN.items():
        suv[organs.mask(name)] = table[tissue].suv
    plain = LabelMap(np.zeros(suv.shape, np.int16), ct.geometry, {})
    pet = Volume(suv, ct.geometry, SUVBW)
    return Patient(seed, "body", pet, ct, pet, organs, plain, ())


if __name__ == "__main__":
    main()
