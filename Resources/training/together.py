"""Several trainings side by side on one GPU, on the same digital patients, drawn once by all cores.

    python Resources/training/together.py draw --work DIR --patients 48 [--real SCANS]
    python Resources/training/together.py train --work DIR --steps 3000 [--only amdiff,separate,…]

`draw` scans the patients and keeps them as trainings hold them in memory; trainings map those files, so that many
share one copy. `train` runs one process each, all on the same batches, of what `--only` names: AMDiff (`amdiff`), its
standalone parts (`separate`); `complete` and the four ablations of Table 4, for the comparison alone (see
amdiff_ablations.py); uPETe at both compressions, autoencoder first (`upete`, `upete-f4`); for `--minutes`,
`upete-longer`, which goes on from the bundled upete-body, `upete-wide`, a larger network in its latents, and `masks`
and `masks-ct`, which go on with the bundled amdiff-body's segmenter alone, by the PET and with the CT. Models
appear in DIR/models; `export` makes them of trainings that were stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from amdiff import CHANGES
from amdiff_ablations import ALIKE, VARIANTS
from petdiffusion.methods.amdiff import data as labelled
from petdiffusion.methods.amdiff.task import AmdiffTask, NnmambaTask
from petdiffusion.methods.upete import data as normal
from petdiffusion.methods.upete.config import CONFIGS, LATENT
from petdiffusion.methods.upete.network import AUTOENCODER
from petdiffusion.methods.upete.task import UpeteTask
from petdiffusion.phantoms.recipe import Job, Recipe
from petdiffusion.phantoms.splits import seeds_of
from petdiffusion.phantoms.stream import case_of
from petdiffusion.progress import Run
from petdiffusion.training import loop
from petdiffusion.training.bank import Bank, Patient, Scan
from petdiffusion.training.export import export
from petdiffusion.training.settings import TrainSettings
from petdiffusion.training.streamed import in_memory
from petdiffusion.zoo import store
from safetensors import safe_open
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
PRESETS = ("mCT", "Vision", "mCT", "DiscoveryST", "Quadra", "Discovery")
VALIDATION_PRESETS, VALIDATION_PATIENTS = ("mCT", "Vision", "Quadra"), 6
FRACTIONS = (0.4, 0.2, 0.1, 0.05)
FOR_UPETE = 24
"""So many patients are kept for uPETe too: their noise is one more scan each."""
SPLITS = ("train", "validation")

AMDIFF = {"amdiff": "amdiff-body", "separate": "nnmamba-body"} | {name: f"amdiff-body-{name}" for name in VARIANTS}
MASKS = {"masks": "amdiff-body-organs", "masks-ct": "amdiff-body-ct"}
ORGANS_ALONE = ("segmenter.first", "segmenter.stages", "segmenter.organs")
AMDIFF_SETTINGS = {"batch": 4, "patch": 64, "warmup_steps": 60, "ema_decay": 0.995}
UPETE = {"upete": ("autoencoder", "compact"), "upete-f4": ("f4-autoencoder", "f4")}
UPETE_SETTINGS = (
    {"batch": 8, "patch": 32, "learning_rate": 2e-3, "warmup_steps": 20, "ema_decay": 0.98},
    {"batch": 16, "patch": 32, "learning_rate": 3e-3, "warmup_steps": 50, "ema_decay": 0.995},
)
FIRST = 0.3
"""Share of uPETe's steps that its autoencoder takes."""
MATCH = {"match": 0.9}
LATER: dict[str, dict[str, Any]] = {
    "upete-longer": MATCH,
    "upete-wide": {**MATCH, "network": {**LATENT, "channels": 24, "multipliers": (1, 2, 2)}, "guide_channels": 12},
}
"""uPETe on the bundled model's autoencoder, with these changes; `longer` begins with all of that model."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("draw", "train", "export", "alone"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=48)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--real", type=Path, help="a data set of real scans with simulated doses (real_scans.py)")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--minutes", type=float, default=10.0, help="of upete-longer, -wide, masks and masks-ct")
    parser.add_argument("--only", default=",".join((*AMDIFF, *UPETE)))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--channels-last", action="store_true", help="the layout that convolutions on a GPU like")
    args = parser.parse_args()
    {"draw": draw, "train": train, "export": export_all, "alone": alone}[args.part](args)


def draw(args: argparse.Namespace) -> None:
    """Every patient into files of its own; those that are there already stay."""
    for kind in ("labelled", "normal"):
        for split in SPLITS:
            (args.work / kind / split).mkdir(parents=True, exist_ok=True)
    if args.real:
        _keep_real(args.real, args.work)
    jobs = list(_jobs(args.patients))
    began = time.monotonic()
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        tasks = [pool.submit(_draw_one, args.work, split, number, job) for number, split, job in jobs]
        for count, task in enumerate(tasks, 1):
            print(f"{count}/{len(tasks)} {task.result()} {time.monotonic() - began:.0f} s", flush=True)


def _jobs(patients: int) -> Iterator[tuple[int, str, Job]]:
    """Validation patients first: a training can begin as soon as some others are there."""
    validation = ("validation", VALIDATION_PRESETS, VALIDATION_PATIENTS)
    for split, presets, count in (validation, ("train", PRESETS, patients)):
        recipe = Recipe.of(("body",), ("FDG",), FRACTIONS, presets, None)
        for number, seed in enumerate(seeds_of(split, count)):
            yield number, split, recipe.job(number, seed)


def _one_thread() -> None:
    torch.set_num_threads(1)


def _draw_one(work: Path, split: str, number: int, job: Job) -> str:
    file = f"{split}/{job.name}.safetensors"
    if not (work / "labelled" / file).exists():
        scanned = job.scan(Run(seed=job.seed))
        lesions = scanned.patient.lesion_map.array
        if number < FOR_UPETE:
            scan = normal.scan_of(job.name, scanned.normal, scanned.patient.ct, np.argwhere(lesions > 0), CONFIGS["f4"])
            _write_normal(scan, work / "normal" / file)
        patient = in_memory(case_of(job, scanned), AmdiffTask().derive)
        patient.images["organs"] = torch.from_numpy(labelled.grouped(scanned.patient.organs))
        person = labelled.Labelled(patient, labelled.lesion_voxels(lesions), True)
        _write_labelled(person, work / "labelled" / file)
    return job.name


def _keep_real(manifest: Path, work: Path) -> None:
    bank = AmdiffTask().load([manifest], TrainSettings(steps=1), Run())
    for split, people in zip(SPLITS, (bank.train, bank.valid)):
        for person in people:
            _write_labelled(person, work / "labelled" / split / f"{person.patient.id}.safetensors")


def _write(tensors: dict[str, torch.Tensor], facts: dict[str, Any], file: Path) -> None:
    aside = file.with_suffix(".partial")
    own = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    save_file(own, aside, {"facts": json.dumps(facts)})
    aside.rename(file)


def _read(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    with safe_open(file, "pt") as opened:
        facts = json.loads(opened.metadata()["facts"])
    return load_file(file), facts


def _write_labelled(person: labelled.Labelled, file: Path) -> None:
    """Without MR, which AMDiff does not look at."""
    patient = person.patient
    tensors = {f"image/{name}": image for name, image in patient.images.items() if name != "mr"}
    tensors |= {f"scan/{i}/{name}": image for i, s in enumerate(patient.scans) for name, image in s.images.items()}
    tensors |= {f"lesion/{i}": torch.from_numpy(places) for i, places in enumerate(person.lesions)}
    _write(tensors, {"id": patient.id, "known": person.known, "body": patient.body.tolist(),
                     "numbers": [scan.numbers for scan in patient.scans]}, file)  # fmt: skip


def _read_labelled(file: Path) -> labelled.Labelled:
    tensors, facts = _read(file)
    scans = [Scan({}, numbers) for numbers in facts["numbers"]]
    images, lesions = {}, []
    for name, tensor in tensors.items():
        kind, *rest = name.split("/")
        if kind == "image":
            images[rest[0]] = tensor
        elif kind == "scan":
            scans[int(rest[0])].images[rest[1]] = tensor
        else:
            lesions.append(tensor.numpy())
    places = images["lesions"].nonzero().numpy()
    return labelled.Labelled(Patient(facts["id"], images, np.array(facts["body"]), places, scans), lesions,
                             facts["known"])  # fmt: skip


def _write_normal(scan: normal.NormalScan, file: Path) -> None:
    places = {"places/body": torch.from_numpy(scan.body), "places/lesions": torch.from_numpy(scan.lesions)}
    _write({**scan.images, **places}, {"id": scan.id, "own": scan.own, "voxel_mm": scan.voxel_mm}, file)


def _read_normal(file: Path) -> normal.NormalScan:
    tensors, facts = _read(file)
    body, lesions = (tensors.pop(f"places/{name}").numpy() for name in ("body", "lesions"))
    return normal.NormalScan(facts["id"], tensors, facts["own"], facts["voxel_mm"], body, lesions)


def _files(work: Path, kind: str, split: str) -> list[Path]:
    return sorted((work / kind / split).glob("*.safetensors"))


def alone(args: argparse.Namespace) -> None:
    """A training in this process."""
    torch.set_num_threads(2)
    torch.backends.cudnn.benchmark = True
    run = Run(device=args.device)
    if args.only in AMDIFF:
        return _amdiff(args.only, args.steps, args.work, run, args.channels_last)
    if args.only in MASKS:
        return _masks(args.only, args.minutes, args.work, run, args.channels_last)
    if args.only in LATER:
        return _upete_on(args.only, args.minutes, args.work, run)
    origin, lengths = None, (round(FIRST * args.steps), round((1 - FIRST) * args.steps))
    for config, settings, steps in zip(UPETE[args.only], UPETE_SETTINGS, lengths):
        origin = _upete(config, settings, steps, args.work, origin, run)


class _ChannelsLast:
    """A task whose network lies in memory as a GPU's convolutions like it."""

    def network(self) -> torch.nn.Module:
        return super().network().to(memory_format=torch.channels_last_3d)


