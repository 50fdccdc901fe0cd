"""The frames as 3D files, and the manifest by which a batch denoises them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import InputError, OutputError
from ..progress import Run
from ..read.dynamic import Frames, Time, facts_of_mean, shares
from ..volume import Geometry, Volume
from ..write import images as image_files
from ..write import moving

NOTES, MANIFEST, MEAN = "frames.json", "manifest.csv", "mean"
LEAST_PART = 1e-3
"""Of the activity of the fullest frame: one with less has nothing to denoise."""


@dataclass(frozen=True)
class Laid:
    """Frames on the disk: `names` of all, in order, and of them those that are to be denoised."""

    folder: Path
    kind: str
    names: tuple[str, ...]
    times: tuple[Time, ...]
    empty: tuple[str, ...]
    geometry: Geometry
    source: Mapping[str, Any]
    injection_s: float | None = None
    injected_s: float = 0.0
    """What is taken for it where nobody says when it was."""

    @property
    def mean(self) -> Path:
        """Of all frames, weighted by how long each lasted."""
        return self.file(MEAN)

    @property
    def manifest(self) -> Path:
        return self.folder / MANIFEST

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.nii.gz"


def lay(found: Frames, numbers: Sequence[int], folder: Path, source: Mapping[str, Any], overwrite: bool, run: Run
        ) -> Laid:  # fmt: skip
    """Each frame a NIfTI with the facts of its own; of frames that were laid before from the same source nothing is
    written again."""
    names = tuple(f"frame_{number + 1:03d}" for number in numbers)
    about = {**source, "version": __version__, "kind": found.kind, "names": list(names)}
    earlier = _notes(folder)
    if earlier.get("about") == about and _all_there(earlier, folder):
        activity, geometry = earlier["activity"], Geometry(**earlier["geometry"])
    else:
        _refuse(folder, names, earlier, about, overwrite)
        folder.mkdir(parents=True, exist_ok=True)
        _remove(folder, [name for name in earlier.get("about", {}).get("names", []) if name not in names])
        _put(folder / NOTES, {"about": about})  # from now on what lies here is this run's
        activity, geometry = _write(found, numbers, names, folder, run)
        _put(folder / NOTES, {"about": about, "activity": activity, "geometry": geometry.to_json()})
    empty = tuple(name for name, mean in zip(names, activity) if mean < LEAST_PART * max(activity))
    if len(empty) == len(names):
        raise InputError("The frames", "hold no activity above zero", "Check that they are those of a PET.")
    times = tuple(found.times[number] for number in numbers)
    return Laid(folder, found.kind, names, times, empty, geometry, source, found.injection_s, found.injected_s)


def _write(found: Frames, numbers: Sequence[int], names: Sequence[str], folder: Path, run: Run
           ) -> tuple[list[float], Geometry]:  # fmt: skip
    activity, geometry, total, told = [], None, np.float32(0), []
    weights, seconds = shares([found.times[number] for number in numbers])
    for place, (number, name) in enumerate(zip(numbers, names)):
        volume = found.frame(number)
        _check(volume, name)
        geometry = geometry or volume.geometry
        activity.append(float(volume.array.mean(dtype=np.float64)))
        total = total + volume.array * np.float32(weights[place])
        told.append(volume.facts)
        # what part of a normal dose a frame's counts are, no file says
        image_files.write(volume.with_facts(source=None, dose_fraction=None), folder / f"{name}.nii.gz", overwrite=True)
        run.progress((place + 1) / len(names))
    mean = replace(volume.with_array(total), facts=facts_of_mean(told, weights, seconds))
    image_files.write(mean.with_facts(source=None, dose_fraction=None), folder / f"{MEAN}.nii.gz", overwrite=True)
    return activity, geometry


def _check(volume: Volume, name: str) -> None:
    if not np.isfinite(volume.array).all():
        raise InputError(f"{name.replace('_', ' ').capitalize()}", "holds voxels that are NaN or infinite",
                         "Set them to zero if they lie outside the field of view, or export the image again.")


def _notes(folder: Path) -> dict[str, Any]:
    """What a run before wrote of the frames that it laid there; empty where none did."""
    try:
        notes = json.loads((folder / NOTES).read_text(encoding="utf-8"))
        return notes if isinstance(notes, dict) else {}
    except (OSError, ValueError):
        return {}


def are_ours(folder: Path) -> bool:
    """Did a run of this program lay frames there?"""
    return "about" in _notes(folder)


def _remove(folder: Path, names: Sequence[str]) -> None:
    """Frames of the run before that are none of this one's, with their results."""
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
        for ending in (".nii.gz", ".json"):
            (folder / f"{name}{ending}").unlink(missing_ok=True)


def _all_there(notes: Mapping[str, Any], folder: Path) -> bool:
    names = [*notes["about"]["names"], MEAN]
    return "activity" in notes and all((folder / f"{name}.nii.gz").is_file() for name in names)


def _refuse(folder: Path, names: Sequence[str], earlier: Mapping[str, Any], about: Mapping[str, Any], overwrite: bool
            ) -> None:  # fmt: skip
    """Frames of another PET, and files of which no run before wrote, are not replaced unasked."""
    if overwrite or earlier.get("about") == about:
        return
    if earlier:
        raise InputError(f"Folder {folder.parent.name}",
                         "holds the frames of another PET, or others of this one, or those of another version",
                         "Choose another folder, or replace them (--overwrite).")
    there = [name for name in [*names, MEAN] if (folder / f"{name}.nii.gz").exists()]
    if there:
        raise OutputError(f"{folder / there[0]}.nii.gz", "exists already",
                          "Choose another folder, or overwrite it (--overwrite).")


def write_manifest(laid: Laid, images: Mapping[str, str]) -> None:
    aside = laid.folder / f".{MANIFEST}.partial"
    with aside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["id", "pet", *images])
        for name in laid.names:
            if name not in laid.empty:
                writer.writerow([name, laid.file(name).name, *images.values()])
    moving.replace(aside, laid.manifest)


def _put(file: Path, notes: Mapping[str, Any]) -> None:
    aside = file.with_name(f".{file.name}.partial")
    aside.write_text(json.dumps(notes), encoding="utf-8")
    moving.replace(aside, file)
