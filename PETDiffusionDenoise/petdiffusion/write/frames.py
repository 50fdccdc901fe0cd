"""A 4D NIfTI with a PET-BIDS sidecar, written frame by frame so that no more than one is in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..read.dynamic_times import INJECTED
from ..read.sidecar import OWN_KEY, path_of
from ..volume import Volume
from . import gzipped, images
from .staging import check_space, writing

SCAN, CORRECTED, CORRECTED_TO = "ScanStart", "ImageDecayCorrected", "ImageDecayCorrectionTime"


def write(like: Volume, arrays: Iterable[np.ndarray], count: int, target: Path, notes: Mapping[str, Any]) -> Path:
    """`arrays` (z, y, x) on the grid of `like`, whose unit and facts are those of all frames."""
    check_space(target.parent, count * like.array.nbytes)
    with writing(target):
        gzipped.write_all(_bytes(like, arrays, count, notes.get("FrameDuration")), target)
        facts = images.notes_of(like.with_facts(frame_seconds=None, frame_start_minutes=None, decay_factor=None))
        own = facts.pop(OWN_KEY)
        images.write_json({**_on_clock(facts, notes.get(INJECTED)), **notes, OWN_KEY: own}, path_of(target))
    return target


def _on_clock(facts: Mapping[str, Any], injection_s: float | None) -> dict[str, Any]:
    """What facts of a frame tell in seconds from the injection, on the clock of the frames; left out where that does
    not tell the injection, or frames are corrected for decay to moments of their own."""
    told = {key: value for key, value in facts.items() if key not in (INJECTED, SCAN, CORRECTED, CORRECTED_TO)}
    if injection_s is None or CORRECTED_TO not in facts:
        return told
    return told | {CORRECTED: True} | {key: facts[key] + injection_s for key in (SCAN, CORRECTED_TO)}


def _bytes(like: Volume, arrays: Iterable[np.ndarray], count: int, lengths: Sequence[float] | None
           ) -> Iterator[memoryview]:  # fmt: skip
    yield memoryview(_header(like, count, lengths))
    done = 0
    for array in arrays:
        yield memoryview(np.ascontiguousarray(array, np.dtype("<f4")).reshape(-1).view(np.uint8))
        done += 1
    assert done == count, f"{done} frames instead of {count}"


def _header(like: Volume, count: int, lengths: Sequence[float] | None) -> bytes:
    """A step in time stands there only where it is that of all frames."""
    image = like.to_nibabel()
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine, code=1, strip_shears=True)
    header = image.header.copy()
    header.set_data_dtype("<f4")
    header.set_data_shape((*image.shape, count))
    header.set_xyzt_units("mm", "sec" if lengths else "unknown")
    header["pixdim"][4] = lengths[0] if lengths and len(set(lengths)) == 1 else 0
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    return header.binaryblock + b"\0\0\0\0"
