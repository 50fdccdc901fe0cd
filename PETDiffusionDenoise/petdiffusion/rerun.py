"""A recorded job once more: the same voxels, if inputs and model are as they were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import __version__
from .errors import InputError, ModelError
from .progress import Run
from .request import IMAGES, IN_MEMORY, Request, Result, changed_input, changed_model, read_record
from .run import denoise
from .segmenting import ALONE, segment


def rerun(
    record: str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    run: Run | None = None,
    *,
    overwrite: bool = False,
) -> Result:
    """Run a recorded job again, with the very options it used; the same machine and versions give the same voxels."""
    data = record if isinstance(record, Mapping) else read_record(record)
    request = Request.from_json(data["request"])
    if IN_MEMORY in (getattr(request, name) for name in IMAGES):
        raise InputError(
            "This run",
            "was made on an image in memory, which is not recorded",
            "Save the image to a file and run on that.",
        )
    run = run or Run()
    _refuse_changed(data)
    run.others = _others(data)
    if data.get("version") != __version__:
        run.warn(f"The record was made by version {data.get('version')}, this is {__version__}: results may differ.")
    model = request.model or data.get("details", {}).get("model")
    fields = request.to_json() | {"options": dict(data["options"]), "tune": None, "model": model}
    again = segment if is_of_masks(data) else denoise
    return again(fields.pop("pet"), fields.pop("method"), out=out, run=run, overwrite=overwrite, **fields)


def is_of_masks(record: Mapping[str, Any]) -> bool:
    """Whether the run drew masks alone: its PET is the scan as it came, which nobody may take for a denoised one."""
    return bool(record["options"].get(ALONE))


def _refuse_changed(data: Mapping[str, Any]) -> None:
    """The same voxels come out only if the same went in: inputs and model as they were."""
    if changed := changed_input(data, leave_out=("tune",)):
        raise InputError(changed, "has changed since", "Denoise it anew, or put the file back.")
    if model := changed_model(data):
        raise ModelError(f"Model {model}", "is another one than this run used", "Add the model of that run.")


def _others(data: Mapping[str, Any]) -> dict[str, str]:
    """The model that found organs for the method. A run goes on without organs where it is missing: refused here."""
    from .zoo import store

    details = data.get("details", {})
    model = details.get("organ_model")
    if model and store.card_of(model) is None:
        raise ModelError(f"Model {model}", "found the organs of this run and is not installed", "Add that model.")
    return {details["organ_method"]: model} if model else {}
