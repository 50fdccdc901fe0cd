"""Learns how wide intervals must be: a method's samples on patients that its training never saw, beside the truth.

Each case leaves a small file of numbers, so that a stopped run goes on; images are not kept.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import read
from ..batch.manifest import BatchCase, read_manifest
from ..errors import InputError
from ..prepare import grids
from ..prepare.mask import body_mask
from ..progress import Run, finite
from ..request import Result, sha256_of, sidecar_sha256_of
from ..volume import LabelMap
from ..wording import counted
from ..write import moving
from ..write.staging import writing
from ..zoo import store
from . import clinical
from .conformal import BY_SCANNER, LEAST, VOXEL, Calibration, fit_family, fit_voxels, pooled
from .held import NOT_HELD
from .samples import Key, Numbers

VOXELS = 4000
"""Drawn from the body of each case; neighbours tell little more."""
MOST_SAID = 8
"""Different notes of the runs that are said, those of most cases first."""


@dataclass(frozen=True)
class Scores:
    """Of one case: truth, centre and SD by family."""

    id: str
    samples: int
    numbers: dict[str, list[tuple[float, float, float]]]
    scanner: str = ""
    """By the manifest's column `preset`."""
    person: str = ""
    """Whose scan it is, by the manifest; without it, nobody else's."""
    warnings: Sequence[str] = ()
    """What its run said."""

    def of(self, families: Sequence[str]) -> list[tuple[float, float, float]]:
        return [row for name in families for row in self.numbers.get(name, ())]

    @property
    def patient(self) -> str:
        return self.person or self.id

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "samples": self.samples, "numbers": self.numbers, "warnings": list(self.warnings)}


def collect(manifests: Sequence[Path], method: str, settings: dict[str, Any], folder: Path, run: Run) -> list[Scores]:
    """The scores of every case that has a reference; those found in the folder are not made again."""
    cases = [case for manifest in manifests for case in _with_reference(manifest)]
    if twice := [one for one, count in Counter(case.id for case in cases).items() if count > 1]:
        raise InputError(f"Case {twice[0]}", "is in two manifests", "Name it in one of them.")
    if learnt := [case for case in cases if case.about.get("split", "").strip().lower() == "train"]:
        are = "is a training patient" if len(learnt) == 1 else "are training patients"
        run.warn(f"{len(learnt)} of {counted(len(cases), 'case')} {are} (column 'split'): of those that the model "
                 "learnt from, intervals come out too narrow. Calibrate on patients that it never saw.")  # fmt: skip
    if len(cases) > 1 and len(whose := {case.patient for case in cases}) == 1:
        run.warn(f"All {len(cases)} cases are of one patient ({whose.pop()}). How far patients differ cannot be told, "
                 "so intervals come out too narrow. Add other patients, or name each in the column 'patient'.")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    found = []
    with run.stage("calibrate", f"Drawing samples for {counted(len(cases), 'case')}"):
        for done, case in enumerate(cases, 1):
            made_by = _maker(case, method, settings)
            scores = _kept(case, made_by, folder) or _made(case, method, settings, made_by, folder, run)
            found.append(replace(scores, scanner=case.about.get("preset", ""), person=case.patient))
            run.progress(done / len(cases))
    said = Counter(text for scores in found for text in scores.warnings)
    for text, count in said.most_common(MOST_SAID):
        run.warn(f"{count} of {counted(len(cases), 'case')}: {text}")
    if len(said) > MOST_SAID:
        run.warn(f"{len(said) - MOST_SAID} more notes of single cases are in {folder.name}/*.json.")
    return found


def _with_reference(manifest: Path) -> list[BatchCase]:
    cases = [case for case in read_manifest(manifest) if "reference" in case.images]
    if not cases:
        raise InputError(f"Manifest {manifest.name}", "has no case with a reference", "Add the column 'reference'.")
    return cases


def _kept(case: BatchCase, made_by: dict[str, Any], folder: Path) -> Scores | None:
    file = folder / f"{case.id}.json"
    if not file.exists():
        return None
    data = json.loads(file.read_text(encoding="utf-8"))
    before = data.pop("made_by")
    if before != made_by:
        why = ("comes from another method, model, image or setting" if "images_sha256" in before else
               "is of an earlier version, which did not note which model and images it was made from")
        raise InputError(f"{file.name} in {folder.name}", why, "Choose another folder.")
    return Scores(**data)


