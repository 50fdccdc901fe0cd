"""Whether a CT may help to draw the masks: one of another part of the body would do harm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...progress import Run
from ..contract import Case

NO_TISSUE_HU, MOST_AIR = -950.0, 0.1
"""Less dense is no tissue, not even lung. By the outline of a PET, which is blurred, a few per cent are outside."""


def with_useful_ct(case: Case, run: Run) -> Case:
    """The case, without its CT where that shows air in more than a tenth of the body."""
    if case.ct is None or not case.body.any():
        return case
    air = float(np.mean(case.ct.array[case.body] < NO_TISSUE_HU))
    if air <= MOST_AIR:
        return case
    run.warn(f"The CT shows air in {air:.0%} of the PET's body: it is another part of the patient, or lies elsewhere. "
             "The masks are drawn from the PET alone.")  # fmt: skip
    return replace(case, ct=None)
