"""A frame led by another image: fitted to it place by place (`fit`), with how sure that is (`spread`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import OptionError
from ...filters import gaussian
from ...prepare import grids
from ...progress import Run
from ...volume import Volume
from ..contract import Case, Output
from . import spread
from .fit import Fit

OWN_FWHM_MM = 6.0
FITTED = 0.3
"""Part of the progress that the fit itself takes, where samples follow."""


def denoise(case: Case, options: Mapping[str, Any], run: Run) -> Output:
    lead = _lead(case, options["lead"])
    fit = Fit(lead, options["fwhm_mm"], options["pull"], case.pet.geometry.spacing[::-1])
    run.progress(FITTED / 2)
    slope, level = fit(case.pet.array)
    made = fit.image(slope, level)
    run.progress(FITTED)
    details = {"lead": "given" if options["lead"] else "the scan itself"}
    if not options["samples"]:
        run.progress(1.0)
        return Output(case.pet.with_array(made), details=details)
    sd = spread.of_noise(case.pet, case.body, made, fit, options["samples"], run.part(FITTED, 1.0))
    if options["lead_sd"]:
        sd = np.hypot(sd, slope / np.float32(fit.scale) * _image(case, "lead_sd", options["lead_sd"]))
    details["lead_sd"] = "given" if options["lead_sd"] else "taken as sure"
    return Output(case.pet.with_array(made), case.pet.with_array(sd.astype(np.float32)), details=details)


def _lead(case: Case, path: str) -> np.ndarray:
    if not path:
        return gaussian(case.pet.array, OWN_FWHM_MM, case.pet.geometry.spacing[::-1], mode="reflect")
    return _image(case, "lead", path)


def _image(case: Case, option: str, path: str) -> np.ndarray:
    from ... import read

    image = read.image(path, "reference")
    _check(image, case.pet, f"{option} = {Path(path).name}")
    return grids.resample(image, case.pet.geometry).array


def _check(image: Volume, pet: Volume, what: str) -> None:
    covered = grids.overlap(image.geometry, pet.geometry)
    if covered < 0.99:
        raise OptionError(what, f"shows {100 * covered:.0f} % of the scan's field of view",
                          "Give an image of the same place, such as the mean of all frames.")
