"""One case of a batch, as it runs in this process, in a child process or on a cluster: never raises, returns a row."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import registry
from ..errors import Cancelled, InputError, ModelError, OptionError, PETDiffusionError
from ..progress import Run
from ..request import Request, changed_input, changed_model, read_record
from .manifest import name_of

Row = dict[str, Any]
BAD = ("failed", "refused")
"""Of the statuses: could not be done; not begun, because its folder holds what this request did not make."""
ANEW = "Choose another --out, remove this folder, or replace it (--overwrite)."


def do_case(
    id_: str, request: dict[str, Any], out: str, report: bool = True, overwrite: bool = False, run: Run | None = None
) -> Row:
    """Denoise one case into its folder; a named error becomes a row, a finished case is only read."""
    began, folder = time.perf_counter(), Path(out)
    try:
        row = before(request, folder) if not overwrite else None
        if row is None:
            row = {"status": "done", **_denoise(request, folder, report, overwrite or cut_short(folder), run, id_)}
    except Cancelled:
        raise
    except PETDiffusionError as error:
        row = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    except Exception as error:  # one patient's defect must not end the others' work
        row = {"status": "failed", "error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc(limit=-3)}
    return {"id": id_, "seconds": round(time.perf_counter() - began, 2), **row}


def before(request: dict[str, Any], folder: Path) -> Row | None:
    """What was done before, or why it may not be replaced; None where nothing was."""
    try:
        return finished(Request.from_json(request), folder)
    except PETDiffusionError as error:
        return {"status": "refused", "error": f"{type(error).__name__}: {error}"}


def cut_short(folder: Path) -> bool:
    """A run was killed while it moved its files here: they may be replaced."""
    return any(folder.glob(".petdiffusion-*"))


def _denoise(request: dict[str, Any], folder: Path, report: bool, overwrite: bool, run: Run | None, id_: str) -> Row:
    from ..run import denoise

    run = run or Run()
    run.case = "" if id_ == name_of(Path(request["pet"])) else id_  # a file's name may name the patient
    fields = dict(request)
    pet, method = fields.pop("pet"), fields.pop("method")
    fields.pop("tune")
    result = denoise(pet, method, out=folder, report=report, overwrite=overwrite, run=run, **fields)
    return numbers(result.tables, result.record)


def finished(request: Request, folder: Path) -> Row | None:
    """The row of a case that was done before with the same request; another request in its folder is an error, and so
    is the same one of images, other files or a model that were replaced."""
    if not (folder / "record.json").exists():
        return None
    record = read_record(folder)
    if _as_today(Request.from_json(record["request"])) != request:  # fields that came later have their defaults
        raise OptionError(
            f"Folder {folder.name}",
            "holds the result of another request",
            ANEW,
        )
    if changed := changed_input(record):
        raise InputError(f"Folder {folder.name}", f"{changed[0].lower()}{changed[1:]} has changed since", ANEW)
    if model := changed_model(record):
        raise ModelError(f"Folder {folder.name}", f"model {model} is another one now than the one it was made by", ANEW)
    from ..write import tables

    image = folder / "tables" / "image.csv"
    rows = {"image": tables.read_csv(image)} if image.exists() else {}
    seconds = round(sum(record.get("seconds", {}).values()), 2)
    return {"status": "done before", "seconds": seconds, **numbers(rows, record)}


def _as_today(request: Request) -> Request:
    """With the defaults of options that its method has got since; as it is where it names one that is no more."""
    try:
        return replace(request, options=registry.card(request.method).resolve(request.options))
    except OptionError:
        return request


def numbers(tables: Mapping[str, Any], record: Mapping[str, Any]) -> Row:
    """What the summary shows of a case: the denoised image's row of the image table, and the model, if there is one."""
    rows = [row for row in tables.get("image", []) if row.get("image") == "denoised"]
    made_by = {key: value for key, value in record.get("details", {}).items() if key == "model"}
    said = {"check": " ".join(record.get("check", [])), "warnings": "; ".join(record["warnings"])}
    return {**(rows[0] if rows else {}), **made_by, **said}
