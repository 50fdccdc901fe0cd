"""What filters and methods learnt on the scan itself share: the body's box alone, evened noise, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ConditionError
from ..filters import gaussian
from ..methods.contract import Case, Output
from ..progress import Run
from ..wording import an
from .mask import bounding_box
from .noise import measure
from .normalise import Anscombe

MARGIN_MM = 12.0
AIR_FWHM_MM = 8.0
"""Far from the body nothing is worth an elaborate filter: there the image is only smoothed."""
RESTORE_FWHM_MM = 30.0
CT_WINDOW = (-900.0, 300.0)


@dataclass(frozen=True)
class Frame:
    """The part of the image to filter. Axes are (z, y, x); `noise` is the SD of the noise in `array`."""

    array: np.ndarray
    noise: float
    spacing: tuple[float, float, float]
    body: np.ndarray
    box: tuple[slice, slice, slice]

    def voxels(self, millimetres: float) -> tuple[int, int, int]:
        """A length in whole voxels along each axis; 0 along an axis of one voxel."""
        return tuple(round(millimetres / s) if n > 1 else 0 for s, n in zip(self.spacing, self.array.shape))

    @property
    def relative_spacing(self) -> tuple[float, float, float]:
        """Spacing over its geometric mean."""
        mean = float(np.prod(self.spacing)) ** (1 / 3)
        return tuple(s / mean for s in self.spacing)


Core = Callable[[Frame], np.ndarray]


def filtered(case: Case, run: Run, core: Core, stabilise: bool = False) -> Output:
    """Runs `core` on the body's box and pastes its result back; an image without noise is left as it is."""
    run.check()
    if not case.noise > 0:
        run.progress(1.0)
        return Output(case.pet)
    frame = framed(case)
    inner = _stabilised(case, frame, core) if stabilise else core(frame)
    run.check()
    result = _pasted(case.pet.array, inner, frame)
    run.progress(1.0)
    return Output(case.pet.with_array(result))


def framed(case: Case) -> Frame:
    spacing = case.pet.geometry.spacing[::-1]
    box = bounding_box(case.body, tuple(int(np.ceil(MARGIN_MM / s)) for s in spacing))
    return Frame(np.ascontiguousarray(case.pet.array[box]), float(case.noise), spacing, case.body[box], box)


def _stabilised(case: Case, frame: Frame, core: Core) -> np.ndarray:
    """Averaging under the root biases the level, so what is missing on the scale of centimetres is added back."""
    even, root = evened(case, frame)
    if root is None:
        return core(frame)
    result = root.inverse(core(even))
    return result + smooth(frame.array - result, RESTORE_FWHM_MM, frame.spacing)


def evened(case: Case, frame: Frame) -> tuple[Frame, Anscombe | None]:
    """PET noise grows with activity; under a root it is even, with SD 1. A scan without such noise stays as it is."""
    root = _root(case)
    return (frame, None) if root is None else (replace(frame, array=root.forward(frame.array), noise=1.0), root)


def _root(case: Case) -> Anscombe | None:
    """The noise model fitted to the image, scaled so that its typical SD is the case's."""
    found = measure(case.pet, case.body)
    gain, offset = found.line()
    level = float(np.median(gain * np.maximum(found.means, 0) + offset)) if found.means.size else 0.0
    if gain <= 0 or level <= 0:
        return None
    factor = case.noise ** 2 / level
    return Anscombe(gain * factor, offset * factor)


def smooth(array: np.ndarray, fwhm_mm: float, spacing: tuple[float, float, float]) -> np.ndarray:
    """Gaussian of a width in millimetres; keeps the sum, as the image is mirrored at its ends."""
    return gaussian(array, fwhm_mm, spacing, mode="reflect", truncate=3.5)


def _pasted(whole: np.ndarray, inner: np.ndarray, frame: Frame) -> np.ndarray:
    """The filtered box, fading within its margin into the smoothed air around it."""
    if inner.shape == whole.shape:
        return inner
    result = smooth(whole, AIR_FWHM_MM, frame.spacing)
    weight = np.ones((1, 1, 1), np.float32)
    for axis, (part, size, spacing) in enumerate(zip(frame.box, whole.shape, frame.spacing)):
        ramp = _ramp(part, size, max(1, int(MARGIN_MM / 2 / spacing)))
        weight = weight * ramp.reshape([-1 if a == axis else 1 for a in range(3)])
    outer = result[frame.box]
    outer += weight * (inner - outer)
    return result


def _ramp(part: slice, size: int, width: int) -> np.ndarray:
    """1 inside, falling to 0 over `width` voxels at each end that is not the image's own end."""
    steps = np.arange(part.stop - part.start, dtype=np.float32)
    ramp = np.ones_like(steps)
    if part.start > 0:
        ramp = np.minimum(ramp, (steps + 0.5) / width)
    if part.stop < size:
        ramp = np.minimum(ramp, (steps[::-1] + 0.5) / width)
    return ramp


def anatomy_of(case: Case, choice: str, needed: bool) -> np.ndarray | None:
    """CT (HU cut to soft tissue, lung and bone) or MR, scaled to SD 1 in the body. `auto`: MR before CT, since
    who has an MR has it for its contrast in soft tissue."""
    image = {"ct": case.ct, "mr": case.mr}.get(choice, case.mr or case.ct)
    if image is None:
        if needed:
            name = "CT or MR" if choice == "auto" else choice.upper()
            raise ConditionError(f"{name} is missing", "this method takes the borders of organs from it",
                                 f"Give {an(name)}, or use a method that needs none.")
        return None
    array = np.clip(image.array, *CT_WINDOW) if image is case.ct else image.array
    values = array[case.body] if case.body.any() else array
    spread = float(np.std(values, dtype=np.float64)) or 1.0
    return (array - np.float32(np.mean(values, dtype=np.float64))) / np.float32(spread)
