"""From the tables of finished cases to the numbers that are compared: one row per case and method, and pairs of every
lesion and organ with the reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..measure.checks import or_none
from ..trust.findings import BEYOND, LESION, ORGAN, SPOTS
from ..volume import SUVBW
from ..write.tables import read_csv

LOW = "low-count"
"""The scan as it is, as if it were a method."""
LEAST_ORGAN_ML = 5.0
MASK_OF = {"organs": "labels", "lesions": "lesions", "lesion_totals": "lesions"}
"""The image of the manifest that a table rests on. Without it the numbers are of masks that a method drew itself, which
are no other method's."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Metric:
    """One number per case. `reference`: it needs a normal-dose scan."""

    key: str
    title: str
    level: str
    """whole, organ, lesion, patient, trust or cost."""
    higher_is_better: bool = False
    unit: str = ""
    reference: bool = True
    tested: bool = True
    digits: int = 2


METRICS = (
    Metric("PSNR_dB", "PSNR", "whole", True, "dB"),
    Metric("SSIM", "SSIM", "whole", True, digits=4),
    Metric("NRMSE", "NRMSE", "whole", digits=4),
    Metric("noise_percent", "Noise (local CoV)", "whole", False, "%", False, False),
    Metric("activity_percent", "Size of change of total activity", "whole", False, "%", False),
    Metric("organ_mean_percent", "Organ SUVmean, absolute error", "organ", False, "%"),
    Metric("lesion_max_percent", "Lesion SUVmax, absolute error", "lesion", False, "%"),
    Metric("lesion_peak_percent", "Lesion SUVpeak, absolute error", "lesion", False, "%"),
    Metric("lesion_mean_percent", "Lesion SUVmean, absolute error", "lesion", False, "%"),
    Metric("recovery_percent", "Contrast recovery", "lesion", True, "%", True, False),
    Metric("TLG_percent", "TLG of the patient, absolute error", "patient", False, "%"),
    Metric("doubts", "Unsupported places (spots), per scan", "trust", False, "", False, False),
    Metric("regions_changed", "Lesions and organs changed beyond the noise, per scan", "trust", reference=False,
           tested=False),
    Metric("seconds", "Time to denoise", "cost", False, "s", False, False),
)
"""Errors are absolute, means over the organs or lesions of a case. `doubts` counts places alone, `regions_changed` the
lesions and organs whose mean changed."""


WORDS = {"max": "maximum", "peak": "peak", "mean": "mean"}
"""What SUVmax, SUVpeak and SUVmean are called where no SUV is known."""


def units_of(rows: Sequence[Row]) -> list[str]:
    """Of scans, lesions or organs, in the order of the rows. What is in different units is never put together."""
    return list(dict.fromkeys(row.get("unit", SUVBW) for row in rows))


def unit_word(unit: str) -> str:
    return "SUV" if unit == SUVBW else unit


def value_word(metric: str, unit: str) -> str:
    """`SUVmax`, or `maximum (Bq/ml)`."""
    return f"SUV{metric}" if unit == SUVBW else f"{WORDS[metric]} ({unit})"


def title_of(metric: Metric, rows: Sequence[Row]) -> str:
    """Without the word SUV where a scan is in another unit: relative errors of both stand in one line."""
    title = metric.title
    for key, word in WORDS.items() if units_of(rows) != [SUVBW] else ():
        title = title.replace(f"SUV{key}", word)
    return title


@dataclass(frozen=True)
class Gathered:
    """Everything that tables and plots are made of."""

    cases: list[Row] = field(default_factory=list)
    lesions: list[Row] = field(default_factory=list)
    organs: list[Row] = field(default_factory=list)


