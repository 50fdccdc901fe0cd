"""What of a model's calibration holds for a run: it was learnt at certain options, and says nothing of others.

Options that move the samples take all of it away; those that move the image shown, its SD map and the clinical table;
those that move the marks, the clinical table alone. One that does nothing beside the others takes nothing. A card from
before options were noted means the defaults: the bundled models were all calibrated with them.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
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
    learnt = learnt_with(known, card)
    apart = [o for o in card.options if options[o.name] != learnt[o.name] and (o.acts(options) or o.acts(learnt))]
    moved = {option.moves for option in apart}
    lost = next((one for one in LOST if one in moved), NOTHING)
    rest = _rest(known, lost)
    if lost != NOTHING and set(rest.families) != set(known.families):
        what = MAP_ALONE if lost == IMAGE and not clinical.calibrated(known) else LOST[lost]
        apart = [option for option in apart if option.moves != NOTHING]
        run.warn(f"{_says(what, apart, options)} Run it with {_values(apart, learnt)}, as model {model} was "
                 f"calibrated, or calibrate it with yours: petdiffusion calibrate {model}{_asked(card, options)}.")
    return None if lost == SAMPLES else rest


def learnt_with(known: Calibration, card: MethodCard) -> dict[str, Any]:
    """The method's options then. One that was noted and that the method no longer has says nothing."""
    return {option.name: known.options.get(option.name, option.default) for option in card.options}


def _rest(known: Calibration, lost: str) -> Calibration:
    left = {name: family for name, family in known.families.items() if not _is_of(name, lost)}
    return replace(known, families=left)


def _is_of(family: str, lost: str) -> bool:
    return (lost == SAMPLES or (lost == IMAGE and family == VOXEL)
            or (lost in (IMAGE, MASKS) and clinical.is_clinical(family)))  # fmt: skip


def _says(what: str, apart: Sequence[Option], options: Mapping[str, Any]) -> str:
    they, show = ("It", "shows") if what == MAP_ALONE else ("They", "show")
    return (f"{what} {NOT_HELD} ({_values(apart, options)}). {they} {show} how far the method's samples differ, not "
            "how wrong they may be.")  # fmt: skip


def _values(apart: Sequence[Option], at: Mapping[str, Any]) -> str:
    return ", ".join(f"{o.name} = {_word(at[o.name])}" for o in apart)


def _asked(card: MethodCard, options: Mapping[str, Any]) -> str:
    """This run's options for `calibrate`, which takes the default of each that is not named."""
    told = [o for o in card.options if o.moves != NOTHING and o.acts(options) and options[o.name] != o.default]
    return "".join(" --option " + shlex.quote(f"{o.name}={_word(options[o.name])}") for o in told)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "unset" if value in (None, "") else f"{value:.15g}" if isinstance(value, float) else str(value)