def _maker(case: BatchCase, method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """All that the scores depend on. Ids and paths stay when a model or an image is replaced: what they hold counts."""
    digests = {name: [sha256_of(path), sidecar_sha256_of(path)] for name, path in case.images.items()}
    facts = {"method": method, **settings, **_of_model(method, settings), "row": _own(case), "images": case.images,
             "images_sha256": digests}  # fmt: skip
    return finite(json.loads(json.dumps(facts, default=str)))


def _of_model(method: str, settings: dict[str, Any]) -> dict[str, str]:
    """Its weights, and its configuration: a card can get another one for the same weights."""
    if "model" not in settings:
        return {}
    card = store.find(settings["model"], method).card
    config = hashlib.sha256(json.dumps(card.config, sort_keys=True).encode()).hexdigest()
    return {"model_sha256": card.sha256, "model_config_sha256": config}


def _own(case: BatchCase) -> dict[str, Any]:
    """What the manifest's row says of its PET."""
    words = {k: v for k, v in case.settings.items() if k in ("unit", "text")}
    return words | {k: float(case.settings[k]) for k in ("dose_fraction", "weight_kg") if k in case.settings}


def _made(case: BatchCase, method: str, settings: dict[str, Any], made_by: dict[str, Any], folder: Path,
          run: Run) -> Scores:  # fmt: skip
    from ..run import denoise

    inner = Run(cancelled=run.cancelled)
    images = dict(case.images)
    result = denoise(images.pop("pet"), method, report=False, run=inner, **images, **_own(case), **settings)
    if "lesions" not in images:
        result = replace(result, lesions=None)  # what the method marked itself is no truth
    scores = scores_of(result, case.id, _organs(images.get("labels"), result))
    scores = replace(scores, warnings=[text for text in result.warnings if NOT_HELD not in text])
    text = json.dumps({**scores.to_json(), "made_by": made_by}, allow_nan=False)
    with writing(folder / f"{case.id}.json"):
        aside = folder / f".{case.id}.partial"
        aside.write_text(text, encoding="utf-8")
        moving.replace(aside, folder / f"{case.id}.json")
    return scores


def _organs(labels: str | None, result: Result) -> LabelMap | None:
    """The true organs: those of the result may be what the method itself found."""
    if labels is None:
        return None
    return grids.resample_labels(read.labels(labels), result.low.geometry)


def scores_of(result: Result, id_: str, organs: LabelMap | None) -> Scores:
    """From a run with samples and a reference, and the true organs."""
    rows, samples = result.tables.get("intervals", []), result.record["uncertainty"].get("samples", 0)
    if result.reference is None or samples < 2 or result.sd is None:
        raise InputError(f"Case {id_}", "has no reference or no samples", "Give a reference, and two samples or more.")
    truth = Numbers(result.reference.geometry, organs, result.lesions)(result.reference.array)
    keys = {key: key for key in truth}
    numbers: dict[str, list[tuple[float, float, float]]] = {}
    for row in rows:
        key = keys.get(Key(row["kind"], row["number"], row["name"], row["metric"].removeprefix("SUV")))
        if key is not None:
            numbers.setdefault(key.family, []).append((truth[key], row["expected"], row["sd"]))
    numbers |= clinical.scores(result.tables.get(clinical.TABLE, ()), result.reference, organs, result.lesions)
    numbers[VOXEL] = _voxels(result)
    return Scores(id_, samples, numbers)


def _voxels(result: Result) -> list[tuple[float, float, float]]:
    """(truth, output, SD of the samples) of some voxels of the body, in the unit of the reference."""
    factor = result.record["uncertainty"].get("sd_factor") or 1.0
    unit = 1.0
    if result.pet.unit != result.reference.unit:
        unit = float(result.low.facts.suv_factor)
    body = np.flatnonzero(body_mask(result.low))
    chosen = np.random.default_rng(0).choice(body, min(VOXELS, body.size), replace=False)
    columns = result.reference.array, result.pet.array * unit, result.sd.array * (unit / factor)
    values = np.stack([column.ravel()[chosen] for column in columns], axis=1)
    return [tuple(float(f"{v:.6g}") for v in row) for row in values if row[2] > 0]


def fit(scores: Sequence[Scores], data: str) -> Calibration:
    """From the scores of all cases; each number counts alike."""
    samples = {s.samples for s in scores}
    if len(samples) != 1:
        raise InputError(f"Scores from {sorted(samples)} samples", "cannot be put together", "Use one number.")
    count, families = samples.pop(), {}
    for name, own in families_of(scores).items():
        t, c, sd = (np.array(v) for v in zip(*(row for s in scores for row in s.of(own))))
        whose = [s.patient for s in scores for _ in s.of(own)]
        where = [s.scanner for s in scores for _ in s.of(own)] if name in BY_SCANNER else None
        if t.size >= (LEAST if pooled(name) != name else 2):
            families[name] = (fit_voxels(t - c, sd, count) if name == VOXEL
                              else fit_family(t, c, sd, count, patients=whose, scanners=where))  # fmt: skip
    return Calibration(count, len({s.patient for s in scores}), data, families=families)


def families_of(scores: Sequence[Scores]) -> dict[str, list[str]]:
    """By name what each is made of: itself, or the sizes that it pools."""
    found: dict[str, set[str]] = {}
    for name in {n for s in scores for n, rows in s.numbers.items() if rows}:
        found.setdefault(name, set()).add(name)
        found.setdefault(pooled(name), set()).add(name)
    return {name: sorted(found[name]) for name in sorted(found)}
