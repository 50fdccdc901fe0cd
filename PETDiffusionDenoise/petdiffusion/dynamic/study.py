"""The map: the frames are laid apart as 3D images -> a batch denoises each -> they are put together again.

What is finished stays: a run that was stopped goes on with the frames that are left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import registry
from ..errors import InputError, OptionError, OutputError
from ..progress import Run
from ..read import frames as read_frames
from ..read import labels as read_labels
from ..read.dynamic import Frames, chosen
from ..read.dynamic_times import GATES
from ..request import parted, read_record, sha256_of, sidecar_sha256_of
from ..run import check_device
from ..suv import to_suv
from ..write import staging
from ..write.lock import alone_in
from ..write.outputs import RECORD, check_apart
from . import apart, given, leading, together
from .given import MASKS
from .page import list_of
from .patlak import FROM_MINUTES, Asked

IMAGES = ("ct", "mr", *MASKS)
VOXEL_BYTES = 4


@dataclass(frozen=True)
class Result:
    """`files` by name; `tables` has frames and, with organs or lesions, time_activity."""

    files: dict[str, str]
    tables: dict[str, list[dict[str, Any]]]
    warnings: tuple[str, ...] = ()
    record: dict[str, Any] = field(default_factory=dict)


def denoise_frames(
    pet: Any,
    out: str | Path,
    method: str | None = None,
    *,
    frames: str | None = None,
    lead: bool | None = None,
    patlak: str | None = None,
    patlak_from: float = FROM_MINUTES,
    unit: str | None = None,
    weight_kg: float | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    run: Run | None = None,
    **settings: Any,
) -> Result:
    """Denoise every frame of a dynamic or gated PET.

    `pet` is a 4D file, the DICOM folder of all frames, or a 4D image of SimpleITK or nibabel; `frames` such as '10-24'
    takes some of them. With `lead` the method denoises the mean of all frames, and each frame is led by it; without, it
    denoises each frame by itself. None: time frames are led, gates are not. With `patlak`, the name of a region of
    blood or a CSV of its curve, Ki is fitted to the frames from `patlak_from` minutes after the injection on.
    `settings` are images that serve all frames (ct, mr, labels, lesions) and whatever `denoise` takes besides: model,
    seed, device, options. Images that are no files are written below `out`, into the folder `given`.
    """
    run, out, method = run or Run(), Path(out), method or registry.DEFAULT_METHOD
    images = {name: image for name in IMAGES if (image := settings.pop(name, None)) is not None}
    fields, options = parted(settings)
    ask = _Ask("", out, method, {}, {**fields, "options": options},
               None if patlak is None else Asked(patlak, patlak_from), workers, overwrite)  # fmt: skip
    _check(ask)
    lie = given.as_files({"pet": pet, **images}, out, overwrite or apart.are_ours(out / "frames"), run)
    ask = replace(ask, pet=lie["pet"], images={name: lie[name] for name in images})
    check_apart(lie.values(), out)
    with run.stage("read", "Reading the frames"):
        found = read_frames(ask.pet, unit=unit, weight_kg=weight_kg, run=run)
        numbers = list(range(len(found))) if frames is None else chosen(frames, len(found))
        ask = replace(ask, ours=apart.are_ours(out / "frames"))
        _refuse_early(ask, found, numbers)
        _check_patlak(ask, found, numbers, run)
    with alone_in(out, "dynamic scan"):
        (out / together.RECORD).unlink(missing_ok=True)  # it vouches for a result that from now on is being replaced
        with run.stage("apart", f"Laying {len(numbers)} {found.kind} apart"):
            about = {**ask.source(), "unit": unit, "weight_kg": weight_kg}
            laid = apart.lay(found, numbers, out / "frames", about, overwrite, run)
        return _made(ask, laid, laid.kind != GATES if lead is None else lead, run)


@dataclass(frozen=True)
class _Ask:
    """What is to be done with the frames, once they are laid apart."""

    pet: str
    out: Path
    method: str
    images: dict[str, str]
    settings: dict[str, Any]
    parametric: Asked | None
    workers: int | None
    overwrite: bool
    ours: bool = False
    """An earlier run laid frames in the folder: what lies beside them is its result, or was to be."""

    def source(self) -> dict[str, Any]:
        return {"pet": self.pet, "sha256": sha256_of(self.pet), "sidecar_sha256": sidecar_sha256_of(self.pet)}


def _made(ask: _Ask, laid: apart.Laid, lead: bool, run: Run) -> Result:
    ahead = None
    _refuse_others(ask, laid, leading.METHOD if lead else ask.method)
    if lead:
        ahead = leading.denoised_mean(laid, ask.method, ask.images, ask.settings, ask.overwrite, run)
        ask = replace(ask, method=leading.METHOD, settings=leading.settings_of(ahead),
                      images={name: path for name, path in ask.images.items() if name in MASKS})  # fmt: skip
    rows = _denoised(ask, laid, run)
    with run.stage("together", "Putting the frames together"):
        inputs = [ask.pet, *ask.images.values()]
        replaces = ask.overwrite or ask.ours
        files, tables, record = together.put(laid, rows, ask.out, ahead, inputs, ask.parametric, replaces, run)
    return Result(files, tables, tuple(run.warnings), record)


def _check(ask: _Ask) -> None:
    """What would be refused after the frames were read and written is refused now, and so is a whole result that is in
    the way."""
    card = registry.card(ask.method)
    card.resolve(ask.settings.get("options") or {})
    check_device(card, ask.settings.get("device", "auto"))
    if not ask.overwrite and (ask.out / together.RECORD).exists():
        raise OutputError(f"Folder {ask.out.name}", "holds the result of a dynamic PET already",
                          "Choose another folder, or replace it (--overwrite).")


def _refuse_early(ask: _Ask, found: Frames, numbers: Sequence[int]) -> None:
    """What could not be written after the work; frames of a run that was stopped are in nobody's way."""
    if len(numbers) < 2:
        raise OptionError(f"Frame {numbers[0] + 1} by itself", "is one image alone",
                          "Take it with `petdiffusion convert … --frames N`, and denoise that.")  # fmt: skip
    sources = [ask.pet, *ask.images.values()]
    if any((ask.out / "frames").resolve() in Path(source).resolve().parents for source in sources):
        raise OutputError(f"Output folder {ask.out}", "holds in its frames what is read here",
                          "Choose another folder.")  # fmt: skip
    if registry.card(ask.method).needs_suv:
        to_suv(found.frame(numbers[-1]))
    needed = 3 * len(numbers) * math.prod(found.frame(0).geometry.size) * VOXEL_BYTES
    staging.Staging(ask.out, protect=sources, overwrite=ask.overwrite or ask.ours).check(
        "denoised.nii.gz", "report.html", together.RECORD, needed=needed)  # fmt: skip


