"""How much of filters' images belongs to the mean of a CSRD model, by held-out patients.

    python Resources/training/csrd_partners.py --data VALIDATION [--card csrd-body.json] [--unseen ct]

For what a scan may have (nothing or CT) the weights of those filters that bring the mean nearest to the normal-dose
image in the body, each scan counted by its own mean's error. Weights lie on straight lines between a few levels of
noise. For every choice it prints what patients that the weights were not learnt on gain (one left out after another),
and the change of their lesions. With --card they are written into the model's configuration.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petdiffusion.infer.device import prepare_process

prepare_process()

import numpy as np  # noqa: E402
from csrd_stack import held_out, write  # noqa: E402
from petdiffusion import read, registry  # noqa: E402
from petdiffusion.infer.partners import noise_of, toward  # noqa: E402
from petdiffusion.methods.contract import Case  # noqa: E402
from petdiffusion.prepare import case as preparing  # noqa: E402
from petdiffusion.prepare.whiten import whiten  # noqa: E402
from petdiffusion.progress import Run  # noqa: E402
from petdiffusion.zoo import store  # noqa: E402
from scipy.optimize import nnls  # noqa: E402

LEVELS = (0.15, 0.25, 0.38)
"""SD over mean in the body, of some 1/4, 1/10 and 1/20 of the normal dose."""
WITHIN_CT = {"guide": "ct", "fwhm_mm": 12.0, "kept": 0.4, "strength": 2.0, "guide_fwhm_mm": 6.0}
FILTERS = {"none": (("nlm", {}),), "ct": (("nlm", {}), ("anatomy", WITHIN_CT))}
SMALLEST = 8


@dataclass(frozen=True)
class Scan:
    """`mean`, `normal` and, by the filter's name, what leads from the mean toward it; all of them in the body alone."""

    patient: str
    noise: float
    mean: np.ndarray
    normal: np.ndarray
    steps: Mapping[str, np.ndarray]
    lesions: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="csrd-body")
    parser.add_argument("--unseen", nargs="*", default=["ct"], choices=["ct"], help="not shown to the network")
    parser.add_argument("--card", type=Path)
    args = parser.parse_args()
    with bare(store.find(args.model), args.unseen) as model:
        found = list(scans(args.data, model))
    partners = {anatomy: [] for anatomy in FILTERS}
    for anatomy, filters in FILTERS.items():
        names = [name for name, _ in filters]
        judge(anatomy, found, names)
        for (name, options), weights in zip(filters, learnt(found, names)):
            points = [[level, round(float(w), 2)] for level, w in zip(LEVELS, weights)]
            partners[anatomy].append({"filter": name, "points": points, "options": options})
    print(json.dumps(partners))
    if args.card:
        write(args.card, partners=partners, unseen=args.unseen)


@contextmanager
def bare(model: store.Model, unseen: Sequence[str]) -> Iterator[store.Model]:
    """A copy without any partners."""
    with tempfile.TemporaryDirectory() as folder:
        card = model.card.to_json()
        card["config"] = {**card["config"], "partners": {}, "unseen": list(unseen)}
        (Path(folder) / f"{model.card.id}.json").write_text(json.dumps(card), encoding="utf-8")
        shutil.copy(model.weights, Path(folder) / f"{model.card.id}.safetensors")
        yield store.find(str(Path(folder) / f"{model.card.id}.json"))


def scans(data: Path, model: store.Model) -> Iterator[Scan]:
    for row, low, normal in held_out(data):
        case = preparing.build(low, ct=read.image(data / row["ct"], "ct"))
        mean = image(case, "csrd", {"samples": 0}, str(model.weights))
        scale = whiten(low.array, low.geometry.spacing, case.body, model.card.config["base_fwhm_mm"]).scale
        steps = {name: toward(image(case, name, options), mean, scale)[case.body] for name, options in FILTERS["ct"]}
        lesions = read.labels(data / row["lesions"]).array[case.body]
        print(f"{row['id']}: noise {noise_of(case):.3f}", flush=True)
        patient = row["id"].rsplit("-", 1)[0]
        yield Scan(patient, noise_of(case), mean[case.body], normal.array[case.body], steps, lesions)


def image(case: Case, method: str, options: Mapping[str, Any], model: str | None = None) -> np.ndarray:
    card = registry.card(method)
    return card.load()(case, card.resolve(options), Run(seed=1, model=model)).pet.array


def learnt(found: Sequence[Scan], names: Sequence[str]) -> np.ndarray:
    """(filters, levels): least squares over all scans, no weight below 0."""
    count = len(names) * len(LEVELS)
    own, wanted = np.zeros((count, count)), np.zeros(count)
    for scan in found:
        missing = scan.normal.astype(np.float64) - scan.mean
        steps = np.stack([scan.steps[name] for name in names]).astype(np.float64)
        parts = (steps[:, None] * hats(scan.noise)[None, :, None]).reshape(count, -1)
        share = 1 / np.square(missing).sum()
        own, wanted = own + share * parts @ parts.T, wanted + share * parts @ missing
    root = np.linalg.cholesky(own + 1e-9 * np.trace(own) * np.eye(count))
    return nnls(root.T, np.linalg.solve(root, wanted))[0].reshape(len(names), -1)


def hats(noise: float) -> np.ndarray:
    """How much each level counts at this noise."""
    return np.array([np.interp(noise, LEVELS, row) for row in np.eye(len(LEVELS))])


def judge(anatomy: str, found: Sequence[Scan], names: Sequence[str]) -> None:
    """Every patient with the weights of the others."""
    gains, before, after = [], [], []
    for patient in sorted({scan.patient for scan in found}):
        weights = learnt([scan for scan in found if scan.patient != patient], names)
        for scan in (scan for scan in found if scan.patient == patient):
            added = sum(w * scan.steps[name] for w, name in zip(weights @ hats(scan.noise), names))
            gains.append(psnr_gain(scan, scan.mean + added))
            before.append(lesion_bias(scan, scan.mean))
            after.append(lesion_bias(scan, scan.mean + added))
    (mean, peak), (mean_now, peak_now) = np.nanmean(before, axis=0), np.nanmean(after, axis=0)
    print(f"{anatomy}, weights of other patients:")
    print(f"  PSNR {np.mean(gains):+.3f} dB ({min(gains):+.2f} to {max(gains):+.2f})")
    print(f"  lesion SUVmean {mean:.1f} % -> {mean_now:.1f} %, SUVmax {peak:.1f} % -> {peak_now:.1f} %")


def psnr_gain(scan: Scan, better: np.ndarray) -> float:
    errors = [np.square(a.astype(np.float64) - scan.normal).mean() for a in (scan.mean, better)]
    return float(10 * np.log10(errors[0] / errors[1]))


def lesion_bias(scan: Scan, values: np.ndarray) -> tuple[float, float]:
    """Per cent of the normal-dose image: SUVmean and SUVmax, mean over the scan's lesions."""
    masks = [scan.lesions == label for label in np.unique(scan.lesions) if label > 0]
    masks = [mask for mask in masks if mask.sum() >= SMALLEST]
    if not masks:
        return (np.nan, np.nan)
    changes = [[100 * (by(values[m]) / by(scan.normal[m]) - 1) for m in masks] for by in (np.mean, np.max)]
    return tuple(float(np.mean(each)) for each in changes)


if __name__ == "__main__":
    main()
