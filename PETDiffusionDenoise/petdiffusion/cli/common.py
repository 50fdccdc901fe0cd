"""What the commands share: image arguments, output choice, how results are said."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from .. import registry
from ..errors import OptionError
from ..request import check_device_word

TOP_ROWS = 14
SHOWN = {
    "image": ("image", "PSNR_dB", "SSIM", "NRMSE", "local_noise_percent", "liver_CoV_percent", "body_mean"),
    "organs": ("organ", "volume_ml", "SUVmean", "mean", "CoV_percent", "SUVmax", "max"),
    "lesions": ("lesion", "organ", "volume_ml", "SUVmax", "SUVmean", "SUVpeak", "TLG", "max", "mean", "peak"),
    "lesion_totals": ("lesions", "MTV_ml", "TLG"),
    "clinical": ("what", "name", "organ", "volume_ml", "SUVmean", "SUVmax", "SUVpeak", "TLG"),
    "marks_left_out": ("region", "organ", "volume_ml", "SUVmax", "why", "hottest_x_mm", "hottest_y_mm", "hottest_z_mm"),
    "summary": ("id", "status", "seconds", "PSNR_dB", "SSIM", "local_noise_percent", "liver_CoV_percent", "error"),
    "organ_errors": ("image", "organ", "bias_percent", "MAE", "RMSE", "NRMSE_image_range", "NRMSE_class_range", "SSIM"),
}
"""Columns that fit a terminal; the tables on disk have all. A name stands for its columns per image too."""
SETTINGS = ("_window", "_range")


def add_reporting(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reporting")
    group.add_argument(
        "--json-lines", action="store_true", help="one JSON object a line on standard output, for programs"
    )
    group.add_argument("--quiet", action="store_true", help="no progress on the terminal")
    group.add_argument("--debug", action="store_true", help="show the full trace of an unexpected error")


def add_method(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", metavar="M", default=registry.DEFAULT_METHOD,
                        help=f"one of {', '.join(registry.cards())} (default %(default)s)")  # fmt: skip
    parser.add_argument("--option", metavar="NAME=VALUE", action="append", default=[],
                        help="a setting of the method, repeatable; 'petdiffusion methods M' lists them")  # fmt: skip


def add_unit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--unit", choices=("SUVbw", "Bq/ml"), help="unit of the PET where its file does not say it")


def add_weight(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weight-kg", type=float, metavar="KG",
                        help="the patient's weight, for SUV from Bq/ml; goes before the file's")  # fmt: skip


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")


def check_device(wanted: str) -> None:
    """For commands that make no Request at once: no word for a device, or none that is here, is refused before work."""
    check_device_word(wanted)
    if wanted not in ("auto", "cpu"):
        from ..infer.device import pick_device

        pick_device(wanted)


def add_output(parser: argparse.ArgumentParser, help_: str = "folder for the results") -> None:
    parser.add_argument("--out", required=True, metavar="DIR", help=help_)
    parser.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run in DIR")


def options_of(method: str, pairs: Sequence[str], prefix: str = "") -> dict[str, str]:
    """The `--option` words of a method; one that is wrong is answered with one that the method has."""
    wrong = next((pair for pair in pairs if not pair.partition("=")[0] or "=" not in pair), None)
    return assignments(pairs, "" if wrong is None else f"--option {prefix}{_example(method, wrong)}")


def _example(method: str, near: str) -> str:
    """The option that was named if there is one, else the first that has a default."""
    known = [option for option in registry.card(method).options if option.default not in (None, "")]
    best = next((option for option in known if option.name == near.replace("-", "_")), known[0] if known else None)
    if best is None:
        return "NAME=VALUE"
    return f"{best.name}={str(best.default).lower() if best.kind == 'bool' else best.default}"


class Listed(argparse.Action):
    """A list with commas, of which PowerShell makes a word each."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None
                 ) -> None:  # fmt: skip
        setattr(namespace, self.dest, ",".join(values))


LISTED: dict[str, Any] = {"nargs": "+", "action": Listed}


def assignments(pairs: Sequence[str], example: str = "NAME=VALUE") -> dict[str, str]:
    """`NAME=VALUE` words as a dictionary."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise OptionError(f"Option '{pair}'", "is not of the form NAME=VALUE", f"Write for example {example}.")
        found[name.replace("-", "_")] = value
    return found


def name_alone(pair: str) -> str:
    """`csrd=folder/mine.safetensors` without the folder, for what is handed on to others."""
    key, equals, value = pair.partition("=")
    return f"{key}{equals}{PurePath(value).name}"


def shown(name: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A table cut down to what fits a terminal: chosen columns, changes in per cent left out."""
    if name not in SHOWN:
        return [dict(row) for row in rows]
    keep = [
        key
        for wanted in SHOWN[name]
        for key in dict.fromkeys(key for row in rows for key in row)
        if key == wanted or (key.startswith(f"{wanted}_") and "_vs_" not in key and not key.endswith(SETTINGS))
    ]
    return [{key: row.get(key) for key in keep} for row in rows]


def table(rows: Sequence[Mapping[str, Any]], limit: int = TOP_ROWS) -> str:
    """Rows as aligned text, numbers to three figures."""
    if not rows:
        return ""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_cell(row.get(column)) for column in columns] for row in rows[:limit]]
    widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
    words = [any(isinstance(row.get(column), str) for row in rows[:limit]) for column in columns]
    lines = [
        "  ".join(text.ljust(w) if left else text.rjust(w) for text, w, left in zip(line, widths, words)).rstrip()
        for line in [columns, *cells]
    ]
    more = [f"… {len(rows) - limit} more rows in the table on disk"] if len(rows) > limit else []
    return "\n".join(lines + more)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def said(data: Any) -> str:
    """As JSON; its own escapes where the terminal has not all letters, since the terminal's would be no JSON."""
    everything = (sys.stdout.encoding or "").lower().startswith("utf")
    return json.dumps(data, indent=2, ensure_ascii=not everything, default=str)
