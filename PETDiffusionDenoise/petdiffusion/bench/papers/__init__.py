"""The papers: every module here defines `BENCH`. Importing them loads nothing heavy."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache

from ...errors import OptionError
from ..contract import Bench


@cache
def papers() -> dict[str, Bench]:
    modules = (importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__))
    return {module.BENCH.name: module.BENCH for module in modules}


def paper(name: str) -> Bench:
    known = {other: bench for bench in papers().values() for other in bench.also} | papers()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise OptionError(f"Benchmark '{name}'", f"is not one of {', '.join(known)}",
                          f"Did you mean '{near[0]}'?" if near else "Choose one of them.")  # fmt: skip
    return known[name]