def _check_patlak(ask: _Ask, found: Frames, numbers: Sequence[int], run: Run) -> None:
    if ask.parametric is None:
        return
    known: set[str] | None = None
    for name in ask.images.keys() & set(MASKS):
        known = (known or set()) | set(read_labels(ask.images[name]).present().values())
    ask.parametric.check([found.times[number] for number in numbers], found.injected_s, known)
    ask.parametric.check_unit(found.frame(numbers[-1]), found.times[numbers[-1]], found.injected_s)
    if found.injection_s is None:
        run.warn("When the tracer was injected is not known: Patlak takes the start of the scan's first frame for it.")


def _refuse_others(ask: _Ask, laid: apart.Laid, method: str) -> None:
    """Frames that another method denoised, before the mean is: the right command could not go on from it."""
    if ask.overwrite:
        return
    rows = [{"id": name, "by": read_record(laid.folder / name)["request"]["method"]} for name in laid.names
            if (laid.folder / name / RECORD).exists()]  # fmt: skip
    if others := [row for row in rows if row["by"] != method]:
        raise _of_others(others, len(laid.names), f"the method was {others[0]['by']}")


def _of_others(rows: Sequence[dict[str, Any]], count: int, why: str) -> InputError:
    return InputError(f"{len(rows)} of {count} frames ({_names(rows)})",
                      f"are done already by another command, or from other images ({why})",
                      "Give that command again, choose another folder, or replace them (--overwrite).")


def _denoised(ask: _Ask, laid: apart.Laid, run: Run) -> list[dict[str, Any]]:
    from ..batch import refused, run_batch

    apart.write_manifest(laid, ask.images)
    if not ask.overwrite and (others := refused(laid.manifest, laid.folder, ask.method, **ask.settings)):
        raise _of_others(others, len(laid.names), others[0]["error"].partition(". ")[0])
    of_batch = replace(run, report=_each_once(run), warnings=[])
    rows = run_batch(laid.manifest, laid.folder, ask.method, workers=ask.workers, report=False,
                     overwrite=ask.overwrite, run=of_batch, **ask.settings)  # fmt: skip
    run.warnings, run.whole = run.warnings + of_batch.warnings, of_batch.whole
    bad = [row for row in rows if row["status"] in ("failed", "refused")]
    if bad:
        raise InputError(f"{len(bad)} of {len(rows)} frames ({_names(bad)})",
                         f"could not be denoised ({bad[0]['error'].rstrip('.')})",
                         "Run the same again once that is put right: frames that are done are kept.")
    _tell(laid, rows, run)
    return rows


def _each_once(run: Run) -> Callable[[dict[str, Any]], None]:
    """What every frame says is said as the first one does."""
    told = set(run.warnings)

    def report(event: dict[str, Any]) -> None:
        if event["event"] != "warning" or event["text"] not in told:
            run.report(event)
        if event["event"] == "warning":
            told.add(event["text"])

    return report


def _tell(laid: apart.Laid, rows: Sequence[dict[str, Any]], run: Run) -> None:
    """Which frames said what, unless all did, or their mean."""
    said: dict[str, list[str]] = {}
    for row in rows:
        for text in read_record(laid.folder / row["id"])["warnings"]:
            said.setdefault(text, []).append(row["id"])
    for text, names in said.items():
        if text in run.warnings:
            continue
        if len(names) == len(rows):
            run.warnings.append(text)
        else:
            run.warn(f"{list_of(laid, names)}: {text}")


def _names(rows: Sequence[dict[str, Any]], most: int = 6) -> str:
    shown = ", ".join(row["id"] for row in rows[:most])
    return shown + (" …" if len(rows) > most else "")

