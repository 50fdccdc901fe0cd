"""From any kind of source to a checked Volume."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, OptionError, UnitError
from ..suv.given import checked_weight, weighed
from ..suv.units import parse_unit
from ..volume import ARBITRARY, BQML, HU, SUVBW, Facts, Volume
from ..wording import an
from . import ROLES, checks
from .pairs import PAIR, is_pair

if TYPE_CHECKING:
    from ..progress import Run
    from . import files, sidecar

NIFTI, ITK = (".nii", ".nii.gz"), (".nrrd", ".nhdr", ".mha", ".mhd")
FREESURFER = (".mgz", ".mgh")
"""Read, and never written."""
BESIDE = NIFTI + PAIR + FREESURFER
"""Read by nibabel; what else is known of them stands in a sidecar."""
IMAGES = BESIDE + ITK
UNITS_OF_ROLE = {"pet": (BQML, SUVBW, ARBITRARY), "reference": (BQML, SUVBW, ARBITRARY), "ct": (HU,),
                 "mr": (ARBITRARY,)}


def image(source: Any, role: str = "pet", *, unit: str | None = None, weight_kg: float | None = None,
          run: Run | None = None) -> Volume:  # fmt: skip
    """See `petdiffusion.read.image`."""
    if role not in ROLES:
        raise OptionError(f"Role '{role}'", f"is not one of {', '.join(ROLES)}", "Say what the image is used for.")
    declared, weight = declared_unit(unit, role), given_weight(weight_kg, role)
    name = describe(source)
    volume = _opened(source, role, declared, weight, run)
    if volume.unit not in UNITS_OF_ROLE[role]:
        raise UnitError(f"{name}: unit {volume.unit}", f"is not one {an(role.upper())} can have "
                        f"({', '.join(UNITS_OF_ROLE[role])})", "Check that the right image was given.")
    return checks.values(volume, role, name, run)


def declared_unit(unit: str | None, role: str) -> tuple[str, float] | None:
    if unit is None:
        return None
    known, scale = parse_unit(unit)
    if known not in UNITS_OF_ROLE[role]:
        raise UnitError(f"Unit '{unit}'", f"is not one {an(role.upper())} can have ({', '.join(UNITS_OF_ROLE[role])})",
                        "Leave it out, or give the right one.")
    return known, scale


def given_weight(given: Any, role: str) -> float | None:
    if given is not None and role not in checks.PET_ROLES:
        raise OptionError(f"Weight {given} for {an(role.upper())}", "changes nothing in it", "Leave the weight out.")
    return checked_weight(given)


def _opened(source: Any, role: str, declared: tuple[str, float] | None, weight: float | None, run: Run | None
            ) -> Volume:  # fmt: skip
    if isinstance(source, Volume):
        volume = _relabelled(source, declared, role, run)
        return replace(volume, facts=weighed(volume.facts, weight, volume.unit, checks.called(role), run))
    if isinstance(source, (str, os.PathLike)):
        return _from_path(Path(source), role, declared, weight, run)
    from . import files

    array, geometry, word = files.in_memory(source, run, called=checks.called(role))
    unit, scale = _unit(word, declared, "The image", role, run) or _usual_unit(role)
    return _scaled(Volume(array, geometry, unit, Facts(weight_kg=weight)), scale)


def _from_path(path: Path, role: str, declared: tuple[str, float] | None, weight: float | None, run: Run | None
               ) -> Volume:  # fmt: skip
    kind = kind_of(path)
    if kind == "dicom":
        from . import dicom

        return dicom.read(path, role, declared, weight, run)
    from . import files, sidecar

    opened = files.opened(path)
    notes = sidecar.of(path, files.own_field(opened))
    sidecar.check_modality(notes, role, path)
    loaded = files.of_image(opened, path.name, run, called=checks.called(role))
    return of_file(loaded, notes, path, role, declared, weight, run)


def of_file(loaded: files.Loaded, notes: sidecar.Sidecar, path: Path, role: str, declared: tuple[str, float] | None,
            weight: float | None, run: Run | None) -> Volume:  # fmt: skip
    """With the unit and the facts that the file and what stands beside it say."""
    array, geometry, own = loaded
    beside = notes.unit if role != "mr" else None
    name = path.name if beside is None else notes.path.name
    unit, scale = _unit(own if beside is None else beside, declared, name, role, run) or _usual_unit(role)
    if unit == SUVBW:
        notes.check_attenuation("Give the corrected image, or read it with unit='a.u.' in Python if only the picture "
                                "matters.")
    return _scaled(Volume(array, geometry, unit, facts_of(notes, path, unit, weight, role, run)), scale)


def facts_of(notes: sidecar.Sidecar, path: Path, unit: str, weight: float | None, role: str, run: Run | None
             ) -> Facts:  # fmt: skip
    """What stands beside the file, and what the weight that was given makes of it."""
    facts = weighed(notes.facts(source=str(path), run=run), weight, unit, checks.called(role), run)
    if weight is not None and facts.suv_factor is None:
        facts = replace(facts, suv_factor=notes.known_factor(facts))
    return facts


def _unit(word: Any, declared: tuple[str, float] | None, name: str, role: str, run: Run | None
          ) -> tuple[str, float] | None:  # fmt: skip
    """By the word that the image has for it, if it has one, and what was declared."""
    try:
        stated = None if word is None else parse_unit(word)
    except UnitError as error:
        return checks.instead(error, declared, name, role, run)
    return checks.agreed(declared, stated, name, role, run)


def _usual_unit(role: str) -> tuple[str, float]:
    """Of an image that says nothing: CT is always kept in HU, anything else could be in any unit."""
    return (HU if role == "ct" else ARBITRARY), 1.0


def _relabelled(volume: Volume, declared: tuple[str, float] | None, role: str, run: Run | None) -> Volume:
    known = None if volume.unit == ARBITRARY else (volume.unit, 1.0)
    unit, scale = checks.agreed(declared, known, "The image", role, run) or (ARBITRARY, 1.0)
    return _scaled(volume.with_array(volume.array, unit), scale)


def _scaled(volume: Volume, scale: float) -> Volume:
    return volume if scale == 1.0 else volume.with_array(volume.array * scale)


def kind_of(path: Path) -> str:
    """'nifti', 'itk', 'freesurfer' or 'dicom', from the name for image files and from the bytes for everything else."""
    suffix = suffix_of(path)
    _check_readable(path)
    if path.is_dir() or suffix not in IMAGES or (suffix in PAIR and not is_pair(path)):
        return "dicom"
    return "nifti" if suffix in NIFTI + PAIR else "itk" if suffix in ITK else "freesurfer"


def suffix_of(path: Path) -> str:
    name = path.name.lower()
    return next((s for s in sorted(IMAGES, key=len, reverse=True) if name.endswith(s)), path.suffix.lower())


def _check_readable(path: Path) -> None:
    shown = shorten(path)
    try:
        exists, empty = path.exists(), path.is_file() and path.stat().st_size == 0
    except (OSError, ValueError) as error:
        raise InputError(f"Path {shown}", f"cannot be opened ({_reason(error)})", "Check the name.") from error
    if not exists:
        raise InputError(f"Path {shown}", "does not exist", "Check the name.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{shown}", "there is no permission to read it", "Ask for it, or have the images copied.")
    if path.is_dir() and suffix_of(path) in IMAGES and suffix_of(path) not in PAIR:
        raise InputError(f"{shown}", "is a folder, although its name is that of an image file", "Give the file in it.")
    if empty:
        raise InputError(f"File {shown}", "is empty", "Copy or export it again.")
    if not path.is_dir() and not path.is_file():
        raise InputError(f"{shown}", "is neither a file nor a folder", "Give an image file or a DICOM folder.")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def describe(source: Any) -> str:
    """The source in a few words, for messages."""
    if isinstance(source, (str, os.PathLike)):
        return Path(source).name or str(source)
    if isinstance(source, Volume) and source.facts.source:
        return Path(source.facts.source).name
    return f"The {type(source).__name__} given"


def shorten(path: Path, longest: int = 200) -> str:
    shown = str(path)
    return shown if len(shown) <= longest else f"{shown[:80]}…{shown[-100:]}"
