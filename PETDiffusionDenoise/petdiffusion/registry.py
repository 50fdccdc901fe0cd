"""Finds the methods: every package in `methods/` that lists `CARDS`. A new method is one new folder."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache

from . import methods
from .errors import OptionError
from .methods.contract import MethodCard

DEFAULT_METHOD = "csrd"


@cache
def cards() -> dict[str, MethodCard]:
    """All methods by name, in the order of their folders."""
    found: dict[str, MethodCard] = {}
    for module in pkgutil.iter_modules(methods.__path__):
        if module.ispkg:
            package = importlib.import_module(f"{methods.__name__}.{module.name}")
            for card in getattr(package, "CARDS", ()):
                if card.name in found:
                    raise RuntimeError(f"two methods are called {card.name}")
                found[card.name] = card
    return found


def card(name: str) -> MethodCard:
    """The card of a method, or an error that names the nearest one."""
    known = cards()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise OptionError(
            f"Method '{name}'",
            f"is not one of {', '.join(known)}",
            f"Did you mean '{near[0]}'?" if near else "See 'petdiffusion methods'.",
        )
    return known[name]
