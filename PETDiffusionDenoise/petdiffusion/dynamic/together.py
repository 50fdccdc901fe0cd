"""Denoised frames as one 4D image, with the tables and the report of all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import OutputError
from ..progress import Run, finite
from ..read import files, sidecar, sources
from ..read.dynamic import Time
from ..read.dynamic_times import INJECTED, KIND_KEY, LENGTH, START
from ..request import read_record
from ..suv import to_suv
from ..suv.units import RATE
from ..volume import ARBITRARY, BQML, SUVBW, Volume
from ..write import frames as frame_files
from ..write import images, staging, tables
from ..write.report.orient import upright
from . import curves, page, patlak
from .apart import Laid
from .leading import Ahead

RECORD = "dynamic.json"
OF_ONE_FRAME = ("frame_seconds", "frame_start_minutes", "decay_factor")
OF_THE_MODEL = ("model", "model_version", "model_sha256")
FRAMES_NAMED = 6
Row = dict[str, Any]


def put(laid: Laid, batch: Sequence[Row], out: Path, ahead: Ahead | None, inputs: Sequence[str],
        parametric: patlak.Asked | None, overwrite: bool, run: Run
        ) -> tuple[dict[str, str], dict[str, list[Row]], dict[str, Any]]:  # fmt: skip
    """Writes everything aside and moves it into place, over no input; returns files, tables and the record."""
    records = {row["id"]: read_record(laid.folder / row["id"]) for row in batch}
    made = {"frames": curves.frames(laid, records), "time_activity": curves.activity(laid)}
    line = None if parametric is None else _line(laid, parametric, made["time_activity"])
    made["patlak"] = [] if line is None else patlak.regions(line, laid.names, made["time_activity"])
    record = _record(laid, records, ahead, run)
    if parametric is not None:
        record["patlak"] = parametric.to_json() | {"frames": [laid.names[number] for number in line.frames]}
    pictures: dict[str, dict[str, np.ndarray]] = {}
    old = _earlier(out) if overwrite else []
    with staging.Staging(out, protect=inputs, overwrite=overwrite, last=RECORD, obsolete=old) as folder:
        written = {"denoised": _image(laid, "denoised", folder, run.part(0.0, 0.6), pictures)}
        if all((laid.folder / name / "uncertainty.nii.gz").is_file() for name in records):
            written["uncertainty"] = _image(laid, "uncertainty", folder, run.part(0.6, 0.9), {})
        if line is not None:
            ki = _ki(laid, line, made["time_activity"])
            written["ki"] = images.write(ki, folder / "ki.nii.gz")
            images.write_json({**images.notes_of(ki), "Units": RATE}, sidecar.path_of(written["ki"]))
            pictures[page.KI] = {page.KI: upright(ki.geometry)(ki.array).max(axis=1)[::-1]}
        (folder / "tables").mkdir()
        written |= {f"table_{name}": tables.write_csv(rows, folder / "tables" / f"{name}.csv")
                  for name, rows in made.items() if rows}
        written["report"] = folder / "report.html"
        written["report"].write_text(page.html(laid, made, record, pictures, _checks(records)), encoding="utf-8")
        names = {name: path.relative_to(folder).as_posix() for name, path in written.items()}
        text = json.dumps(finite({**record, "files": names}), indent=2, ensure_ascii=False, allow_nan=False)
        (folder / RECORD).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        run.progress(1.0)
    lie = {name: str(out / relative) for name, relative in names.items()} | {"record": str(out / RECORD)}
    return lie, made, record


def _checks(records: Mapping[str, Any]) -> dict[str, list[str]]:
    """What is to be checked, by frame."""
    return {name: list(record.get("check", [])) for name, record in records.items()}


def _to_check(records: Mapping[str, Any], ahead: Ahead | None) -> list[str]:
    """What the mean that leads is doubted for, and in which frames something is to be looked at."""
    found = [f"Mean of all frames: {text}" for text in ahead.record.get("check", [])] if ahead else []
    named = [str(int(name.rpartition("_")[2])) for name, texts in _checks(records).items() if texts]
    if named:
        shown = ", ".join(named[:FRAMES_NAMED]) + (" …" if len(named) > FRAMES_NAMED else "")
        found.append(f"{len(named)} of {len(records)} frames are to be checked ({shown}): why is in the table of the "
                     "frames and in the report.")
    return found


def _earlier(out: Path) -> list[Path]:
    """What an earlier result has and this one may not."""
    return [file for name in ("uncertainty.nii.gz", "uncertainty.json", "ki.nii.gz", "ki.json",
                                    "tables/time_activity.csv", "tables/patlak.csv")
            if (file := out / name).is_file()]


def _image(laid: Laid, kind: str, folder: Path, run: Run, pictures: dict[str, dict[str, np.ndarray]]) -> Path:
    first = _read(laid, next(name for name in laid.names if name not in laid.empty), kind)
    told = {**_times(laid.times), INJECTED: laid.injection_s, KIND_KEY: laid.kind}
    notes = {key: value for key, value in told.items() if value is not None}
    arrays = _arrays(laid, kind, first, run, pictures)
    return frame_files.write(first, arrays, len(laid.names), folder / f"{kind}.nii.gz", notes)


def _arrays(laid: Laid, kind: str, first: Volume, run: Run, pictures: dict[str, dict[str, np.ndarray]]
            ) -> Iterator[np.ndarray]:  # fmt: skip
    """Each frame's voxels; `pictures` gets what the report shows of it on the way."""
    turn = upright(first.geometry)
    for number, name in enumerate(laid.names):
        if name not in laid.empty:
            volume = _read(laid, name, kind)
            if volume.unit != first.unit:
                raise OutputError(f"Frame {name}", f"is in {volume.unit}, others in {first.unit}",
                                  "Say the unit of all with --unit.")
            if kind == "denoised":
                low = _as_it_is(laid.file(name)).array
                pictures[name] = {"low": turn(low).max(axis=1)[::-1], "denoised": turn(volume.array).max(axis=1)[::-1]}
            yield volume.array
        elif kind == "denoised":
            yield _as_it_is(laid.file(name)).array
        else:
            yield np.zeros(first.array.shape, np.float32)
        run.progress((number + 1) / len(laid.names))


