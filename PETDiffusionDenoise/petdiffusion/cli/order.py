"""Options of several words before METHOD, which would take it for one of theirs."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

_WHERE = " (it stands best before options of several words, which take what follows for theirs)"


def explain_lack(parser: argparse.ArgumentParser) -> None:
    """Where METHOD was mistaken for a word of an option, argparse says no more than that it is required."""
    said = parser.error
    parser.error = lambda message: said(message + (_WHERE if "required: METHOD" in message else ""))


class MethodAfter(argparse.Action):
    """Gives the method back that stands after such an option's words. A folder that is called like a method stays."""

    def __init__(self, *args: Any, methods: Collection[str], extends: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._methods, self._extends = methods, extends

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Sequence[str],
                 option_string: str | None = None) -> None:  # fmt: skip
        words = list(values)
        if getattr(namespace, "method", None) is None and len(words) > 1:
            self._give_back(parser, namespace, words)
        before = getattr(namespace, self.dest) or [] if self._extends else []
        setattr(namespace, self.dest, [*before, *words])

    def _give_back(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, words: list[str]) -> None:
        found = next((word for word in words if word in self._methods and not Path(word).exists()), None)
        if found is None:
            return
        words.remove(found)
        namespace.method = found
        for action in parser._actions:
            if action.dest == "method":
                action.required = False
