"""How many samples are drawn of those asked for, and what is said where they can show nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import registry
from ..progress import Run

LITTLE = 0.1
"""Of the data's own SD: noise that leaves next to nothing of what a mean leaves open."""


def drawn(options: Mapping[str, Any], trained_mean: bool = True) -> int:
    """One sample alone has no spread: it is drawn only where it is shown, or is all that a mean is made of."""
    if options["estimate"] == "sample" or not trained_mean:
        return max(options["samples"], 1)
    return options["samples"] if options["samples"] > 1 else 0


def tell(method: str, options: Mapping[str, Any], run: Run, trained_mean: bool = True) -> None:
    """Where one sample was asked for, and none is drawn."""
    run.check()
    if options["samples"] == 1 and drawn(options, trained_mean) == 0:
        run.warn("One sample gives no uncertainty map and no intervals, so none was drawn. Give two or more samples "
                 f"({_usual(method, 'samples')} are usual), or samples = 0 to do without.")  # fmt: skip


def tell_of_no_spread(method: str, options: Mapping[str, Any], sigmas: Sequence[float], sigma_data: float, run: Run
                      ) -> None:  # fmt: skip
    """Chains begin at a mean that was trained, the same for all: they differ by the noise of the levels below it."""
    run.check()
    if drawn(options) > 1 and max(sigmas[1:], default=0.0) <= LITTLE * sigma_data:
        run.warn(f"With steps = {options['steps']} every sample is next to the mean itself: the uncertainty map and "
                 f"the intervals mean nothing. Give more steps ({_usual(method, 'steps')} are usual), or samples = 0 "
                 "to do without.")  # fmt: skip


def _usual(method: str, option: str) -> Any:
    return registry.card(method).option(option).default
