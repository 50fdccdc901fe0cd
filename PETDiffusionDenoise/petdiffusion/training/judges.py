"""Who may judge a training: nobody whom its weights have learnt from, in this training or in those it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import TrainingError

ORIGIN = "origin_learnt_from"
"""What a plan calls the people whom the weights that it began with had learnt from."""
Person = Mapping[str, str]


def learnt(plan: Mapping[str, Any]) -> list[Person]:
    """By the training of this plan, its earlier parts, and whatever it began from."""
    sets = [plan.get("data", {}), *(stage["data"] for stage in plan.get("earlier", ()))]
    return [one for had in sets for one in _people(had, "training")] + list(plan.get(ORIGIN, ()))


def check(data: Mapping[str, Any], before: Mapping[str, Any], where: str, otherwise: str) -> None:
    """Who was learnt from can no longer say how good the training is. `before` is the plan of the folder `where`."""
    known, judges = learnt(before), _people(before.get("data", {}), "validation")
    for new in (one for one in _people(data, "validation") if _in(judges, one) is None):
        if (taught := _in(known, new)) is not None:
            rows = "" if taught["id"] == new["id"] else f": row {taught['id']} then, row {new['id']} now"
            raise TrainingError(f"Patient {new.get('patient') or new['id']}",
                                f"was learnt from in {where} and is now for validation{rows}",
                                f"Leave every patient in his split, or {otherwise}.")  # fmt: skip


def _people(data: Mapping[str, Any], role: str) -> list[Person]:
    """Ids alone in plans of older versions, and of data that is not of manifests."""
    ids = [{"id": name} for name in data.get(f"{role}_patients", ())]
    return data["people"].get(role, []) if "people" in data else ids


def _in(people: Sequence[Person], one: Person) -> Person | None:
    return next((other for other in people if _same(other, one)), None)


def _same(one: Person, other: Person) -> bool:
    """Ids are for people to read, and often numbers of rows: they tell only where nothing else is known."""
    if "scan" not in one or "scan" not in other:
        return one["id"] == other["id"]
    return one["scan"] == other["scan"] or (one["patient"] != "" and one["patient"] == other["patient"])
