"""Text-guided DDPM: seconds of a full scan, seams between pairs of slices with and without blending, and whether the
compact text encoder tells which prompt belongs to a slice.

    python Testing/benchmarks/text_ddpm.py [--model ID] [--size 192 288 520] [--device auto] [--only speed,seams]
    python Testing/benchmarks/text_ddpm.py --only retrieval --data DIR

Speed: the mean and one sample on a digital validation patient's scan, stretched to the size of the paper's, 192 x 288 x
520 voxels; CPU seconds too, which say more than seconds where other work goes on beside. Seams: axial steps between
pairs over those within pairs (1: none), in the body, of the mean and of one sample, on that patient at 1/20 dose.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from petdiffusion.infer.device import prepare_process

prepare_process()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from petdiffusion import registry  # noqa: E402
from petdiffusion.methods.contract import Case  # noqa: E402
from petdiffusion.methods.text_ddpm.clip_task import ClipTask, SlicesAndTexts  # noqa: E402
from petdiffusion.methods.text_ddpm.data import _patient as made  # noqa: E402
from petdiffusion.methods.text_ddpm.encoder import encoder  # noqa: E402
from petdiffusion.methods.text_ddpm.seams import pair_seams  # noqa: E402
from petdiffusion.phantoms.scan import patient_of, scan  # noqa: E402
from petdiffusion.prepare import case as preparing  # noqa: E402
from petdiffusion.progress import Run  # noqa: E402
from petdiffusion.training.manifest import Found, groups  # noqa: E402
from petdiffusion.training.settings import TrainSettings  # noqa: E402
from petdiffusion.volume import Geometry, LabelMap  # noqa: E402

SEED = 850_002
MEAN, SAMPLE = {"samples": 0, "estimate": "mean"}, {"samples": 1, "estimate": "sample"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None)
    parser.add_argument("--size", type=int, nargs=3, default=(192, 288, 520), metavar=("Y", "X", "Z"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", default="seams,speed")
    parser.add_argument("--data", metavar="DIR")
    args = parser.parse_args()
    if "retrieval" in args.only:
        if not args.data:
            parser.error("retrieval needs --data: a data set of validation patients")
        found_again(args.data)
    if not {"seams", "speed"} & set(args.only.split(",")):
        return
    case, normal = patient()
    print(f"{torch.get_num_threads()} threads")
    if "seams" in args.only:
        seams(case, normal, args)
    if "speed" in args.only:
        speed(enlarged(case, args.size), args)


def found_again(data: str) -> None:
    """Nobody is trained: validation patients stand where a training's own would. Every second slice is shown."""
    patients = [made(lambda *_: ({}, {}), folder, rows) for folder, rows in groups([data])]
    slices = SlicesAndTexts(Found(data, len(patients), patients), TrainSettings(steps=1, batch=1),
                            ClipTask().settings.vocabulary)  # fmt: skip
    found = ClipTask().score(encoder("pet-clip-compact").look, slices.validation())
    print(f"Retrieval, {len(patients)} patients, {found['candidates']:.0f} prompts each: the right one first in "
          f"{100 * found['top1']:.0f} %, among five in {100 * found['top5']:.0f} %, in the median "
          f"{found['slices_away']:.1f} of the slices shown, {2 * found['slices_away']:.1f} of the scan's, away; "
          f"AUC of single structures {found['structure_auc']:.2f}", flush=True)


def patient() -> tuple[Case, np.ndarray]:
    made = scan(patient_of("body", SEED, spacing_mm=4.0), preset="mCT", fractions=(0.05,), seed=SEED)
    return preparing.build(made.low[0.05], labels=made.patient.organs), made.normal.array


def denoised(case: Case, args: argparse.Namespace, **options: object) -> tuple[np.ndarray, int, float, float]:
    """The image, evaluations, seconds and CPU seconds."""
    card = registry.card("text-ddpm")
    run = Run(device=args.device, model=args.model)
    began, worked = time.perf_counter(), time.process_time()
    output = card.load()(case, card.resolve({"matches": False, "segment": "required", **options}), run)
    return output.pet.array, output.evaluations, time.perf_counter() - began, time.process_time() - worked


def seams(case: Case, normal: np.ndarray, args: argparse.Namespace) -> None:
    print(f"Seams, scan {pair_seams(case.pet.array, case.body):.3f}, normal dose {pair_seams(normal, case.body):.3f}")
    for name, options in (("mean", MEAN), ("sample", SAMPLE)):
        for blend in (False, True):
            image, *_ = denoised(case, args, blend=blend, **options)
            how = "blended" if blend else "pair by pair"
            print(f"  {name}, {how}: {pair_seams(image, case.body):.3f}", flush=True)


def enlarged(case: Case, size: tuple[int, int, int]) -> Case:
    """The same scan, its voxels repeated, on a grid of this size."""
    y, x, z = size
    index = [np.arange(n) * m // n for n, m in zip((z, y, x), case.pet.array.shape)]
    grid = np.ix_(*index)
    geometry = Geometry((x, y, z), (2.0, 2.0, 2.0))
    pet = replace(case.pet, array=case.pet.array[grid], geometry=geometry)
    labels = LabelMap(case.labels.array[grid], geometry, case.labels.names)
    return replace(case, pet=pet, body=case.body[grid], labels=labels)


def speed(case: Case, args: argparse.Namespace) -> None:
    for name, options in (("mean", MEAN), ("one sample", SAMPLE)):
        _, evaluations, seconds, worked = denoised(case, args, **options)
        each = f"{seconds / evaluations:.1f} s ({worked / evaluations:.1f} CPU seconds) each"
        spent = f"{seconds:.0f} s ({worked:.0f} CPU seconds), {evaluations} evaluations"
        print(f"{case.pet.geometry.size} {name}: {spent}, {each}", flush=True)


if __name__ == "__main__":
    main()
