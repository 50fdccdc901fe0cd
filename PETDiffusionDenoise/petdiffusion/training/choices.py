"""What a user may choose for a training by name: a wrong one is answered with those there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ..errors import OptionError
from ..networks.config import Config

C = TypeVar("C", bound=Config)
_LIST = ((list, tuple), "a list")
_KINDS: Mapping[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"), int: ((int,), "a whole number"), float: ((int, float), "a number"),
    str: ((str,), "a text"), Mapping: ((Mapping,), "a JSON object"), tuple: _LIST, Sequence: _LIST,
    NoneType: ((NoneType,), "null"),
}  # fmt: skip
"""By a field's type: what may be given for it, and how that is said."""


def config_of(configs: Mapping[str, C], name: str, changes: Mapping[str, Any] | None = None) -> C:
    """The configuration of this name with these fields changed."""
    check_known(f"Configuration '{name}'", name, configs)
    chosen = configs[name]
    hints = get_type_hints(type(chosen))
    for field, value in (changes or {}).items():
        check_known(f"Field '{field}' of the configuration", field, chosen.to_json())
        _check_kind(field, value, getattr(chosen, field), hints[field])
    return replace(chosen, **(changes or {}))


def check_known(what: str, name: str, known: Iterable[str]) -> None:
    known = list(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise OptionError(what, f"is not one of {', '.join(known)}",
                          f"Did you mean '{near[0]}'?" if near else "'petdiffusion methods METHOD' explains them.",
                          )  # fmt: skip


def _check_kind(field: str, value: Any, default: Any, hint: Any) -> None:
    members = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    kinds = [_KINDS[get_origin(member) or member] for member in members]
    if not any(isinstance(value, types) and (isinstance(value, bool) == (types == (bool,))) for types, _ in kinds):
        raise OptionError(f"Field {field} = {value} of the configuration",
                          f"is not {' or '.join(said for _, said in kinds)}", f"The default is {default}.")  # fmt: skip
