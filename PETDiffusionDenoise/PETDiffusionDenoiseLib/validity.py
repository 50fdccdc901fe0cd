"""Why a run cannot start, in one sentence for the user; None if it can."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from petdiffusion.errors import PETDiffusionError
from petdiffusion.methods.contract import MethodCard

from . import scene, sequences
from .units import Unit

NAMES = {"ct": "a CT", "mr": "an MR", "labels": "an organ segmentation"}


def reason(parameters: Any, card: MethodCard | None, unit: Unit | None, models: Mapping[str, Any],
           not_ready: str = "") -> str | None:
    """The first thing that is missing, in the order in which the panel asks for it."""
    if parameters.pet is None:
        return "Choose the low-count PET first."
    if problem := _geometry(parameters.pet, card):
        return problem
    if unit is None or unit.unit is None:
        return "The unit of the PET is not known: say it under 'Scans'."
    if card is None:
        return "Choose a method."
    if problem := _conditions(parameters, card):
        return problem
    if card.needs_suv and not unit.suv_known:
        return f"'{card.title}' works on SUV: {unit.problem} {unit.remedy}"
    if card.needs_model and not models:
        return f"No model for '{card.title}' is installed: add one under 'Set-up'."
    return _frames(parameters) or not_ready or None


def _frames(parameters: Any) -> str | None:
    """What all frames of a dynamic scan need, where they are asked for."""
    if not sequences.asked_for_all(parameters):
        return None
    if parameters.region is not None:
        return "All frames are denoised whole: take the region out, or untick 'All frames'."
    folder = parameters.frames_folder.strip()
    if not folder:
        return "Choose the folder into which all frames go."
    if not Path(folder).is_absolute():
        return f"'{folder}' is no full path of a folder for all frames."
    return f"'{folder}' is a file: choose a folder for all frames." if Path(folder).is_file() else None


def _geometry(pet: Any, card: MethodCard | None) -> str | None:
    try:
        smallest = min(scene.geometry_of(pet).size)
    except PETDiffusionError as error:
        return str(error)
    if card is not None and smallest < card.minimum_size:
        return f"The PET is too small for '{card.title}': {card.minimum_size} voxels a side are needed."
    return None


def _conditions(parameters: Any, card: MethodCard) -> str | None:
    for kind, name in NAMES.items():
        if card.requires(kind) and getattr(parameters, kind) is None:
            return f"'{card.title}' needs {name}: choose it under 'Scans'."
    if card.requires("text") and not parameters.text.strip():
        return f"'{card.title}' needs a prompt."
    for role in ("ct", "mr", "reference"):
        node = getattr(parameters, role)
        if node is not None and node is parameters.pet:
            return f"The low-count PET is also chosen as {'normal-dose PET' if role == 'reference' else role.upper()}."
    return None
