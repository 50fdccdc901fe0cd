"""The mean of all frames, denoised: it leads each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import registry
from ..batch.work import do_case
from ..errors import InputError
from ..progress import Run
from ..request import Request, read_record
from .apart import MEAN, Laid

METHOD = "led"


@dataclass(frozen=True)
class Ahead:
    """The denoised mean's folder and record."""

    folder: Path
    record: Mapping[str, Any]

    @property
    def image(self) -> Path:
        return self.folder / "denoised.nii.gz"

    @property
    def sd(self) -> Path:
        """Of methods that tell it."""
        return self.folder / "uncertainty.nii.gz"


def denoised_mean(laid: Laid, method: str, images: Mapping[str, str], settings: Mapping[str, Any], overwrite: bool,
                  run: Run) -> Ahead:  # fmt: skip
    """A whole result of its own, with tables and report; one that is done already is not done again."""
    options = registry.card(method).resolve(settings.get("options") or {})
    request = Request(pet=str(laid.mean), method=method, **{**settings, "options": options}, **images).absolute()
    folder = laid.folder / MEAN
    with run.stage("mean", "Denoising the mean of all frames"):
        row = do_case(MEAN, request.to_json(), str(folder), True, overwrite, run)
    if row["status"] in ("failed", "refused"):
        raise InputError("The mean of all frames", f"could not be denoised ({row['error'].rstrip('.')})",
                         "Run the same again once that is put right, or denoise each frame by itself (--each).")
    return Ahead(folder, read_record(folder))


def settings_of(ahead: Ahead) -> dict[str, Any]:
    given = {"lead": ahead.image, "lead_sd": ahead.sd}
    return {"options": {name: str(path.absolute()) for name, path in given.items() if path.is_file()}}
