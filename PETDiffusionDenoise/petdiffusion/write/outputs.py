"""All files of a result: written aside, moved into place together, with the run record last."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..methods.contract import Case, MethodCard
from ..progress import Run, finite
from ..read.sidecar import path_of
from ..read.sources import BESIDE, kind_of, suffix_of
from ..request import Result
from ..volume import Volume
from . import images, labels, moving, staging, tables

RECORD = "record.json"
SUFFIX = {"nifti": ".nii.gz", "nrrd": ".nrrd", "mha": ".mha", "dicom": ".nii.gz"}


def write(
    result: Result,
    sources: Sequence[str],
    case: Case,
    card: MethodCard,
    out: Path,
    report: bool,
    overwrite: bool,
    run: Run,
) -> dict[str, str]:
    """Write everything a result holds into `out`; returns the files by name."""
    format_ = result.record["request"]["format"]
    old = earlier_files(out) if overwrite else []
    with staging.Staging(out, list(sources), overwrite, last=RECORD, obsolete=old) as folder:
        files = _volumes(result, folder, SUFFIX[format_]) | _tables(result, folder)
        run.progress(0.4)
        if format_ == "dicom":
            files["dicom"] = _dicom(result, card, folder, run)
            files |= masks_as_dicom(result, card, folder, run)
            result = with_warnings(result, run)
        if report:
            files["report"] = _report(result, case, card, folder, run.case)
        run.progress(0.9)
        files["record"] = folder / RECORD
        names = {name: path.relative_to(folder).as_posix() for name, path in files.items()}
        text = json.dumps(
            finite({**result.record, "files": names}), indent=2, ensure_ascii=False, allow_nan=False, default=str
        )
        # a path that is no Unicode (an archive of Windows, unpacked) is said by JSON's escapes, and read again by them
        files["record"].write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        run.check()
    return {name: str(Path(out) / relative) for name, relative in names.items()}


def earlier_files(out: Path) -> list[Path]:
    """The files of the result that lies in a folder, as its own record lists them, and their sidecars; none from
    outside the folder, and nothing that others put beside them."""
    try:
        listed = json.loads((out / RECORD).read_text(encoding="utf-8"))["files"].values()
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return []
    root, found = out.resolve(), []
    for name in listed:
        path = (out / str(name)).resolve()
        if root in path.parents:
            found += sorted(path.glob("*.dcm")) if path.is_dir() else [path]
            found += [path_of(path)] if suffix_of(path) in BESIDE else []  # other formats hold their notes themselves
    return [out / path.relative_to(root) for path in found if path.is_file() and path.name != RECORD]


def check(pet: Volume, sources: Sequence[str], format_: str, out: Path, overwrite: bool) -> None:
    """Refuse now what could not be written after the work."""
    check_apart(sources, out)
    names = [f"denoised{SUFFIX[format_]}", "report.html", RECORD]
    staging.Staging(out, protect=list(sources), overwrite=overwrite).check(*names, needed=pet.array.nbytes)
    if overwrite:
        moving.check_free([out / RECORD, *earlier_files(out)])
    if format_ != "dicom":
        return
    if not pet.facts.source or kind_of(Path(pet.facts.source)) != "dicom":
        raise OutputError(
            "DICOM output",
            "needs the DICOM series that the PET was read from, and this PET was read from something else",
            "Give the DICOM folder as the PET, or choose --format nifti.",
        )
    from . import dicom_pet

    dicom_pet.check(pet, pet.facts.source)


def check_apart(sources: Iterable[Any], out: Path) -> None:
    """Refuse results within a DICOM folder that is read: a series there would make it two, and any file would make it
    another input than the run record says."""
    target = out.resolve()
    for path in (Path(s) for s in sources if isinstance(s, (str, os.PathLike)) and os.fspath(s).strip()):
        if kind_of(path) != "dicom":
            continue
        # of a file only its neighbours are read, so a folder below them is apart; a DICOMDIR stands for all below it
        whole = path.is_dir() or path.name.upper() == "DICOMDIR"
        folder = (path if path.is_dir() else path.parent).resolve()
        if target == folder or (whole and folder in target.parents):
            raise OutputError(
                f"Output folder {out}",
                f"is {'' if target == folder else 'in '}the DICOM folder that is read ({folder.name}), "
                "and results there would change it",
                "Choose a folder beside it.",
            )


def _volumes(result: Result, folder: Path, suffix: str) -> dict[str, Path]:
    files = {"denoised": images.write(_anonymous(result.pet), folder / f"denoised{suffix}")}
    if result.sd is not None:
        files["uncertainty"] = images.write(_anonymous(result.sd), folder / f"uncertainty{suffix}")
    for name, image in result.maps.items():
        files[f"map_{name}"] = images.write(_anonymous(image), folder / f"map_{name}{suffix}")
    masks = {"organs": result.organs, "lesions": result.lesions, "lesions_marked": result.marked}
    for name, mask in masks.items():
        if mask is not None:
            files[name] = labels.write(mask, folder / f"{name}{suffix}")
    return files


def _anonymous(volume: Volume) -> Volume:
    """Where a scan came from may name the patient; it stays in the run record's request alone."""
    return volume.with_facts(source=None)


