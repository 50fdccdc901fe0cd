"""What a report is made of. Everything it shows is in here; it computes pictures, not numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import GeometryError, InputError
from ...measure.checks import finite, same_grid
from ...volume import SUVBW, LabelMap, Volume

LOW, DENOISED, REFERENCE, SD = "Low-count", "Denoised", "Normal dose", "Uncertainty (SD)"
COLUMN = {LOW: "low", DENOISED: "denoised", REFERENCE: "reference"}
"""The name by which the tables call each image."""

QUALITY = "Quality control"
"""Heading of that table."""
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class CaseReport:
    """Images by their label (Low-count and Denoised at least), all on one grid and in one unit."""

    title: str
    images: Mapping[str, Volume]
    method: str = ""
    """In words, for the sentences: `Non-local means`."""
    body: np.ndarray | None = None
    """The patient; pictures are cut to it and the grey scale is chosen in it."""
    organs: LabelMap | None = None
    lesions: LabelMap | None = None
    image_rows: Rows = ()
    organ_rows: Rows = ()
    lesion_rows: Rows = ()
    lesion_totals: Rows = ()
    other_tables: Mapping[str, Rows] = field(default_factory=dict)
    """Tables of the method itself, by their heading."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """How the result was made, by heading: method, options, model, run, versions."""
    warnings: Sequence[str] = ()
    trust_rows: Rows = ()
    trust_facts: Mapping[str, Any] = field(default_factory=dict)
    """What the check against the scan's noise found, and with what settings; empty where it was not made."""
    interval_rows: Rows = ()
    interval_facts: Mapping[str, Any] = field(default_factory=dict)
    """Intervals of lesions' and organs' numbers, from the method's samples."""
    marked: bool = False
    """Whether the lesions are those that the method itself marked; otherwise they were given."""
    drawn: bool = False
    """Whether the organs are those that the method itself drew."""
    clinical_rows: Rows = ()
    """Lesions, their total and organs as the method itself marked them."""
    left_out_rows: Rows = ()
    """Marks of the method that it does not take for lesions, each with the reason."""
    maps: Mapping[str, Volume] = field(default_factory=dict)
    """Images that a method lays over the scan, by the heading of the table that tells of their slices."""
    masks_only: bool = False
    """The method was asked for masks alone: `Denoised` is the scan as it came."""

    def __post_init__(self) -> None:
        known = (LOW, DENOISED, REFERENCE, SD)
        for name in self.images:
            if name not in known:
                raise InputError(f"Image '{name}'", f"is not one of {', '.join(known)}", "Use these labels.")
        for name in (LOW, DENOISED):
            if name not in self.images:
                raise InputError(
                    f"Report without the image '{name}'", "it compares before and after", "Give both images."
                )
        masks = {"organs": self.organs, "lesions": self.lesions}
        same_grid({**self.images, **self.maps, **{name: mask for name, mask in masks.items() if mask is not None}})
        if len({volume.unit for volume in self.images.values()}) > 1:
            raise InputError("The report's images", "have different units", "Convert them to one unit first.")
        if self.body is not None and self.body.shape != self.low.geometry.shape:
            raise GeometryError(
                f"Body mask of shape {self.body.shape}", "does not fit the images", "Give a mask on the images' grid."
            )
        for name, volume in self.images.items():
            finite(f"The image '{name}'", volume.array)

    @property
    def low(self) -> Volume:
        return self.images[LOW]

    @property
    def denoised(self) -> Volume:
        return self.images[DENOISED]

    @property
    def reference(self) -> Volume | None:
        return self.images.get(REFERENCE)

    @property
    def scans(self) -> dict[str, Volume]:
        """The images that share the grey scale, in reading order."""
        return {name: self.images[name] for name in (LOW, DENOISED, REFERENCE) if name in self.images}

    @property
    def unit(self) -> str:
        return self.low.unit

    @property
    def quantity(self) -> str:
        """What the grey scale shows: `SUV`, or the unit where it is not one."""
        return "SUV" if self.unit == SUVBW else self.unit
