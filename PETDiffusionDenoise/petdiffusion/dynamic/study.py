"""The map: the frames are laid apart as 3D images -> a batch denoises each -> they are put together again.

What is finished stays: a run that was stopped goes on with the frames that are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import registry
from ..errors import InputError, OptionError, OutputError
from ..progress import Run
from ..read import frames as read_frames
from ..read.dynamic import Frames, chosen
from ..request import sha256_of
from ..run import check_device
from ..write.outputs import check_apart
from . import apart, leading, together

IMAGES, GATES = ("ct", "mr", "labels", "lesions"), "gates"


@dataclass(frozen=True)
class Result:
    """`files` by name; `tables` has frames and, with organs or lesions, time_activity."""

    files: dict[str, str]
    tables: dict[str, list[dict[str, Any]]]
    warnings: tuple[str, ...] = ()
    record: dict[str, Any] = field(default_factory=dict)


def denoise_frames(
    pet: str | Path,
    out: str | Path,
    method: str | None = None,
    *,
    frames: str | None = None,
    lead: bool | None = None,
    unit: str | None = None,
    weight_kg: float | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    run: Run | None = None,
    **settings: Any,
) -> Result:
    """Denoise every frame of a dynamic or gated PET.

    `pet` is a 4D file or the DICOM folder of all frames, `frames` such as '10-24' takes some of them. With `lead` the
    method denoises the mean of all frames, and each frame is led by it; without, it denoises each frame by itself.
    None: time frames are led, gates are not. `settings` are images that serve all frames (ct, mr, labels, lesions), and
    what `denoise` takes besides: model, seed, device, options.
    """
    run, out = run or Run(), Path(out)
    method = method or registry.DEFAULT_METHOD
    images = {name: str(Path(path).absolute()) for name in IMAGES if (path := settings.pop(name, None)) is not None}
    _check(method, settings)
    check_apart([pet, *images.values()], out)
    with run.stage("read", "Reading the frames"):
        found = read_frames(pet, unit=unit, weight_kg=weight_kg, run=run)
        numbers = list(range(len(found))) if frames is None else chosen(frames, len(found))
        if len(numbers) < 2:
            raise OptionError(f"Frames '{frames}'", "are one image alone",
                              "Take it with `petdiffusion convert … --frames N`, and denoise that.")
        _refuse_earlier(out, overwrite)
    with run.stage("apart", f"Laying {len(numbers)} {found.kind} apart"):
        laid = apart.lay(found, numbers, out / "frames", _source(pet, unit, weight_kg), overwrite, run)
    if lead is None:
        lead = laid.kind != GATES
    if lead:
        ahead = leading.denoised_mean(laid, method, images, settings, overwrite, run)
        method, settings = leading.METHOD, leading.settings_of(ahead)
        images = {name: path for name, path in images.items() if name in ("labels", "lesions")}
    rows = _denoised(laid, images, method, workers, overwrite, settings, run)
    with run.stage("together", "Putting the frames together"):
        files, tables, record = together.put(laid, rows, out, ahead if lead else None, overwrite, run)
    return Result(files, tables, tuple(run.warnings), record)


def _check(method: str, settings: dict[str, Any]) -> None:
    """What would be refused after the frames were read and written is refused now."""
    card = registry.card(method)
    card.resolve(settings.get("options") or {})
    check_device(card, settings.get("device", "auto"))


def _source(pet: str | Path, unit: str | None, weight_kg: float | None) -> dict[str, Any]:
    """What the laid frames depend on."""
    from ..request import sidecar_sha256_of

    return {"pet": str(Path(pet).absolute()), "sha256": sha256_of(pet), "sidecar_sha256": sidecar_sha256_of(pet),
            "unit": unit, "weight_kg": weight_kg}


def _refuse_earlier(out: Path, overwrite: bool) -> None:
    """A whole result is in the way; frames of one that was stopped are not."""
    if not overwrite and (out / together.RECORD).exists():
        raise OutputError(f"Folder {out.name}", "holds the result of a dynamic PET already",
                          "Choose another folder, or replace it (--overwrite).")


def _denoised(laid: apart.Laid, images: dict[str, str], method: str, workers: int | None, overwrite: bool,
              settings: dict[str, Any], run: Run) -> list[dict[str, Any]]:  # fmt: skip
    from ..batch import run_batch

    apart.write_manifest(laid, images)
    rows = run_batch(laid.manifest, laid.folder, method, workers=workers, report=False, overwrite=overwrite, run=run,
                     **settings)
    bad = [row for row in rows if row["status"] in ("failed", "refused")]
    if bad:
        raise InputError(f"{len(bad)} of {len(rows)} frames ({_names(bad)})",
                         f"could not be denoised ({bad[0]['error'].rstrip('.')})",
                         "Run the same again once that is put right: frames that are done are kept.")
    return rows


def _names(rows: Sequence[dict[str, Any]], most: int = 6) -> str:
    shown = ", ".join(row["id"] for row in rows[:most])
    return shown + (" …" if len(rows) > most else "")


__all__ = ["Frames", "Result", "denoise_frames"]