def _read(laid: Laid, name: str, kind: str) -> Volume:
    return _as_it_is(laid.folder / name / f"{kind}.nii.gz")


def _as_it_is(file: Path) -> Volume:
    """Empty frames and even maps of uncertainty would be refused as a PET."""
    image = files.opened(file)
    return sources.of_file(files.of_image(image, file.name), sidecar.of(file), file, "pet", None, None, None)


def _line(laid: Laid, asked: patlak.Asked, rows: Sequence[Row]) -> patlak.Line:
    """In the unit of the curves; a CSV is in that of the PET."""
    one = _read(laid, next(name for name in laid.names if name not in laid.empty), "denoised")
    scale = one.facts.suv_factor if _in_suv(rows) and one.unit == BQML else 1.0
    empty = [number for number, name in enumerate(laid.names) if name in laid.empty]
    return patlak.line_of(asked, laid.times, laid.injected_s, rows, scale, empty)


def _in_suv(rows: Sequence[Row]) -> bool:
    """Without regions there are no curves, and everything is in the PET's unit."""
    return bool(rows) and rows[0]["unit"] == SUVBW


def _ki(laid: Laid, line: patlak.Line, rows: Sequence[Row]) -> Volume:
    """Ki of every voxel in 1/min (ml/min/ml)."""
    sums = patlak.Sums(line)
    for place, number in enumerate(line.frames):
        image = _read(laid, laid.names[number], "denoised")
        image = to_suv(image) if _in_suv(rows) else image
        sums.add(place, image.array)
    return Volume(sums.ki(), image.geometry, ARBITRARY, replace(image.facts, source=None, frame_seconds=None,
                                                                suv_factor=None))  # fmt: skip


def _times(times: Sequence[Time]) -> dict[str, Any]:
    starts, lengths = [time.start_s for time in times], [time.seconds for time in times]
    return {START: None if None in starts else starts, LENGTH: None if None in lengths else lengths}


def _record(laid: Laid, records: Mapping[str, Any], ahead: Ahead | None, run: Run) -> dict[str, Any]:
    """Method and model are those that were asked for, which of frames that are led denoised the mean of all."""
    one = ahead.record if ahead else next(iter(records.values()))
    return {
        "program": "petdiffusion",
        "version": __version__,
        "research_use_only": True,
        "kind": laid.kind,
        "source": {**laid.source},
        "frames": list(laid.names),
        "led_by_the_mean": ahead is not None,
        "check_of_the_mean": list(ahead.record.get("check", [])) if ahead else [],
        "check": _to_check(records, ahead),
        "not_denoised": list(laid.empty),
        "method": one["method"],
        "options": one["options"],
        "model": one.get("details", {}).get("model"),
        "details": {name: value for name, value in one.get("details", {}).items() if name in OF_THE_MODEL},
        "unit": one["input"]["unit"],
        "facts": {name: value for name, value in one["input"]["facts"].items() if name not in OF_ONE_FRAME},
        "warnings": list(run.warnings),
        "seconds": {name: round(value, 3) for name, value in run.seconds.items()},
        "note": "Each frame's own record lies in frames/FRAME; `petdiffusion rerun frames/FRAME` repeats it.",
    }
