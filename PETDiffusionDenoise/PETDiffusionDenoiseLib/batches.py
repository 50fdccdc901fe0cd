"""A batch over files in a child process: rows as a manifest, its lines as they come, its summary as a table."""

from __future__ import annotations

import csv
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from petdiffusion import registry
from petdiffusion.errors import InputError, OptionError

from . import backend, tables
from .child_job import ChildJob
from .process import Failure

MANIFEST = "rows.csv"
FILES = frozenset({"pet", "ct", "mr", "labels", "lesions", "reference"})
BY_CASE = ("pet", "ct", "mr", "labels", "lesions", "reference", "dose_fraction", "weight_kg", "text")
"""Columns of a manifest: they differ from patient to patient."""
MISSING = ("NAType", "NaTType")
"""What pandas has in an empty cell, beside NaN."""
Say = Callable[[str], None]
Rows = list[dict[str, Any]]


class FolderJob(ChildJob):
    """A job whose results stay in a folder of the user's: cancelled, the same call goes on with what is left."""

    kept_by_cancel = "What is done stays in the folder, and the same again goes on from there."

    def __init__(self, out: str | Path, python: backend.Backend | None, say: Say | None = None) -> None:
        super().__init__(python)
        self._folder = Path(out).expanduser().absolute()
        for signal in (self.stage, self.warning, self.log) if say is not None else ():
            signal.connect(say)

    def start(self) -> None:
        self._begin(self._words)

    def _words(self) -> list[str]:
        raise NotImplementedError


class BatchJob(FolderJob):
    """Runs one manifest. `ended` gets the rows of the summary, a Failure, or None for a batch that was cancelled."""

    outcome: Rows | Failure | None

    def __init__(self, manifest: str | Path | Iterable[Mapping[str, Any]], out: str | Path, method: str,
                 python: backend.Backend | None, say: Say, show: bool, given: Mapping[str, Any]) -> None:
        super().__init__(out, python, say)
        self._show, self._settings = show, _setting_words(method, given)
        self._rows = None if isinstance(manifest, (str, Path)) else _rows(manifest)
        self._file = Path(manifest).expanduser().absolute() if self._rows is None else None

    def _words(self) -> list[str]:
        """Rows are handed over in a file of their own, which is gone with the batch: the output folder is the user's,
        and may well hold a manifest."""
        file = self._file
        if file is None:
            file = self._scratch / MANIFEST
            _write(self._rows, file)
        return ["batch", str(file), "--out", str(self._folder), "--json-lines", *self._settings]

    def _bring_in(self, result: Mapping[str, Any]) -> Rows:
        rows = list((result.get("tables") or {}).get("summary") or ())
        if self._show and rows:
            tables.add_table(rows, f"Batch {self._folder.name}")
        return rows


def _rows(given: Iterable[Mapping[str, Any]]) -> Sequence[Mapping[str, str]]:
    """The cells that say something, as text; paths as they are meant from the script's working directory."""
    rows = [given] if isinstance(given, Mapping) else list(given)
    if isinstance(given, Mapping) or not all(isinstance(row, Mapping) for row in rows):
        raise InputError("The manifest", "is not a list of rows", "Give a CSV file, or a list with one dict for each "
                         "case; of a pandas table that is table.to_dict('records').")
    if not rows:
        raise InputError("The manifest", "has no rows", "Give at least one row with 'pet'.")
    for value in (value for row in rows for value in row.values()):
        if hasattr(value, "IsA"):
            raise InputError(f"The manifest's '{value.GetName()}'", "is a node, and a batch reads files",
                             "Give the path of a file or DICOM folder, or call denoise for each node.")
    return [{key: _cell(key, value) for key, value in row.items() if not _is_missing(value)} for row in rows]


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in MISSING or (isinstance(value, numbers.Real) and value != value)


def _cell(column: str, value: Any) -> str:
    """The manifest is read from another folder than the script's; and pandas makes a column of whole numbers with an
    empty cell one of floats, so a seed 3 would be 3.0."""
    text = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
    return str(Path(text).expanduser().absolute()) if column in FILES and text else text


def _write(rows: Sequence[Mapping[str, str]], file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)


def _setting_words(method: str, given: Mapping[str, Any]) -> list[str]:
    if wrong := next((name for name in BY_CASE if given.get(name) is not None), ""):
        raise OptionError(f"{wrong} for a whole batch", "differs from patient to patient",
                          f"Give it in the manifest, in a column '{wrong}'.")
    flags = ("model", "seed", "device", "unit", "format", "engine", "address", "workers")
    return setting_words(method, given, flags, ("overwrite", "no_report"))


def setting_words(method: str, given: Mapping[str, Any], flags: Sequence[str], switches: Sequence[str]) -> list[str]:
    """The method, what the command line has a word for, and the method's own options: all the rest."""
    rest, words = dict(given), ["--method", method]
    for flag in flags:
        value = rest.pop(flag, None)
        if value is not None:
            words.append(f"--{flag.replace('_', '-')}={value}")
    for switch in switches:
        if rest.pop(switch, False):
            words.append(f"--{switch.replace('_', '-')}")
    options = {**(rest.pop("options", None) or {}), **rest}
    registry.card(method).resolve(options)
    return words + backend.option_words(options)
