"""The map: read -> units -> prepare -> method -> restore -> measure -> write. One readable function per step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, registry
from .errors import InputError, ModelError, OptionError
from .given import Given, placed, read_all, registered, to_working_unit
from .methods.contract import Case, MethodCard, Output
from .progress import Run
from .request import (
    IMAGES,
    IN_MEMORY,
    RECORD_VERSION,
    Request,
    Result,
    check_device_word,
    parted,
    sha256_of,
    sidecar_sha256_of,
    versions,
)
from .volume import Volume


def denoise(
    pet: Any,
    method: str | None = None,
    *,
    ct: Any = None,
    mr: Any = None,
    labels: Any = None,
    lesions: Any = None,
    reference: Any = None,
    tune: Any = None,
    out: str | Path | None = None,
    run: Run | None = None,
    report: bool = True,
    overwrite: bool = False,
    **settings: Any,
) -> Result:
    """Denoise a PET and measure it. The one function behind Python, the command line and the panel.

    Images are paths (file or DICOM folder), SimpleITK or nibabel images, or Volumes. `settings` are the fields of
    `Request` (unit, text, dose_fraction, weight_kg, register, model, seed, device, format, options); anything else is
    taken as an option of the method. With `out` the results are written there, with tables, a report and a run record.
    """
    images = {
        "pet": pet,
        "ct": ct,
        "mr": mr,
        "labels": labels,
        "lesions": lesions,
        "reference": reference,
        "tune": tune,
    }
    from .write.lock import alone_in

    request = _request(method or registry.DEFAULT_METHOD, images, settings)
    card = registry.card(request.method)
    options = card.resolve(request.options)
    run = run or Run()
    run.seed, run.device, run.model = request.seed, request.device, request.model
    if request.device != "auto":
        check_device(card, request.device)

    with run.stage("read", "Reading the images"):
        given = read_all(images, request, run)
    if out is None:
        return _computed(given, request, card, options, run)[0]
    _refuse_early(given, request, Path(out), overwrite)
    with alone_in(Path(out)):
        result, case = _computed(given, request, card, options, run)
        return _write(result, given, case, card, Path(out), report, overwrite, run)


def _computed(
    given: Given, request: Request, card: MethodCard, options: Mapping[str, Any], run: Run
) -> tuple[Result, Case]:
    """From the images as they were read to all that is written of them."""
    from .prepare.upright import upright
    from .trust import believe

    with run.stage("units", "Checking units"):
        low = to_working_unit(given.pet, card, run)
    with run.stage("prepare", "Preparing the scan"):
        given = registered(low, given, run) if request.register else given
        case = _prepare(low, given, request, run)
        given = placed(given, case, run)
    if given.tune is not None:
        with run.stage("tune", "Finding the best settings on the validation pair"):
            options, tuning = _tune(card, case, given, request.options, run)
    else:
        tuning = []
    run.plans.clear()
    with run.stage("denoise", f"Denoising: {card.title}"), believe.watched(case, given.lesions, run) as drawn:
        output = _checked(upright(card.load())(case, options, run), case, card)
    with run.stage("measure", "Measuring"):
        tables = _measure(case, output, given, run) | ({"tuning": tuning} if tuning else {})
    with run.stage("trust", "Checking the result against the scan's noise"):
        doubts = believe.checked(case, output, given.lesions, given.seen)
        output, certainty = believe.certain(output, drawn, card, options, run)
        tables |= output.tables | doubts.tables() | certainty.tables() | believe.with_noise(tables, doubts)
        tables |= believe.quality_table(case, output, given.reference, tables, given.seen)
    result = _restore(case, output, given, tables, run, "" if options.get("masks_only") else card.title)
    record = _record(request, card, options, case, output, result, run)
    return replace(result, record=record | {"trust": doubts.summary, "uncertainty": certainty.facts}), case


def _request(method: str, images: Mapping[str, Any], settings: Mapping[str, Any]) -> Request:
    fields, options = parted(settings)
    paths = {name: _name_of(source) for name, source in images.items()}
    return Request(method=method, options=options, **paths, **fields).absolute()


def check_device(card: MethodCard, wanted: str) -> str:
    """The device that does the work; a missing one is refused. Filters run on the CPU, and torch is not loaded."""
    check_device_word(wanted)
    if not card.runs_networks or wanted == "cpu":
        return "cpu"
    from .infer.device import pick_device

    return pick_device(wanted)


def _name_of(source: Any) -> str | None:
    if source is None:
        return None
    if isinstance(source, (str, os.PathLike)):
        if not os.fspath(source).strip():
            raise InputError("An image's path", "is empty", "Give a file or a folder, or leave the image out.")
        return os.fspath(source)
    return IN_MEMORY


def _prepare(low: Volume, given: Given, request: Request, run: Run) -> Case:
    from .prepare import case

    return case.build(
        low,
        given.ct,
        given.mr,
        given.labels,
        request.text,
        given.pet.facts.dose_fraction,
        run,
    )


def _tune(
    card: MethodCard, case: Case, given: Given, options: Mapping[str, Any], run: Run
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from . import tune

    if not any(option.tune for option in card.options):
        raise OptionError(f"Method '{card.name}'", "has no option to tune", "Leave --tune out.")
    return tune.tune(card, case, given.tune, run, options, given.tune_seen)


def _checked(output: Output, case: Case, card: MethodCard) -> Output:
    """No method may hand back another grid, another unit or values that are not numbers."""
    for volume in (output.pet, output.sd, *output.maps.values()):
        if volume is None:
            continue
        own_unit = any(volume is image for image in output.maps.values())
        if volume.geometry != case.pet.geometry or (volume.unit != case.pet.unit and not own_unit):
            raise ModelError(
                f"Method '{card.name}'",
                "gave an image on another grid or in another unit",
                "Please report this with the run record.",
            )
        if not np.isfinite(volume.array).all():
            raise ModelError(
                f"Method '{card.name}'",
                "gave values that are not numbers",
                "Try another device or full precision, and please report it.",
            )
    return output


def _measure(case: Case, output: Output, given: Given, run: Run) -> dict[str, list[dict[str, Any]]]:
    from . import measure

    images = {"low": case.pet, "denoised": output.pet, "reference": given.reference}
    volumes = {name: image for name, image in images.items() if image is not None}
    masks = case.labels or output.organs, given.lesions or output.lesions
    own = {"drawn": case.labels is None, "marked": given.lesions is None}
    return {**measure.tables(volumes, case.body, *masks, run=run, seen=given.seen, **own), **output.tables}


def _restore(case: Case, output: Output, given: Given, tables: Mapping[str, Any], run: Run, by: str) -> Result:
    """Back from the working unit to the one the PET came in; images say by which method they are denoised."""
    factor = _back_factor(given.pet, case.pet)

    def back(volume: Volume | None, said: str) -> Volume | None:
        if volume is None:
            return None
        if factor is not None:
            volume = replace(given.pet, array=volume.array * np.float32(factor))
        return volume.with_facts(denoised=said) if by else volume

    return Result(
        pet=back(output.pet, by),
        low=given.pet,
        sd=back(output.sd, f"SD map of {by}"),
        organs=output.organs or case.labels,
        lesions=given.lesions or output.lesions,
        marked=output.lesions if given.lesions else None,
        reference=given.reference,
        tables=tables,
        maps=output.maps,
        warnings=tuple(run.warnings),
    )


def _back_factor(original: Volume, working: Volume) -> float | None:
    if original.unit == working.unit:
        return None
    return 1.0 / float(working.facts.suv_factor)


def _path_of(request: Request, name: str) -> str | None:
    value = getattr(request, name)
    return None if value in (None, IN_MEMORY) else value


def _record(
    request: Request, card: MethodCard, options: Mapping[str, Any], case: Case, output: Output, result: Result, run: Run
) -> dict[str, Any]:
    from .trust import checks

    facts = {k: v for k, v in case.pet.facts.to_json().items() if k != "source"}
    return {
        "record_version": RECORD_VERSION,
        "program": "petdiffusion",
        "version": __version__,
        "research_use_only": True,
        "request": request.to_json(),
        "options": dict(options),
        "device": check_device(card, request.device),
        "method": {"name": card.name, "title": card.title, "paper": card.paper},
        "input": {
            "unit": result.low.unit,
            "geometry": case.pet.geometry.to_json(),
            "facts": facts,
            "noise_sd": round(float(case.noise), 6),
            "working_unit": case.pet.unit,
        },
        "inputs_sha256": {name: sha256_of(path) for name in IMAGES if (path := _path_of(request, name))},
        "sidecars_sha256": {name: sidecar_sha256_of(path) for name in IMAGES if (path := _path_of(request, name))},
        "check": checks(result.tables, denoised=not options.get("masks_only")),
        "files_sha256": {o.name: sha256_of(path) for o in card.options if o.file and (path := options.get(o.name))},
        "evaluations": output.evaluations,
        "plans": [dict(plan) for plan in run.plans],
        "details": dict(output.details),
        "warnings": list(run.warnings),
        "seconds": {name: round(value, 3) for name, value in run.seconds.items()},
        "versions": versions(),
    }


def _refuse_early(given: Given, request: Request, out: Path, overwrite: bool) -> None:
    """What could not be written after the work is refused before it."""
    from .write import outputs

    outputs.check(given.pet, given.sources, request.format, out, overwrite)


def _write(
    result: Result, given: Given, case: Case, card: MethodCard, out: Path, report: bool, overwrite: bool, run: Run
) -> Result:
    from .write import outputs

    with run.stage("write", "Writing the results"):
        files = outputs.write(result, given.sources, case, card, out, report, overwrite, run)
    return replace(result, files=files)
