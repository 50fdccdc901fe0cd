"""Models as the panel offers them: which are installed, which suits the scan, and what each card says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from petdiffusion.errors import PETDiffusionError
from petdiffusion.methods.contract import Case, MethodCard
from petdiffusion.volume import SUVBW

from . import scene, units
from .theme import colored
from .widgets import beginning, paragraph

AUTOMATIC = ""
"""The backend takes the model that was made for scans most like this one."""
LARGEST = 15_000_000
"""Voxels; a larger scan is not looked at before the run, so that the panel waits a few seconds at most, once a scan."""
TRAINING_LETTERS = 110


def installed(card: MethodCard) -> dict[str, Any]:
    """The cards of the models installed for a method; a damaged model folder is no reason to fail here."""
    from petdiffusion.zoo import store

    try:
        return {id_: model.card for id_, model in store.models(card.name).items()}
    except (PETDiffusionError, OSError):
        return {}


def having_one() -> set[str]:
    """Names of the methods that have a model installed: all cards are read once, as the panel asks at every change."""
    from petdiffusion.zoo import store

    try:
        return {method for model in store.models().values() for method in model.card.methods}
    except (PETDiffusionError, OSError):
        return set()


class Fits:
    """What of a scan lies outside each model's card.

    To find a scan's body and noise takes seconds, so it is done once a scan; cards and doses are held against that.
    """

    def __init__(self) -> None:
        self._scan: tuple[Any, ...] = ()
        self._case: Case | None = None
        self._seen: tuple[Any, ...] = ()
        self._found: dict[str, list[str]] | None = None

    def of(self, pet: Any, unit: units.Unit | None, dose_fraction: float, cards: Mapping[str, Any]
           ) -> dict[str, list[str]] | None:
        """By model's id; None where it cannot be told beforehand."""
        image = pet.GetImageData() if pet is not None else None
        if image is None or unit is None or unit.to_suv is None:
            return None
        scan = (pet.GetID(), image.GetMTime(), unit)
        if scan != self._scan:
            self._scan, self._case = scan, _case(pet, unit)
        seen = (scan, dose_fraction, tuple(card.sha256 for card in cards.values()))
        if seen != self._seen:
            self._seen, self._found = seen, _misfits(self._case, dose_fraction, cards)
        return self._found


def _case(pet: Any, unit: units.Unit) -> Case | None:
    """A scan as a method sees it; None where it cannot be looked at here."""
    try:
        from petdiffusion.prepare.mask import body_mask
        from petdiffusion.prepare.noise import noise_sd

        if pet.GetImageData().GetNumberOfPoints() > LARGEST:
            return None
        volume = scene.volume_of(pet, SUVBW, units.facts_of(pet))
        volume = volume.with_array(volume.array * np.float32(unit.to_suv))
        body = body_mask(volume)
        return Case(volume, body, noise_sd(volume, body))
    except (ImportError, PETDiffusionError):
        return None


def _misfits(case: Case | None, dose_fraction: float, cards: Mapping[str, Any]) -> dict[str, list[str]] | None:
    if case is None:
        return None
    case = replace(case, dose_fraction=dose_fraction or None)
    try:
        from petdiffusion.zoo.choose import misfits

        return {id_: misfits(card, case) for id_, card in cards.items()}
    except (ImportError, PETDiffusionError):
        return None


def suited(cards: Mapping[str, Any], fits: Mapping[str, list[str]] | None, given: Any) -> str:
    """The model that a run will take by itself; empty where it cannot be told beforehand. `given` has the nodes `ct`,
    `mr` and `labels`, or None."""
    if len(cards) == 1:
        return next(iter(cards))
    from petdiffusion.zoo import store
    from petdiffusion.zoo.choose import rank

    if not fits:
        return AUTOMATIC
    bundled = {id_ for id_, model in store.models().items() if model.bundled}
    return min(cards, key=lambda id_: rank(cards[id_], given, len(fits.get(id_, ())), id_ in bundled))


def choices(cards: Mapping[str, Any], suited_id: str) -> dict[str, str]:
    """Entries by id for the combo box; with several models, automatic first."""
    names = {id_: id_ for id_ in cards}
    if len(cards) < 2:
        return names
    return {AUTOMATIC: f"Automatic: {suited_id}" if suited_id else "Automatic, by what the scan shows", **names}


def text_of(card: Any, whole: bool = False) -> str:
    """What a physician wants to know of a model before trusting it; `whole` is everything its card says."""
    low, high = card.dose_fractions
    small, large = card.voxel_mm
    made_for = f"{' and '.join(card.regions)}; " if getattr(card, "regions", ()) else ""
    facts = {"Trained on": card.training_data if whole else beginning(card.training_data, TRAINING_LETTERS),
             "Made for": f"{made_for}{', '.join(card.tracers)}; {100 * low:g} to {100 * high:g} % of the normal dose; "
                         f"voxels of {small:g} to {large:g} mm", "Limits": card.limits, "Use": card.intended_use}
    if whole:
        facts |= {"Licence": f"{card.licence} (data: {card.data_licence})", "Version": card.version,
                  "Size": f"{card.bytes / 1e6:.1f} MB", "SHA-256": _in_groups(card.sha256)}
        facts |= {f"Measured, {key}": value for key, value in _flat(card.results)}
    lines = [f"{colored('faint', f'{name}:')} {paragraph(str(text))}" for name, text in facts.items()]
    return "<br>".join([paragraph(card.summary), *lines])


def _in_groups(digest: str, size: int = 16) -> str:
    """With spaces, so that it can be broken into lines."""
    return " ".join(digest[i:i + size] for i in range(0, len(digest), size))


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Nested results as `patients, SUVmax bias` and a number."""
    for key, value in values.items():
        name = f"{before}, {key}" if before else str(key)
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        elif isinstance(value, (list, tuple)):
            yield name.replace("_", " "), " to ".join(_said(v) for v in value)
        else:
            yield name.replace("_", " "), _said(value)


def _said(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def caution(misfits: list[str]) -> str:
    """What speaks against a model, before the run."""
    if not misfits:
        return ""
    return _caution(f"Not trained for this scan: {paragraph('; '.join(misfits))}.")


def missing(id_: str) -> str:
    return _caution(f'The model "{paragraph(id_)}" that was chosen is not installed.')


def _caution(html: str) -> str:
    return f"<br>{colored('caution', f'▲ {html}')}"
