"""What of a model's calibration holds for a run: it was learnt at certain options, and says nothing of others.

Options that move the samples take all of it away; those that move the image shown, its SD map and the clinical table;
those that move the marks, the clinical table alone. A card from before options were noted means the defaults: the
bundled models were all calibrated with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..methods.contract import IMAGE, MASKS, NOTHING, SAMPLES, MethodCard, Option
from ..progress import Run
from . import clinical
from .conformal import VOXEL, Calibration

LOST = {SAMPLES: "The intervals and the SD map are", IMAGE: "The SD map and the clinical table's intervals are",
        MASKS: "The clinical table's intervals are"}  # fmt: skip
MAP_ALONE = "The SD map is"
NOT_HELD = "not calibrated for these options"


def noted(card: MethodCard, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a calibration made now holds for."""
    return {option.name: options[option.name] for option in card.options if option.moves != NOTHING}


def held(known: Calibration, card: MethodCard, options: Mapping[str, Any], model: str, run: Run) -> Calibration | None:
    """The calibration's part that holds for these options; what is lost is said."""
    apart = [option for option in card.options if options[option.name] != learnt_at(known, option)]
    moved = {option.moves for option in apart}
    lost = next((one for one in LOST if one in moved), NOTHING)
    rest = _rest(known, lost)
    if lost != NOTHING and set(rest.families) != set(known.families):
        _tell(known, [option for option in apart if option.moves != NOTHING], lost, options, model, run)
    return None if lost == SAMPLES else rest


def learnt_at(known: Calibration, option: Option) -> Any:
    return known.options.get(option.name, option.default)


def _rest(known: Calibration, lost: str) -> Calibration:
    left = {name: family for name, family in known.families.items() if not _is_of(name, lost)}
    return replace(known, families=left)


def _is_of(family: str, lost: str) -> bool:
    return (lost == SAMPLES or (lost == IMAGE and family == VOXEL)
            or (lost in (IMAGE, MASKS) and clinical.is_clinical(family)))  # fmt: skip


def _tell(known: Calibration, apart: list[Option], lost: str, options: Mapping[str, Any], model: str, run: Run) -> None:
    what = MAP_ALONE if lost == IMAGE and not clinical.calibrated(known) else LOST[lost]
    now = ", ".join(f"{o.name} = {_word(options[o.name])}" for o in apart)
    then = ", ".join(f"{o.name} = {_word(learnt_at(known, o))}" for o in apart)
    asked = " ".join(f"--option {o.name}={_word(options[o.name])}" for o in apart)
    they, show = ("It", "shows") if what == MAP_ALONE else ("They", "show")
    run.warn(f"{what} {NOT_HELD} ({now}). {they} {show} how far the method's samples differ, not how wrong they may "
             f"be. Run it with {then}, as model {model} was calibrated, or calibrate it with yours: petdiffusion "
             f"calibrate {model} {asked}.")  # fmt: skip


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "unset" if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)
