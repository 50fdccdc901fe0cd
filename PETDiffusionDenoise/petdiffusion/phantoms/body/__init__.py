"""Whole-body digital patients: `draw(seed)` gives PET activity, CT, MR, organs and lesions of one person."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...progress import Run
    from ..patient import Patient


def draw(
    seed: int,
    *,
    spacing_mm: float | tuple[float, float, float] = 4.0,
    tracer: str = "FDG",
    arms: str | None = None,
    sex: str | None = None,
    lesions: int | None = None,
    field: str = "body",
    run: Run | None = None,
) -> Patient:
    """One patient from a seed; the same seed gives the same anatomy at any voxel size.

    `arms` ("up", "down"), `sex` ("F", "M") and the number of `lesions` (0 to 30) are drawn where they are not given;
    `field` is "body" (vertex to mid-thigh) or "trunk" (chin to groin).
    """
    from .make import draw_patient

    return draw_patient(
        seed, spacing_mm=spacing_mm, tracer=tracer, arms=arms, sex=sex, lesions=lesions, field=field, run=run
    )
