"""Sidecars that hold for a PET by the inheritance principle of BIDS: those at or above its folder, up to the data set's
root, whose entities are all among its own."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import InputError

ROOT = "dataset_description.json"
SUFFIX = "pet"
_LEVELS = 5
"""Folders from the image's own to the root at most: modality, session, subject and data set, and one to spare."""
_ENTITY = re.compile(r"[a-z]+-[A-Za-z0-9+]+")


def above(own: Path) -> list[Path]:
    """Of the image that has a sidecar of this name, whether it is there or not: the others, the lowest last. None
    outside of a data set."""
    entities = _entities(own)
    folders = list(own.absolute().parents)[:_LEVELS]  # not resolved: DataLad's images are links to elsewhere
    root = next((level for level, folder in enumerate(folders) if (folder / ROOT).is_file()), None)
    if entities is None or root is None:
        return []
    found = (_at(folder, entities, own.name) for folder in reversed(folders[: root + 1]))
    return [file for file in found if file is not None]


def _entities(file: Path) -> set[str] | None:
    """Of `sub-01_trc-FDG_pet.json` sub-01 and trc-FDG; None of a file that BIDS does not name so."""
    *entities, suffix = file.name[: -len(".json")].split("_")
    named = suffix == SUFFIX and all(_ENTITY.fullmatch(entity) for entity in entities)
    return set(entities) if named else None


def _at(folder: Path, entities: set[str], own: str) -> Path | None:
    """BIDS has one at most that holds at a level; of two the one that says more."""
    others = (file for file in sorted(folder.glob(f"*{SUFFIX}.json")) if file.name != own)
    held = {file: len(said) for file in others if (said := _entities(file)) is not None and said <= entities}
    most = [file for file, count in held.items() if count == max(held.values())]
    if len(most) > 1:
        raise InputError(f"Sidecars {most[0].name} and {most[1].name}", "both hold for the PET, at one level of the "
                         "data set", "Merge them, or name one otherwise: BIDS allows one at a level.")
    return most[0] if most else None
