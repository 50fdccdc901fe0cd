"""Structure sets (RTSTRUCT) of balls and shells, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"


def structure_set(folder: Path, regions: Sequence, name: str = "rs.dcm", kinds: Sequence = ()) -> Path:
    """An RTSTRUCT; `regions` (name, contours of points in LPS millimetres)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = RTSTRUCT, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(name, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = RTSTRUCT, meta.MediaStorageSOPInstanceUID, "RTSTRUCT"
    ds.SeriesInstanceUID = generate_uid()
    ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence = [], [], []
    for number, (title, contours) in enumerate(regions, 11):
        region, drawn, about = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        region.ROINumber, region.ROIName = number, title
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        about.ReferencedROINumber = number
        about.RTROIInterpretedType = dict(kinds).get(title, "")
        for points in contours:
            contour = pydicom.Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            contour.ContourData = [f"{v:.6f}" for v in np.ravel(points)]
            drawn.ContourSequence.append(contour)
        for sequence, item in ((ds.StructureSetROISequence, region), (ds.ROIContourSequence, drawn),
                               (ds.RTROIObservationsSequence, about)):  # fmt: skip
            sequence.append(item)
    folder.mkdir(parents=True, exist_ok=True)
    ds.save_as(folder / name, enforce_file_format=True)
    return folder / name


def ball(radius: float, centre: Sequence[float], step: float = 3.0, axes: Sequence | None = None, hole: float = 0.0
         ) -> list[np.ndarray]:  # fmt: skip
    """Contours of a ball in planes; of a shell where there is a hole."""
    return ball_at(np.arange(-radius + step / 2, radius, step), radius, centre, axes, hole)


def ball_at(heights: Sequence[float], radius: float, centre: Sequence[float], axes: Sequence | None = None,
            hole: float = 0.0) -> list[np.ndarray]:  # fmt: skip
    """Contours of a ball in planes so high above its centre, as far as they meet it."""
    angles = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    contours = []
    for height in heights:
        for r in (radius, hole):
            if r > abs(height):
                across = np.sqrt(r**2 - height**2)
                x, y = across * np.cos(angles), across * np.sin(angles)
                ring = np.stack([x, y, np.full_like(angles, height)], axis=1)
                contours.append(ring @ (np.eye(3) if axes is None else np.asarray(axes, float)) + centre)
    return contours
