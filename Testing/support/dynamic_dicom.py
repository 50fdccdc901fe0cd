"""A DICOM PET of many frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import generate_uid

from support import dicom_factory as factory


def dynamic(folder: Path, count: int = 3, shuffled: bool = True, vendor: str = "Siemens",
            **edits: Callable[[int, int], Any]) -> tuple[Path, list[factory.Series]]:  # fmt: skip
    """In Bq/ml. The files of a frame do not lie together, and its name does not tell its order; `edits` give a header
    field by frame and slice. Returns the folder, and the frames in their order."""
    uid, grid, made = generate_uid(), factory.grid((3, 6, 7)), []
    order = list(range(count))
    if shuffled:
        order = order[1:] + order[:1]
    for place, number in enumerate(order):
        values = factory.activity(grid.shape, seed=number) * (number + 1)

        def edit(ds: Dataset, k: int, number: int = number) -> None:
            ds.SeriesInstanceUID = uid
            ds.AcquisitionTime, ds.SeriesTime = f"1030{10 * number:02d}", "103000"
            ds.ActualFrameDuration, ds.FrameReferenceTime = 10000, str(5000 + 10000 * number)
            ds.DecayFactor = f"{2 ** ((10 * number + 5) / factory.HALF_LIFE_S):.8f}"
            for keyword, shown in edits.items():
                setattr(ds, keyword, shown(number, k))

        series = factory.pet(folder / "series" / str(place), vendor, values=values, geometry=grid, edit=edit)
        made.append((number, series))
    return folder / "series", [series for _, series in sorted(made, key=lambda pair: pair[0])]