def _amdiff(name: str, steps: int, work: Path, run: Run, channels_last: bool) -> None:
    config = f"compact-{name}" if name in VARIANTS[1:] else "compact"
    kind = _laid(NnmambaTask if name == "separate" else AmdiffTask, channels_last)
    task = kind(config, ALIKE if name in VARIANTS else CHANGES)
    settings = TrainSettings(steps=steps, validate_every=max(steps // 4, 1), **AMDIFF_SETTINGS)
    loop.train(task, _labelled(work, task, settings), settings, work / name, run, origin="csrd-body")


def _masks(name: str, minutes: float, work: Path, run: Run, channels_last: bool) -> None:
    task = _laid(AmdiffTask, channels_last)(name)
    settings = TrainSettings(minutes=minutes, **AMDIFF_SETTINGS)
    loop.train(task, _labelled(work, task, settings), settings, work / name, run, origin="amdiff-body")


def _laid(kind: type[AmdiffTask], channels_last: bool) -> type[AmdiffTask]:
    return type(kind.__name__, (_ChannelsLast, kind), {}) if channels_last else kind


def _labelled(work: Path, task: AmdiffTask, settings: TrainSettings) -> labelled.LabelledBank:
    people = [[_read_labelled(file) for file in _files(work, "labelled", split)] for split in SPLITS]
    bank = Bank(*([person.patient for person in part] for part in people), settings, "digital bodies")
    return labelled.LabelledBank(bank, *people, task.settings.lesion_share, task.settings.sees_ct)


def _upete(config: str, settings: dict[str, Any], steps: int, work: Path, origin: str | None, run: Run) -> str:
    settings = TrainSettings(steps=steps, validate_every=max(steps // 4, 1), **settings)
    loop.train(UpeteTask(config), _cubes(work, settings), settings, work / config, run, origin=origin)
    return str(work / config)


class _OnItsAutoencoder(UpeteTask):
    """A network of any size beside the bundled model's autoencoder."""

    def network(self) -> torch.nn.Module:
        network, known = super().network(), load_file(store.find("upete-body").weights)
        network.adopt({name: value.float() for name, value in known.items() if name.startswith(AUTOENCODER)})
        return network


def _upete_on(name: str, minutes: float, work: Path, run: Run) -> None:
    settings = TrainSettings(minutes=minutes, validate_every=500, **UPETE_SETTINGS[1])
    task = _OnItsAutoencoder("compact", LATER[name])
    origin = "upete-body" if name == "upete-longer" else None
    loop.train(task, _cubes(work, settings), settings, work / name, run, origin=origin)


def _cubes(work: Path, settings: TrainSettings) -> normal.NormalCubes:
    people = [[_read_normal(file) for file in _files(work, "normal", split)] for split in SPLITS]
    return normal.NormalCubes(*people, settings, "digital bodies")


def train(args: argparse.Namespace) -> None:
    args.work.mkdir(parents=True, exist_ok=True)
    said = ["--work", str(args.work), "--steps", str(args.steps), "--minutes", str(args.minutes),
            "--device", args.device]  # fmt: skip
    running = {}
    said += ["--channels-last"] if args.channels_last else []
    for name in args.only.split(","):
        with (args.work / f"{name}.log").open("w") as log:
            command = [sys.executable, __file__, "alone", *said, "--only", name]
            running[name] = subprocess.Popen(command, stdout=log, stderr=log)
    failed = [name for name, process in running.items() if process.wait() != 0]
    args.only = ",".join(name for name in running if name not in failed)
    export_all(args)
    if failed:
        raise SystemExit(f"Failed: {', '.join(failed)}; see the logs in {args.work}.")


def export_all(args: argparse.Namespace) -> None:
    """Models of trainings as far as they have come."""
    for name in filter(None, args.only.split(",")):
        print(_exported(name, args.work), flush=True)


def _exported(name: str, work: Path) -> Path:
    parts = ("",)
    if name in MASKS:
        folder, id_, parts = name, MASKS[name], ORGANS_ALONE
        facts = id_
    elif name in LATER:
        folder, id_ = name, "upete-body" if name == "upete-longer" else f"upete-body-{name.removeprefix('upete-')}"
        facts = "upete-body"
    elif name in UPETE:
        folder, id_ = UPETE[name][1], "upete-body" if name == "upete" else "upete-body-f4"
        facts = id_
    else:
        folder, id_ = name, AMDIFF[name]
        facts = "amdiff-ablations" if name in VARIANTS else id_
    said = json.loads((HERE / f"{facts}.json").read_text(encoding="utf-8"))
    return export(work / folder, work / "models", id_, said, parts, overwrite=True)


if __name__ == "__main__":
    main()
