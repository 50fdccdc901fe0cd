"""A finished training becomes a model: averaged weights in half precision and a card that says all about them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..errors import TrainingError
from ..zoo.card import ModelCard
from ..zoo.store import sha256
from . import checkpoint


def export(folder: str | Path, target: str | Path, id_: str, facts: dict[str, Any],
           parts: tuple[str, ...] = ("",)) -> Path:  # fmt: skip
    """Write `<id>.safetensors` and `<id>.json` into `target`. `facts` fills the card's descriptive fields.

    Weights whose names begin with none of `parts` are left out, as where a model takes the rest from another one.
    """
    from safetensors.torch import load_file, save_file

    folder, target = Path(folder), Path(target)
    state = folder / checkpoint.STATE
    if not state.exists():
        raise TrainingError(f"Folder {folder.name}", "holds no finished training", "Train first.")
    prefix = "average.module."
    weights = {
        key.removeprefix(prefix): _half(value)
        for key, value in load_file(state).items()
        if key.startswith(tuple(prefix + part for part in parts))
    }
    target.mkdir(parents=True, exist_ok=True)
    path = target / f"{id_}.safetensors"
    aside = path.with_name(f".{path.name}.partial")
    save_file(weights, aside)
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    card = ModelCard(
        **{
            "id": id_,
            "method": plan["method"],
            "version": __version__,
            "sha256": sha256(aside),
            "bytes": aside.stat().st_size,
            "config": _config(folder, plan),
            "training": _training(folder, plan),
            **facts,
        }
    )
    os.replace(aside, path)
    said = path.with_suffix(".json")
    said.write_text(json.dumps(card.to_json(), indent=2) + "\n", encoding="utf-8")
    path.chmod(said.stat().st_mode)  # safetensors writes for the owner alone; a folder of models is often shared
    return path


def _half(value: torch.Tensor) -> torch.Tensor:
    half = value.half() if value.is_floating_point() else value
    if not torch.isfinite(half).all():
        raise TrainingError("The trained weights", "do not fit half precision", "Train longer or with a lower rate.")
    return half.contiguous()


def _without_names(data: dict[str, Any]) -> dict[str, Any]:
    """Numbers of patients, not their names: a model may be given away."""
    return {k: len(v) if isinstance(v, list) else v for k, v in data.items() if k != "source"}


def _config(folder: Path, plan: dict[str, Any]) -> dict[str, Any]:
    return json.loads((folder / checkpoint.FACTS).read_text(encoding="utf-8"))["config"]


def _training(folder: Path, plan: dict[str, Any]) -> dict[str, Any]:
    facts = json.loads((folder / checkpoint.FACTS).read_text(encoding="utf-8"))
    log = (folder / "log.csv").read_text(encoding="utf-8").splitlines()
    return {
        "settings": plan["settings"],
        "data": _without_names(plan["data"]),
        "begun_from": plan.get("begun_from"),
        "steps": facts["step"],
        "minutes": round(facts["seconds"] / 60, 1),
        "last_validation": dict(zip(log[0].split(","), log[-1].split(","))),
    }
