"""log.csv, and TensorBoard where it is installed: what a training was at every step that its checkpoint holds."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from ..write import moving
from ..write.staging import writing

LOG = "log.csv"


class Log:
    """What a killed training wrote after its checkpoint, at `step`, is taken back: those steps come again."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / LOG
        written = rows_of(folder)
        self.rows = [row for row in written if (row.get("step") or "").isdecimal() and int(row["step"]) <= step]
        if len(self.rows) < len(written):
            self._rewrite()
        self.writer = _tensorboard(folder, step)

    def write(self, row: dict[str, Any]) -> None:
        fits = bool(self.rows) and list(self.rows[0]) == list(row)
        self.rows.append(row)
        if fits:
            with writing(self.path), self.path.open("a", newline="", encoding="utf-8") as stream:
                csv.DictWriter(stream, row).writerow(row)
        else:  # the first one, or other patients give other numbers
            self._rewrite()
        for name, value in row.items():
            if self.writer is not None and name != "step":
                self.writer.add_scalar(name, value, row["step"])

    def _rewrite(self) -> None:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        self.rows = [{name: row.get(name, "") for name in columns} for row in self.rows]
        aside = self.path.with_name(f".{LOG}.partial")
        with writing(self.path):
            with aside.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, columns)
                writer.writeheader()
                writer.writerows(self.rows)
            moving.replace(aside, self.path)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


def rows_of(folder: Path) -> list[dict[str, str]]:
    """None where nothing was judged yet."""
    try:
        with (folder / LOG).open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))
    except FileNotFoundError:
        return []


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
