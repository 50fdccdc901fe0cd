"""Images and label maps in: DICOM, NIfTI, NRRD, MetaImage and images already in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..progress import Run
    from ..volume import LabelMap, Volume
    from .dynamic import Frames

ROLES = ("pet", "ct", "mr", "reference")
ORGANS, LESIONS = "organ label map", "lesion mask"
"""What a label map is called by what it is used for."""


def image(source: Any, role: str = "pet", *, unit: str | None = None, weight_kg: float | None = None,
          run: Run | None = None) -> Volume:  # fmt: skip
    """Read an image as what it is used for: `pet`, `ct`, `mr` or `reference` (a PET to compare with).

    `source` is a file, a DICOM folder, one file of a DICOM series, a SimpleITK or nibabel image, or a Volume.
    `unit` says what the values are where the image itself does not; a contradiction is refused.
    `weight_kg` of a PET is the patient's weight: it goes before the file's, and a contradiction is told.
    Doubts worth telling go to `run.warn`.
    """
    from .sources import image as read

    return read(source, role, unit=unit, weight_kg=weight_kg, run=run)


def labels(source: Any, *, totalsegmentator: bool = False, allow_empty: bool = True, only: Sequence[str] = (),
           called: str = "label map", run: Run | None = None) -> LabelMap:  # fmt: skip
    """Read a label map with the names that come with it.

    `totalsegmentator` names unnamed values by TotalSegmentator's `total` task; a map of background only is
    refused without `allow_empty` (a lesion map may well be empty, an organ map not). `only` names the structures to
    take; each is whole where others of the file overlap it. What overlaps take from a structure, and a header that does
    not say where the map lies, goes to `run.warn`, where the map is `called` what it is used for.
    """
    from .label_maps import labels as read

    return read(source, totalsegmentator=totalsegmentator, allow_empty=allow_empty, only=only, called=called, run=run)


def frames(source: Any, *, unit: str | None = None, weight_kg: float | None = None, run: Run | None = None) -> Frames:
    """The frames of a dynamic or gated PET: a 4D file (3D Slicer's sequences too) or the DICOM series of all frames.

    Units and facts are each frame's own; where only some frames tell the way to SUV it serves all.
    """
    from .dynamic import frames as read

    return read(source, unit=unit, weight_kg=weight_kg, run=run)
