"""What was asked for, and what came out of it: the two ends of a run, both saved beside the result."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from .errors import InputError, OptionError
from .folders import is_of_system
from .suv.given import checked_weight
from .volume import LabelMap, Volume

RECORD_VERSION = 1
IN_MEMORY = "<in memory>"
IMAGES = ("pet", "ct", "mr", "labels", "lesions", "reference", "tune")
FORMATS = ("nifti", "nrrd", "mha", "dicom")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def check_device_word(device: Any) -> None:
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise OptionError(
            f"Device '{device}'",
            "is not one of auto, cpu, cuda, cuda:1 (or another number), mps",
            "Leave it out, or give auto.",
        )


@dataclass(frozen=True)
class Request:
    """A denoising job that can be written down: paths, method, options, seed. Survives JSON."""

    pet: str
    method: str
    ct: str | None = None
    mr: str | None = None
    labels: str | None = None
    lesions: str | None = None
    reference: str | None = None
    tune: str | None = None
    unit: str | None = None
    text: str = ""
    dose_fraction: float | None = None
    weight_kg: float | None = None
    register: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    seed: int = 0
    device: str = "auto"
    format: str = "nifti"

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise OptionError(f"Format '{self.format}'", f"is not one of {', '.join(FORMATS)}", "Choose one of them.")
        if self.dose_fraction is not None and not 0 < self.dose_fraction <= 1:
            raise OptionError(
                f"Dose fraction {self.dose_fraction}",
                "must lie above 0 and at most at 1",
                "Give 0.1 for a tenth of the normal dose.",
            )
        checked_weight(self.weight_kg)
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise OptionError(f"Seed {self.seed!r}", "must be a whole number of zero or more", "Give for example 0.")
        check_device_word(self.device)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Request:
        known = {f.name for f in fields(cls)}
        if unknown := set(data) - known:
            raise OptionError(
                f"Request fields {', '.join(sorted(unknown))}",
                "are not known",
                f"Known are {', '.join(sorted(known))}.",
            )
        return cls(**data)

    def absolute(self) -> Request:
        """The same request with absolute paths, so that a record can be run again from anywhere."""
        found = {
            name: str(Path(value).expanduser().absolute())
            for name in IMAGES
            if (value := getattr(self, name)) not in (None, IN_MEMORY)
        }
        if self.model and Path(self.model).suffix in (".json", ".safetensors") and Path(self.model).exists():
            found["model"] = str(Path(self.model).expanduser().absolute())
        return replace(self, **found)


def parted(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a call's keywords the fields of a request, and all others as options of its method."""
    known = set(Request.__dataclass_fields__) - set(IMAGES) - {"method", "options"}
    fields_ = {name: value for name, value in settings.items() if name in known}
    others = {name: value for name, value in settings.items() if name not in known | {"options"}}
    return fields_, dict(settings.get("options") or {}) | others


@dataclass(frozen=True)
class Result:
    """What a run gives back. `tables` has rows by name: image, organs, lesions, and the method's own."""

    pet: Volume
    low: Volume
    sd: Volume | None = None
    organs: LabelMap | None = None
    lesions: LabelMap | None = None
    marked: LabelMap | None = None
    """Lesions that the method itself marked, where others were given to measure in."""
    reference: Volume | None = None
    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    maps: Mapping[str, Volume] = field(default_factory=dict)
    """The method's extra images, in units of their own."""
    record: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def sha256_of(path: str | Path) -> str:
    """Of a file, of both of a NIfTI pair, or of all files of a folder with their names."""
    from .read.pairs import files_of

    """Of a file, or of all files of a folder with their names, in one order on every system."""
    path = Path(path)
    try:
        if path.is_file() and len(both := files_of(path)) > 1:
            return hashlib.sha256("".join(map(_sha256, both)).encode()).hexdigest()
        if path.is_file():
            return _sha256(path)
        total = hashlib.sha256()
        files = (p for p in path.rglob("*") if p.is_file() and not is_of_system(p))
        for file in sorted(files, key=lambda p: p.relative_to(path).parts):
            total.update(f"{file.relative_to(path).as_posix()} {sha256_of(file)}\n".encode())
        return total.hexdigest()
    except OSError as error:
        raise InputError(f"{path.name}", f"cannot be read ({error.strerror})", "Check the path.") from None


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sidecar_sha256_of(path: str | Path) -> str | None:
    """Of the JSON beside an image, which says its unit, dose or names, with those that hold for it above in a BIDS data
    set; None where there is none."""
    from .read.sidecar import all_of

    files = [file for file in all_of(Path(path)) if file != Path(path)] if Path(path).is_file() else []
    digests = [sha256_of(file) for file in files]
    return hashlib.sha256("".join(digests).encode()).hexdigest() if len(digests) > 1 else next(iter(digests), None)


