"""A finished training becomes a model: averaged weights in half precision and a card that says all about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..errors import ModelError, TrainingError
from ..write.staging import Staging
from ..zoo.card import ModelCard
from ..zoo.store import sha256
from . import checkpoint
from .begun import PLAN, STAGE, read_plan
from .log import rows_of
from .validation import LEARNT, VALIDATION, judged_by

_AVERAGE = "average.module."
NEEDED = ("summary", "training_data", "data_licence", "licence", "tracers", "voxel_mm", "dose_fractions",
          "intended_use", "limits")  # fmt: skip
POSSIBLE = ("regions", "results", "seen", "needs", "serves", "refines")
"""What only people know of a model: fields of its card that the facts give."""
TEMPLATE = "Resources/examples/facts.json is a template; Resources/docs/training.md explains the fields."
_UNKNOWN = {"sha256": "0" * 64, "bytes": 0}
"""What the card says of a file that is not written yet."""


def export(folder: str | Path, target: str | Path, id_: str, facts: dict[str, Any], parts: tuple[str, ...] = ("",),
           overwrite: bool = False) -> Path:  # fmt: skip
    """Write `<id>.safetensors` and `<id>.json` into `target`. `facts` fills the card's descriptive fields.

    Weights whose names begin with none of `parts` are left out, as where a model takes the rest from another one.
    Whatever cannot become a model is refused before anything is written.
    """
    folder = Path(folder)
    if not (folder / checkpoint.STATE).exists():
        raise TrainingError(f"Folder {folder.name}", "holds no finished training", "Train first.")
    said = {**_of_training(folder), **_checked(facts), "id": id_}
    _card(said, _UNKNOWN)
    weights = _weights(folder, parts)
    name, described = f"{id_}.safetensors", f"{id_}.json"
    staging = Staging(target, overwrite=overwrite, last=described)
    staging.check(name, described)
    with staging as aside:
        checkpoint.write(weights, aside / name)
        card = _card(said, {"sha256": sha256(aside / name), "bytes": (aside / name).stat().st_size})
        (aside / described).write_text(json.dumps(card.to_json(), indent=2) + "\n", encoding="utf-8")
        # safetensors writes for the owner alone; a folder of models is often shared
        (aside / name).chmod((aside / described).stat().st_mode)
    return staging.folder / name


def _checked(facts: Any) -> Mapping[str, Any]:
    if not isinstance(facts, Mapping):
        raise TrainingError("The facts", "are not a JSON object", TEMPLATE)
    missing, strange = [n for n in NEEDED if facts.get(n) is None], [n for n in facts if n not in (*NEEDED, *POSSIBLE)]
    wrong = [f"lack {', '.join(missing)}"] * bool(missing) + [f"cannot have {', '.join(strange)}"] * bool(strange)
    if wrong:
        fields = f"Needed are {', '.join(NEEDED)}; possible are {', '.join(POSSIBLE)}."
        raise TrainingError("The facts", ", and ".join(wrong), f"{fields} {TEMPLATE}")
    return facts


def _card(said: Mapping[str, Any], file: Mapping[str, Any]) -> ModelCard:
    """As the store will read it."""
    try:
        return ModelCard.from_json({**said, **file}, f"{said['id']}.json")
    except ModelError as error:
        raise ModelError(error.what, error.why, "Correct the id, or the file of --facts.") from None


def _weights(folder: Path, parts: tuple[str, ...]) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    averaged = {key.removeprefix(_AVERAGE): value for key, value in load_file(folder / checkpoint.STATE).items()
                if key.startswith(_AVERAGE)}  # fmt: skip
    if strange := [part for part in parts if not any(name.startswith(part) for name in averaged)]:
        there = dict.fromkeys(name.split(".")[0] for name in averaged)
        raise TrainingError(f"Part {', '.join(strange)}", "is the beginning of no weight's name",
                            f"Names begin with {', '.join(there)}.")  # fmt: skip
    return {name: _half(value) for name, value in averaged.items() if name.startswith(parts)}


def _half(value: torch.Tensor) -> torch.Tensor:
    half = value.half() if value.is_floating_point() else value
    if not torch.isfinite(half).all():
        raise TrainingError("The trained weights", "do not fit half precision", "Train longer or with a lower rate.")
    return half.contiguous()


def _without_names(data: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of patients, not their names: a model may be given away."""
    return {k: len(v) if k.endswith("_patients") and isinstance(v, list) else v for k, v in data.items()
            if k not in ("source", "people")}  # fmt: skip


def _stage(said: Mapping[str, Any]) -> dict[str, Any]:
    """Settings and data of the training, or of a part of it."""
    return {**said, "data": _without_names(said["data"])}


def _last(log: list[dict[str, str]], data: Mapping[str, Any]) -> dict[str, Any]:
    """The last numbers by the name of those they are of: only patients for validation make a validation."""
    row = {name: value for name, value in log[-1].items() if value != ""} if log else {}
    if judged_by(data) == VALIDATION and not any(name.startswith(LEARNT) for name in row):
        return {"last_validation": row}
    return {"last_validation": {}, "last_on_training_patients": row}


def _of_training(folder: Path) -> dict[str, Any]:
    plan, facts, log = read_plan(folder), checkpoint.facts_of(folder), rows_of(folder)
    if not {"method", *STAGE} <= set(plan):
        raise TrainingError(f"Folder {folder.name}", f"has no {PLAN} that says what was trained",
                            "Put back the one that was written there.")  # fmt: skip
    training = {
        **_stage({name: plan[name] for name in STAGE}),
        "begun_from": plan.get("begun_from"),
        "steps": facts["step"],
        "minutes": round(facts["seconds"] / 60, 1),
        **_last(log, plan["data"]),
    }
    if earlier := [_stage(stage) for stage in plan.get("earlier", ())]:
        training["earlier"] = earlier
    return {"method": plan["method"], "version": __version__, "config": facts["config"], "training": training}