def _tables(result: Result, folder: Path) -> dict[str, Path]:
    target = folder / "tables"
    target.mkdir()
    return {
        f"table_{name}": tables.write_csv(rows, target / f"{name}.csv") for name, rows in result.tables.items() if rows
    }


def _dicom(result: Result, card: MethodCard, folder: Path, run: Run) -> Path:
    from ..read.dicom import DERIVED
    from . import dicom_pet

    description = f"{DERIVED}{card.title}"
    dicom_pet.write(result.pet, folder / "dicom", result.low.facts.source, description,
                    derivation=_settings(result.record), run=run)
    return folder / "dicom"


def masks_as_dicom(result: Result, card: MethodCard, folder: Path, run: Run) -> dict[str, Path]:
    """The masks that the method itself made as SEG, and the clinical table as a report. They hold nothing that other
    files of the result don't, so whatever a header is that highdicom cannot take, the result is kept."""
    if not {"organs", "lesions"} & set(card.outputs) or result.organs is None:
        return {}
    from ..errors import Cancelled, PETDiffusionError
    from . import dicom_masks

    lesions = result.marked if result.record["request"]["lesions"] else result.lesions
    try:
        written = dicom_masks.write(result.organs, lesions, result.tables.get("clinical", ()), folder / "dicom-masks",
                                    result.low.facts.source, card.title, run=run)  # fmt: skip
    except Cancelled:
        raise
    except Exception as error:
        known = isinstance(error, PETDiffusionError)
        run.warn(f"No DICOM SEG and no structured report, but the masks as {SUFFIX['dicom']} and the tables: "
                 + (str(error) if known else f"highdicom failed ({type(error).__name__}: {error})."))  # fmt: skip
        return {}
    return {"dicom_masks": folder / "dicom-masks"} if written else {}


def with_warnings(result: Result, run: Run) -> Result:
    """With what was told while its files were written."""
    told = list(run.warnings)
    return replace(result, warnings=tuple(told), record={**result.record, "warnings": told})


def _settings(record: Mapping[str, Any]) -> str:
    """What the image depends on, in a sentence or two."""
    from .report.result import without_folder

    settings = {**without_folder(record["options"]), "seed": record["request"]["seed"]}
    model = record["details"].get("model")
    return (f"Model {model}. " if model else "") + ", ".join(f"{k} {v}" for k, v in settings.items()) + "."


def _report(result: Result, case: Case, card: MethodCard, folder: Path, name: str) -> Path:
    from . import report

    path = folder / "report.html"
    path.write_text(report.of_result(result, case, card, name), encoding="utf-8")
    return path
