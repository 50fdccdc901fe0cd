"""What scripts call: one PET node, or a manifest of many patients."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
from petdiffusion import registry
from petdiffusion.errors import Cancelled, ConditionError, InputError, OptionError

from . import backend, jobs, results, scene, tables, validity
from .process import BackendProcess, Failure

POLL_MS = 100
MANIFEST = "manifest.csv"
_VOLUME, _MASK = ("scalar volume", (scene.SCALAR,)), ("segmentation or label map", (scene.SEGMENTATION, scene.LABELS))
KINDS = {"pet": _VOLUME, "ct": _VOLUME, "mr": _VOLUME, "reference": _VOLUME, "labels": _MASK, "lesions": _MASK,
         "region": ("region of interest", ("vtkMRMLMarkupsROINode",))}
FILES = KINDS.keys() - {"region"}
BY_CASE = ("pet", "ct", "mr", "labels", "lesions", "reference", "dose_fraction", "weight_kg", "text")
"""Columns of a manifest: they differ from patient to patient."""
Say = Callable[[str], None]


def denoise(pet: Any, method: str | None = None, wait: bool = True, python: backend.Backend | None = None,
            **given: Any) -> results.ResultNodes | jobs.DenoiseJob:
    """See `PETDiffusionDenoiseLogic.denoise`."""
    request = jobs.request_of(pet, method or registry.DEFAULT_METHOD, **given)
    _refuse(request)
    job = jobs.DenoiseJob(request, python)
    job.start()
    if not wait:
        _run_with_the_application(job)
        return job
    try:
        outcome = job.wait(slicer.app.processEvents)
    except BaseException:
        job.kill()
        raise
    if outcome is None:
        raise Cancelled()
    if isinstance(outcome, Failure):
        raise jobs.as_error(outcome)
    return outcome


def _refuse(request: jobs.JobRequest) -> None:
    """What can be seen to be wrong before anything is written: no node, a node of another kind, an image missing."""
    for role, (words, kinds) in KINDS.items():
        node = getattr(request.sources, role)
        if node is None and role != "pet":
            continue
        if not any(hasattr(node, "IsA") and node.IsA(kind) for kind in kinds):
            raise InputError(f"No {role.upper() if role == 'pet' else role}", f"a {words} node is needed",
                             "Give slicer.util.getNode('name').")
        if not slicer.mrmlScene.IsNodePresent(node):
            raise InputError(f"{role} = '{node.GetName()}'", "is not in the scene", "Load it again.")
    for kind, words in validity.NAMES.items():
        if request.card.requires(kind) and getattr(request.sources, kind) is None:
            raise ConditionError(f"Method '{request.method}'", f"needs {words}", f"Give {kind}=a node.")


def _run_with_the_application(job: jobs.DenoiseJob) -> None:
    """Poll from a timer that lives as long as the job."""
    timer = qt.QTimer()
    timer.setInterval(POLL_MS)
    timer.timeout.connect(job.poll)
    job.ended.connect(lambda outcome: timer.stop())
    job.timer = timer
    timer.start()


def denoise_batch(manifest: str | Path | Sequence[Mapping[str, Any]], out: str | Path, method: str | None = None,
                  python: backend.Backend | None = None, say: Say = print, show: bool = True,
                  **given: Any) -> list[dict[str, Any]]:
    """See `PETDiffusionDenoiseLogic.denoiseBatch`. `say` gets a line for every stage; `show` adds the table node."""
    folder = Path(out).expanduser().absolute()
    settings = _setting_words(method or registry.DEFAULT_METHOD, given)  # refused before anything is written
    file = _manifest(manifest, folder)
    chosen = python or backend.chosen()
    process = BackendProcess(chosen.command(["batch", str(file), "--out", str(folder), "--json-lines", *settings]),
                             chosen.environment(), on_event=lambda event: _tell(event, say), on_log=say)
    process.start()
    try:
        ending = process.wait(slicer.app.processEvents)
    except BaseException:
        process.kill()
        raise
    if ending.cancelled:
        raise Cancelled(remedy="Call it again to go on where it was.")
    if ending.failure is not None:
        raise jobs.as_error(ending.failure)
    rows = list((ending.result.get("tables") or {}).get("summary") or ())
    if show and rows:
        tables.add_table(rows, f"Batch {folder.name}")
    return rows


def _manifest(given: str | Path | Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """The manifest's file; rows are written to one in the output folder, with absolute paths."""
    if isinstance(given, (str, Path)):
        return Path(given).expanduser().absolute()
    for value in (value for row in given for value in row.values()):
        if hasattr(value, "IsA"):
            raise InputError(f"The manifest's '{value.GetName()}'", "is a node, and a batch reads files",
                             "Give the path of a file or DICOM folder, or call denoise for each node.")
    rows = [{key: _cell(key, str(value).strip()) for key, value in row.items() if value is not None} for row in given]
    if not rows:
        raise InputError("The manifest", "has no rows", "Give at least one row with 'pet'.")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / MANIFEST
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return file


def _cell(column: str, text: str) -> str:
    """A path is meant from the script's working directory, and the manifest is read from its own folder."""
    return str(Path(text).expanduser().absolute()) if column in FILES and text else text


def _setting_words(method: str, given: Mapping[str, Any]) -> list[str]:
    rest, words = dict(given), ["--method", method]
    if wrong := next((name for name in BY_CASE if rest.get(name) is not None), ""):
        raise OptionError(f"{wrong} for a whole batch", "differs from patient to patient",
                          f"Give it in the manifest, in a column '{wrong}'.")
    for flag in ("model", "seed", "device", "unit", "format", "engine", "address", "workers"):
        value = rest.pop(flag, None)
        if value is not None:
            words.append(f"--{flag}={value}")
    for flag in ("overwrite", "no_report"):
        if rest.pop(flag, False):
            words.append(f"--{flag.replace('_', '-')}")
    options = {**(rest.pop("options", None) or {}), **rest}
    registry.card(method).resolve(options)
    return words + backend.option_words(options)


def _tell(event: Mapping[str, Any], say: Say) -> None:
    if event["event"] in ("stage", "warning"):
        say(str(event.get("text", "")))
