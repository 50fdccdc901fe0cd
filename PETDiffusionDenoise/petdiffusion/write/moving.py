"""Files into their place, also on Windows, where nothing moves that another program has open.

Virus scanners and indexers open every new file there for a moment; spreadsheets keep theirs as long as they show it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..errors import OutputError
from .reasons import OPEN, in_use

PATIENCE_S, PAUSE_S = 5.0, 0.05
KEPT = "new-results"


def replace(source: Path, target: Path, patience_s: float = PATIENCE_S) -> None:
    """`os.replace`, again and again for a while where another program is in the way."""
    pause, until = PAUSE_S, time.monotonic() + patience_s
    while True:
        try:
            os.replace(source, target)
            return
        except OSError as error:
            if not in_use(error) or time.monotonic() + pause > until:
                raise
        time.sleep(pause)
        pause *= 2


def check_free(files: Iterable[Path]) -> None:
    """Refuse now what Windows would not let be replaced after the work."""
    for file in files if sys.platform == "win32" else ():
        try:
            with file.open("r+b"):
                pass
        except FileNotFoundError:
            continue
        except PermissionError:
            raise OutputError(f"{file} cannot be replaced", *OPEN) from None


def kept(staged: Path, folder: Path) -> Path | None:
    """Results of hours that cannot go to their place, in a folder of their own there; None where not even that goes."""
    number = 1
    while (place := folder / (KEPT if number == 1 else f"{KEPT}-{number}")).exists():
        number += 1
    with suppress(OSError):
        replace(staged, place)
        return place
    return None


def told(failed: OutputError, place: Path) -> OutputError:
    return OutputError(failed.what, failed.why, f"The whole new result is in the folder {place.name} beside it: close "
                       "the other program and move it yourself, or run again.")  # fmt: skip