def gathered(done: Iterable[tuple[Row, str, Path, Mapping[str, Any]]]) -> Gathered:
    """From (facts of the case, method, folder of the result, its record). The low-count scan is taken once a case."""
    found, seen = Gathered(), set()
    for facts, method, folder, record in done:
        tables = _tables(folder, record.get("request", {}))
        both = [(method, "denoised")] + ([] if facts["case"] in seen else [(LOW, "low")])
        seen.add(facts["case"])
        for name, image in both:
            row = {**facts, "method": name, **case_numbers(tables, image)}
            if image == "denoised":
                row |= {"doubts": _beyond(tables, record, SPOTS), "regions_changed": _regions(tables, record),
                        "seconds": record.get("seconds", {}).get("denoise")}  # fmt: skip
            found.cases.append(row)
            found.lesions.extend({**facts, "method": name, **r} for r in _pairs(tables, "lesions", image))
            found.organs.extend({**facts, "method": name, **r} for r in _pairs(tables, "organs", image))
    return found


def _tables(folder: Path, given: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Of a finished case, without those of masks that were not given."""
    files = sorted((folder / "tables").glob("*.csv"))
    return {p.stem: read_csv(p) for p in files if p.stem not in MASK_OF or given.get(MASK_OF[p.stem])}


def case_numbers(tables: Mapping[str, Sequence[Row]], image: str) -> Row:
    whole = next((r for r in tables.get("image", ()) if r.get("image") == image), {})
    organs = [r for r in tables.get("organs", ()) if (r.get("volume_ml") or 0) > LEAST_ORGAN_ML]
    lesions, totals = tables.get("lesions", ()), next(iter(tables.get("lesion_totals", ())), {})
    change = whole.get("activity_vs_low_percent")
    return {
        **{key: whole.get(key) for key in ("PSNR_dB", "SSIM", "NRMSE", "MAE")},
        "noise_percent": whole.get("local_noise_percent"),
        "activity_percent": None if change is None else abs(change),
        "organ_mean_percent": _error(organs, "mean", image),
        **{f"lesion_{key}_percent": _error(lesions, key, image) for key in ("max", "peak", "mean")},
        "recovery_percent": _mean(r.get(f"contrast_recovery_percent_{image}") for r in lesions),
        "TLG_percent": _relative(totals.get(f"TLG_{image}"), totals.get("TLG_reference")),
        "lesions": len(lesions),
    }


def _column(rows: Sequence[Row], metric: str) -> str:
    """`SUVmax` where the tables are in SUV, else `max`."""
    return f"SUV{metric}" if any(f"SUV{metric}_low" in r for r in rows) else metric


def _error(rows: Sequence[Row], metric: str, image: str) -> float | None:
    column = f"{_column(rows, metric)}_{image}_vs_reference_percent"
    return _mean(None if r.get(column) is None else abs(r[column]) for r in rows)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return or_none(float(np.mean(known))) if known else None


def _relative(value: float | None, reference: float | None) -> float | None:
    return None if value is None or not reference else 100 * abs(value - reference) / abs(reference)


def _beyond(tables: Mapping[str, Sequence[Row]], record: Mapping[str, Any], kinds: Sequence[str]) -> int | None:
    if not record.get("trust", {}).get("checked"):
        return None
    return sum(r["weight"] == BEYOND and r["kind"] in kinds for r in tables.get("trust", ()))


def _regions(tables: Mapping[str, Sequence[Row]], record: Mapping[str, Any]) -> int | None:
    """A filter may lower every lesion without one place that stands out. Without masks there is nothing to count."""
    kinds = [kind for kind, table in ((LESION, "lesions"), (ORGAN, "organs")) if tables.get(table)]
    return _beyond(tables, record, kinds) if kinds else None


def _pairs(tables: Mapping[str, Sequence[Row]], table: str, image: str) -> Iterable[Row]:
    """Every lesion's or organ's numbers beside the reference's, without the word SUV in their names."""
    rows = tables.get(table, ())
    name = "lesion" if table == "lesions" else "organ"
    for row in rows:
        pair: Row = {"name": row.get(name), "number": row.get("number", row.get("label")),
                     "volume_ml": row.get("volume_ml")}  # fmt: skip
        for metric in ("mean", "max", "peak"):
            column = _column(rows, metric)
            if row.get(f"{column}_reference") is not None:
                pair[metric], pair[f"{metric}_reference"] = row.get(f"{column}_{image}"), row[f"{column}_reference"]
        yield pair
