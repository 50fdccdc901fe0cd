"""From samples to sentences: `SUVmax 8.1, 95 % 7.0 to 9.4`, calibrated where the model's card holds a calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..measure.rows import prefix
from ..volume import Volume
from .conformal import VOXEL, Calibration, uncalibrated
from .samples import Collector, Key

LEVEL = 0.95
CALIBRATION = "calibration"
"""Where a model card's `results` hold it."""


@dataclass(frozen=True)
class Certainty:
    """Rows for the table `intervals`, and facts for the run record."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    sd_factor: float | None = None
    """Multiplies the SD map so that 1.96 of it cover 95 %; None where that was not calibrated."""
    facts: dict[str, Any] = field(default_factory=dict)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        return {"intervals": self.rows} if self.rows else {}


def certainty(drawn: Collector, output: Volume, known: Calibration | None) -> Certainty:
    """What the samples say of the numbers, by the calibration where there is one."""
    if drawn.count < 2:
        return Certainty(facts={"samples": drawn.count})
    rows = interval_rows(drawn, drawn.numbers(output.array), known, prefix({"output": output}))
    facts: dict[str, Any] = {"samples": drawn.count, "calibrated": known is not None}
    factor = voxel_factor(known, drawn.count)
    if known is not None:
        facts |= {"calibrated_on": known.data, "calibration_patients": known.patients, "intervals_for": known.truth,
                  "sd_factor": factor}  # fmt: skip
    return Certainty(rows, factor, facts)


def calibration_of(results: Mapping[str, Any]) -> Calibration | None:
    """That of a card's `results`, if there is one."""
    return Calibration.from_json(results[CALIBRATION]) if CALIBRATION in results else None


def interval_rows(drawn: Collector, output: Mapping[Key, float], known: Calibration | None, suv: str
                  ) -> list[dict[str, Any]]:
    """A row for every number. `expected` is the mean over the samples, each of which is an image like the
    normal-dose scan; the number of the output image, a mean of images, is smoother, so its maximum is lower."""
    rows = []
    for key, (centre, sd) in sorted(drawn.spread().items()):
        found = None if known is None else known.interval(key.family, centre, sd, drawn.count, LEVEL)
        low, high = found or uncalibrated(centre, sd, drawn.count, LEVEL)
        rows.append({
            "kind": key.kind, "number": key.number, "name": key.name, "metric": f"{suv}{key.metric}",
            "denoised": output.get(key), "expected": centre, "sd": sd, "low95": low, "high95": high,
            "samples": drawn.count, "calibrated": found is not None,
        })  # fmt: skip
    return rows


def voxel_factor(known: Calibration | None, samples: int) -> float | None:
    """Multiplies the SD map so that 1.96 of it cover 95 %; None where this was not calibrated."""
    if known is None or VOXEL not in known.families:
        return None
    _, high = known.interval(VOXEL, 0.0, 1.0, samples, LEVEL)
    return high / 1.96
