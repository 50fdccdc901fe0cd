"""What is compared: methods, and one method several times. `csrd@fast` is CSRD with options or a model of its own,
called fast."""

from __future__ import annotations

import re

from .. import registry
from ..errors import OptionError
from ..methods.contract import MethodCard

MARK = "@"
_WORD = re.compile(r"[A-Za-z0-9-]{1,40}")


def method_of(arm: str) -> str:
    return arm.partition(MARK)[0]


def card_of(arm: str) -> MethodCard:
    return registry.card(method_of(arm))


def title_of(arm: str) -> str:
    """`CSRD residual diffusion (fast)`"""
    word = arm.partition(MARK)[2]
    return card_of(arm).title + (f" ({word})" if word else "")


def check(arms: tuple[str, ...]) -> None:
    """Each named once, and by words that can be folders, which on some systems do not differ by capitals alone."""
    if len({arm.lower() for arm in arms}) != len(arms) or not arms:
        named = ", ".join(arms) or "(none)"
        raise OptionError(f"Methods {named}", "must be one or more, each named once",
                          "Name them with --methods; a method's second time has a word of its own, as csrd@fast.")
    for arm in arms:
        _, mark, word = arm.partition(MARK)
        if mark and not _WORD.fullmatch(word):
            raise OptionError(f"Method '{arm}'", "has no word of letters, digits and hyphens after '@'",
                              "Write for example csrd@fast.")  # fmt: skip
