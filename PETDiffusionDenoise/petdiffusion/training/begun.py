"""A training that was begun in a folder: whether it may go on as asked, and what it has learnt from until now.

It may become longer and see other patients, since people collect patients: plan and card then keep what was before
under `earlier`. Other settings midway would make a training that nobody can repeat or explain: they are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import TrainingError
from ..progress import Run
from ..write import moving
from ..write.staging import writing
from . import checkpoint, judges, origins
from .settings import TrainSettings
from .task import Batch, Task
from .validation import judged_by

PLAN = "plan.json"
FREE = ("steps", "minutes", "validate_every", "checkpoint_minutes", "precision", "devices", "nodes")
"""Settings that may differ when a training goes on: how long, how often it is looked at, and on what it runs."""
STAGE = ("settings", "data")


@dataclass(frozen=True)
class Begun:
    folder: Path
    facts: Mapping[str, Any]
    """Of the checkpoint."""
    plan: Mapping[str, Any]
    """As it was when the folder was last trained in; empty where it was removed."""


def begun_in(folder: Path, resume: bool = True) -> Begun | None:
    if not (folder / checkpoint.STATE).exists():
        return None
    if not resume:
        raise TrainingError(f"Folder {folder.name}", "holds a training already", "Resume it, or choose another folder.")
    return Begun(folder, checkpoint.facts_of(folder), read_plan(folder))


def read_plan(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise TrainingError(f"{PLAN} of {folder.name}", f"cannot be read ({error})",
                            "Put a whole one back, or train in another folder.") from None  # fmt: skip


def calibrate(task: Task, batches: list[Batch], begun: Begun | None) -> None:
    """What is measured on the data is measured once: later patients do not move it."""
    before = dict(task.config)
    task.calibrate(batches)
    if begun is not None:
        known, open_ = begun.facts["config"], [n for n, v in task.config.items() if v != before.get(n)]
        if kept := {name: known[name] for name in open_ if name in known}:
            task.settings = replace(task.settings, **kept)


def check_same(begun: Begun, task: Task, data: Mapping[str, Any], settings: TrainSettings, origin: str | None) -> None:
    """Refuses what would make another training of it."""
    if (method := begun.plan.get("method", task.method)) != task.method:
        raise _other(begun, f"holds a training of {method}, not of {task.method}")
    config = _plain(task.config)
    if changed := _changed(begun.facts["config"], config, {*config, *begun.facts["config"]}):
        raise _other(begun, f"holds a training of another config: {changed}")
    known = begun.facts.get("settings", {})
    if changed := _changed(known, settings.to_json(), set(known) - set(FREE)):
        raise _other(begun, f"was begun with {changed}")
    begun_from = begun.plan.get("begun_from")
    if origin is not None and "begun_from" in begun.plan and origins.name_of(origin) != begun_from:
        raise _other(begun, f"was begun with the weights of {begun_from or 'no model'}, not of {origin}")
    judges.check(data, begun.plan, begun.folder.name, "choose another folder")


def check_origin(origin: str, data: Mapping[str, Any], run: Run) -> None:
    """Who taught the weights that a training begins with may not judge it. Cards of models name nobody."""
    if origins.is_training(origin):
        judges.check(data, read_plan(Path(origin)), Path(origin).name, "begin with other weights")
    elif data.get("people", {}).get("validation"):
        name = origins.name_of(origin)
        run.warn(f"{name} is a model, and its card does not name the patients that it learnt from: see that nobody who "
                 f"is for validation was among them. 'petdiffusion models show {name}' has its data; a training's "
                 "folder would know its patients.")  # fmt: skip


def _other(begun: Begun, why: str) -> TrainingError:
    if not begun.facts.get("step"):  # as earlier versions left it where a training failed in its first step
        return TrainingError(f"Folder {begun.folder.name}", why,
                             f"Nothing was learnt in it yet: remove {checkpoint.STATE} there and give the command "
                             "again, or choose another folder.")  # fmt: skip
    return TrainingError(f"Folder {begun.folder.name}", why,
                         f"Go on as it was begun, or choose another folder; --from {begun.folder} takes over its "
                         "weights.")  # fmt: skip


def _changed(before: Mapping[str, Any], now: Mapping[str, Any], names: Iterable[str]) -> str:
    return ", ".join(f"{name} = {before.get(name)}, not {now.get(name)}" for name in sorted(names)
                     if before.get(name) != now.get(name))  # fmt: skip


def explain(folder: Path, task: Task, data: Mapping[str, Any], settings: TrainSettings, origin: str | None,
            begun: Begun | None) -> None:  # fmt: skip
    """Write the plan: what is trained now, and under `earlier` what it was until which step where that was other."""
    now = _plain({"method": task.method, "config": dict(task.config), "settings": settings.to_json(),
                  "data": data, "judged_by": judged_by(data), "begun_from": origins.name_of(origin)})  # fmt: skip
    if taught := _origin_learnt_from(origin, begun):
        now[judges.ORIGIN] = taught
    if begun is not None:
        now["begun_from"] = begun.plan.get("begun_from", now["begun_from"])
        if earlier := _earlier(begun, now):
            now["earlier"] = earlier
    aside = folder / f".{PLAN}.partial"
    with writing(folder / PLAN):
        aside.write_text(json.dumps(now, indent=2), encoding="utf-8")
        moving.replace(aside, folder / PLAN)


def _origin_learnt_from(origin: str | None, begun: Begun | None) -> list[judges.Person]:
    """By name, so that a training that begins with this one knows them too."""
    if begun is not None:
        return begun.plan.get(judges.ORIGIN, [])
    return judges.learnt(read_plan(Path(origin))) if origin is not None and origins.is_training(origin) else []


def _earlier(begun: Begun, now: Mapping[str, Any]) -> list[dict[str, Any]]:
    known, plan, step = list(begun.plan.get("earlier", ())), begun.plan, begun.facts["step"]
    began = known[-1]["until_step"] if known else 0
    if step > began and any(name in plan and _differ(plan[name], now[name]) for name in STAGE):
        judged = {"judged_by": plan["judged_by"]} if "judged_by" in plan else {}
        known.append({"until_step": step, **{name: plan.get(name) for name in STAGE}, **judged})
    return known


def _differ(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Plans of older versions do not say who the people are."""
    return before != {name: value for name, value in now.items() if name != "people" or name in before}


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value if not isinstance(value, Mapping) else dict(value), default=str))
