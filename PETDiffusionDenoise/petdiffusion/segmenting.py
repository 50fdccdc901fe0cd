"""Masks alone: organs and lesions of a scan that is to stay as it is, such as one at the normal dose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from . import registry
from .errors import OptionError
from .progress import Run
from .request import IMAGES, IN_MEMORY, Result
from .run import denoise

METHOD = "amdiff"
ALONE = "masks_only"


def methods() -> list[str]:
    """Those that segment."""
    return [name for name, card in registry.cards().items() if ALONE in {option.name for option in card.options}]


def segment(pet: Any, method: str = METHOD, *, out: str | Path | None = None, overwrite: bool = False,
            run: Run | None = None, **settings: Any) -> Result:  # fmt: skip
    """As `denoise`, but the result's PET is the scan itself, and the numbers are of the scan."""
    if method not in methods():
        registry.card(method)
        raise OptionError(f"Method '{method}'", "makes no masks", f"Choose {' or '.join(methods())}.")
    run = run or Run()
    options = {**settings.pop("options", {}), ALONE: True}
    if out is None:
        return denoise(pet, method, run=run, options=options, **settings)
    from .write.lock import alone_in
    from .write.outputs import check_apart

    images = (settings.get(name) for name in IMAGES if name != "pet")
    check_apart([pet, *images], Path(out))
    with alone_in(Path(out)):
        return _written(denoise(pet, method, run=run, options=options, **settings), method, Path(out), overwrite, run)


def _written(result: Result, method: str, out: Path, overwrite: bool, run: Run) -> Result:
    from .write import masks

    source = result.record["request"]["pet"]
    with run.stage("write", "Writing the masks"):
        sources = [] if source == IN_MEMORY else [source]
        files = masks.write(result, sources, registry.card(method), out, overwrite, run)
    return replace(result, files=files)
