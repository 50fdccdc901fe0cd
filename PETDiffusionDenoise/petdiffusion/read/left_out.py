"""What a file says of the scan and cannot be read costs itself: there is an image without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import InputError, UnitError

if TYPE_CHECKING:
    from ..progress import Run


def if_readable(asked: Callable[[], float | None], run: Run | None, unnamed: str = "") -> float | None:
    """The number, or None where it is damaged or there are several, which is told, without the file's name."""
    try:
        return asked()
    except (InputError, UnitError) as error:
        if run is not None:
            run.warn(f"{error.what.removeprefix(unnamed)}: {error.why}. It is left out.")
        return None
