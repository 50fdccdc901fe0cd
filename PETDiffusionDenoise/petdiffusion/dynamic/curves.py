"""Tables of all frames: what each lost in noise, and the activity of organs and lesions over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..read.dynamic import Time
from ..volume import SUVBW
from ..write import tables
from .apart import Laid

Row = dict[str, Any]
LESION, ORGAN = "lesion", "organ"


def frames(laid: Laid, records: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """A row a frame: when it was, how noisy it was and is, and what is to be checked."""
    return [{**_when(name, time), **_of_frame(laid, name, records.get(name))}
            for name, time in zip(laid.names, laid.times)]  # fmt: skip


def _when(name: str, time: Time) -> Row:
    return {"frame": name, "start_s": time.start_s, "seconds": time.seconds, "middle_s": time.middle_s}


def _of_frame(laid: Laid, name: str, record: Mapping[str, Any] | None) -> Row:
    if record is None:
        return {"denoised": False}
    images = {image["image"]: image for image in _table(laid, name, "image")}
    low, denoised = images.get("low", {}), images.get("denoised", {})
    return {
        "denoised": True,
        "unit": record["input"]["working_unit"],
        "body_mean_low": low.get("body_mean"),
        "body_mean_denoised": denoised.get("body_mean"),
        "local_noise_percent_low": low.get("local_noise_percent"),
        "local_noise_percent_denoised": denoised.get("local_noise_percent"),
        "model": record.get("details", {}).get("model"),
        "check": " ".join(record.get("check", [])) or None,
    }


def activity(laid: Laid) -> list[Row]:
    """A row for every region of every frame; those of a frame that was not denoised are left out."""
    rows = []
    for name, time in zip(laid.names, laid.times):
        if name in laid.empty:
            continue
        spread = {(row["kind"], row["number"]): row for row in _table(laid, name, "intervals")
                  if row["metric"] in ("SUVmean", "mean")}
        for kind, table, numbered in ((LESION, "lesions", "number"), (ORGAN, "organs", "label")):
            for row in _table(laid, name, table):
                number = row[numbered]
                rows.append({**_when(name, time), **_of_region(kind, number, row, spread.get((kind, number), {}))})
    return rows


def _of_region(kind: str, number: int, row: Row, spread: Row) -> Row:
    prefix = "SUV" if row.get("unit") == SUVBW else ""
    return {
        "kind": kind,
        "number": number,
        "region": row[kind],
        "volume_ml": row.get("volume_ml"),
        "unit": row.get("unit"),
        "mean_low": row.get(f"{prefix}mean_low"),
        "mean_noise_low": row.get(f"{prefix}mean_noise_low"),
        "mean_denoised": row.get(f"{prefix}mean_denoised"),
        "mean_low95": spread.get("low95"),
        "mean_high95": spread.get("high95"),
        "max_low": row.get(f"{prefix}max_low"),
        "max_denoised": row.get(f"{prefix}max_denoised"),
        "sd_low": row.get(f"{prefix}sd_low"),
        "sd_denoised": row.get(f"{prefix}sd_denoised"),
    }


def _table(laid: Laid, name: str, table: str) -> list[Row]:
    file = laid.folder / name / "tables" / f"{table}.csv"
    return tables.read_csv(file) if file.is_file() else []


def by_region(rows: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
    """The rows of each region in the order of time: lesions first, then organs, each by its highest mean."""
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row["kind"], row["number"]), []).append(row)
    highest = {key: max((row["mean_denoised"] or 0.0 for row in own), default=0.0) for key, own in found.items()}
    return dict(sorted(found.items(), key=lambda item: (item[0][0] != LESION, -highest[item[0]])))
