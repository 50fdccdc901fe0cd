"""A recorded job once more: the same voxels, if inputs and model are as they were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import __version__, registry
from .errors import InputError, ModelError
from .progress import RAN_OUT, Run
from .request import IMAGES, IN_MEMORY, Request, Result, changed_input, changed_model, read_record, versions
from .run import check_device, denoise
from .segmenting import ALONE, segment

DECIDING = ("system", "numpy", "scipy", "SimpleITK", "torch", "device")
"""Versions and device: from one to the next, sums are rounded in another order."""


def rerun(
    record: str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    run: Run | None = None,
    *,
    overwrite: bool = False,
) -> Result:
    """Run a recorded job again, with the very options it used; the same machine and versions give the same voxels."""
    data = record if isinstance(record, Mapping) else read_record(record)
    request, details = Request.from_json(data["request"]), data.get("details", {})
    if IN_MEMORY in (getattr(request, name) for name in IMAGES):
        raise InputError(
            "This run",
            "was made on an image in memory, which is not recorded",
            "Save the image to a file and run on that.",
        )
    run = run or Run()
    _refuse_changed(data)
    run.others = _others(data)
    _tell_other_machine(data, request, run)
    run.as_before = data.get("plans") or [plan for plan in (details.get("plan"),) if plan]
    model = request.model or details.get("model")
    fields = request.to_json() | {"options": dict(data["options"]), "tune": None, "model": model}
    again = segment if is_of_masks(data) else denoise
    return again(fields.pop("pet"), fields.pop("method"), out=out, run=run, overwrite=overwrite, **fields)


def _tell_other_machine(data: Mapping[str, Any], request: Request, run: Run) -> None:
    """What the voxels depend on beside inputs, model and options, and is not as it was."""
    if data.get("version") != __version__:
        run.warn(f"The record was made by version {data.get('version')}, this is {__version__}: results may differ.")
    card = registry.card(request.method)
    before, now = ({**found, "device": device} for found, device in
                   ((data.get("versions", {}), data.get("device")), (versions(), check_device(card, request.device))))
    names = [name for name in DECIDING if before.get(name) not in (None, now[name])]
    names = names if card.runs_networks else [name for name in names if name != "torch"]
    if found := [f"{name} {before[name]} (here {now[name]})" for name in names]:
        run.warn(f"The recorded run was made with {', '.join(found)}: voxels may differ.")
    if any(text.startswith(RAN_OUT) for text in data.get("warnings", ())):
        run.warn("Memory ran out in the recorded run, which went on in smaller patches: voxels may differ.")


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
