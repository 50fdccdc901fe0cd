"""A batch over files in a child process: rows as a manifest, its lines as they come, its summary as a table."""

from __future__ import annotations

import csv
import numbers
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from petdiffusion import registry
from petdiffusion.errors import InputError, OptionError

from . import backend, jobs, tables
from .process import BackendProcess, Ending, Failure
from .signals import Signal

MANIFEST = "rows.csv"
FILES = frozenset({"pet", "ct", "mr", "labels", "lesions", "reference"})
BY_CASE = ("pet", "ct", "mr", "labels", "lesions", "reference", "dose_fraction", "weight_kg", "text")
"""Columns of a manifest: they differ from patient to patient."""
MISSING = ("NAType", "NaTType")
"""What pandas has in an empty cell, beside NaN."""
Say = Callable[[str], None]
Rows = list[dict[str, Any]]


class BatchJob:
    """Runs one manifest. `ended` gets the rows of the summary, a Failure, or None for a batch that was cancelled."""

    def __init__(self, manifest: str | Path | Iterable[Mapping[str, Any]], out: str | Path, method: str,
                 python: backend.Backend | None, say: Say, show: bool, given: Mapping[str, Any]) -> None:
        self.ended = Signal()
        self.outcome: Rows | Failure | None = None
        self._folder, self._say, self._show = Path(out).expanduser().absolute(), say, show
        self._settings = _setting_words(method, given)
        self._rows = None if isinstance(manifest, (str, Path)) else _rows(manifest)
        self._file = Path(manifest).expanduser().absolute() if self._rows is None else Path()
        self._backend = python or backend.chosen()
        self._scratch: Path | None = None
        self._process: BackendProcess | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def start(self) -> None:
        """Rows are handed over in a file of their own, which is gone with the batch: the output folder is the user's,
        and may well hold a manifest."""
        if self._rows is not None:
            self._scratch = jobs.new_scratch()
            self._file = self._scratch / MANIFEST
            try:
                _write(self._rows, self._file)
            except Exception:
                self._clean()
                raise
        words = ["batch", str(self._file), "--out", str(self._folder), "--json-lines", *self._settings]
        self._process = BackendProcess(self._backend.command(words, str(self._scratch or "-")),
                                       self._backend.environment(), self._on_event, self._say, self._on_end)
        self._process.start()

    def poll(self) -> bool:
        return self._process is not None and self._process.poll()

    def cancel(self) -> None:
        """The cases that are done stay; the same call goes on after them."""
        if self._process is not None:
            self._process.cancel()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def wait(self, pump: Callable[[], None] = lambda: None) -> Rows | Failure | None:
        if self._process is not None:
            self._process.wait(pump)
        return self.outcome

    def _on_event(self, event: Mapping[str, Any]) -> None:
        if event["event"] in ("stage", "warning"):
            self._say(str(event.get("text", "")))

    def _clean(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _on_end(self, ending: Ending) -> None:
        self._clean()
        self.outcome = ending.failure
        if ending.result is not None:
            self.outcome = list((ending.result.get("tables") or {}).get("summary") or ())
            if self._show and self.outcome:
                tables.add_table(self.outcome, f"Batch {self._folder.name}")
        self.ended.emit(self.outcome)


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
    rest, words = dict(given), ["--method", method]
    if wrong := next((name for name in BY_CASE if rest.get(name) is not None), ""):
        raise OptionError(f"{wrong} for a whole batch", "differs from patient to patient",
                          f"Give it in the manifest, in a column '{wrong}'.")
    for flag in ("model", "seed", "device", "unit", "format", "engine", "address", "workers"):
        value = rest.pop(flag, None)
        if value is not None:
            words.append(f"--{flag}={value}")
    for flag in ("overwrite", "no_report"):
        if rest.pop(flag, False):
            words.append(f"--{flag.replace('_', '-')}")
    options = {**(rest.pop("options", None) or {}), **rest}
    registry.card(method).resolve(options)
    return words + backend.option_words(options)
