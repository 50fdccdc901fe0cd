"""What a user may choose for a training by name: a wrong one is answered with those there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TypeVar

from ..errors import OptionError
from ..networks.config import Config

C = TypeVar("C", bound=Config)
_KINDS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((bool,), "true or false"), ((int, float), "a number"), ((str,), "a text"), ((Mapping,), "a JSON object"),
    ((list, tuple), "a list"),
)  # fmt: skip
"""The first that fits is a value's: a bool is an int to Python."""


def config_of(configs: Mapping[str, C], name: str, changes: Mapping[str, object] | None = None) -> C:
    """The configuration of this name with these fields changed."""
    check_known(f"Configuration '{name}'", name, configs)
    chosen = configs[name]
    for field, value in (changes or {}).items():
        check_known(f"Field '{field}' of the configuration", field, [f.name for f in fields(chosen)])
        _check_kind(field, value, getattr(chosen, field))
    return replace(chosen, **(changes or {}))


def check_known(what: str, name: str, known: Iterable[str]) -> None:
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise OptionError(what, f"is not one of {', '.join(known)}",
                          f"Did you mean '{near[0]}'?" if near else "'petdiffusion methods METHOD' explains them.",
                          )  # fmt: skip


def _check_kind(field: str, value: object, default: object) -> None:
    """What is left open until the training may be of any kind, and anything may be left open."""
    wanted = _kind(default)
    if value is not None and wanted is not None and _kind(value) != wanted:
        raise OptionError(f"Field {field} = {value} of the configuration", f"is not {wanted}",
                          f"The default is {default}.")  # fmt: skip


def _kind(value: object) -> str | None:
    return next((said for types, said in _KINDS if isinstance(value, types)), None)