def changed_input(record: Mapping[str, Any], leave_out: tuple[str, ...] = ()) -> str | None:
    """The first input of a recorded run that is not as it was, in words; None where all are. Reads them all."""
    digests = (("inputs_sha256", "request", sha256_of, ""),
               ("sidecars_sha256", "request", sidecar_sha256_of, "sidecar of the "),
               ("files_sha256", "options", sha256_of, ""))  # fmt: skip
    for kind, given, digest, part in digests:
        for name, sha256 in record.get(kind, {}).items():
            path = record[given][name]
            if name not in leave_out and digest(path) != sha256:
                return f"The {part}{name} of this run ({Path(path).name})"
    return None


def changed_model(record: Mapping[str, Any]) -> str | None:
    """The id of a model of a recorded run, where another one has its place now. Reads cards alone."""
    from .zoo import store

    details = record.get("details", {})
    used = ((details.get("model_sha256"), record["request"].get("model") or details.get("model")),
            (details.get("organ_model_sha256"), details.get("organ_model")))  # fmt: skip
    for sha256, wanted in used:
        card = store.card_of(wanted) if sha256 and wanted else None
        if card is not None and card.sha256 != sha256:
            return card.id
    return None


def versions() -> dict[str, str]:
    """Of what a result depends on."""
    from importlib import metadata

    found = {"python": platform.python_version(), "system": platform.system()}
    for name in ("numpy", "scipy", "SimpleITK", "nibabel", "pydicom", "torch"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def read_record(path: str | Path) -> dict[str, Any]:
    """A run record from its file or from the folder that holds it."""
    file = Path(path)
    if file.is_dir():
        folder, file = file, file / "record.json"
        if not file.exists():
            raise InputError(f"Folder {folder.absolute().name}", "holds no record.json", _one_run_in(folder))
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"Run record {file.name}", str(error.strerror or error), "Give a record.json or its folder."
        ) from None
    except ValueError:
        raise InputError(
            f"Run record {file.name}", "is not valid JSON", "Give a record.json of a finished run."
        ) from None
    if not isinstance(record, dict) or "request" not in record:
        raise InputError(f"File {file.name}", "is not a run record", _one_run_in(file.parent))
    if record.get("record_version") != RECORD_VERSION:
        raise InputError(
            f"Run record {file.name} of version {record.get('record_version')}",
            f"this program reads version {RECORD_VERSION}",
            "Use the program version named in the record.",
        )
    return record


def _one_run_in(folder: Path) -> str:
    """What to give instead of a batch, a study or a dynamic scan, whose runs each have a folder of their own."""
    layouts = ("*/record.json", "frames/*/record.json", "runs/*/*/record.json")
    first = next((found for layout in layouts for found in sorted(folder.glob(layout))), None)
    if first is None:
        return "Give a record.json or its folder."
    whole = ", or run `petdiffusion dynamic` again" if (folder / "dynamic.json").is_file() else ""
    return f"Give the folder of one run, such as {first.parent}{whole}."
