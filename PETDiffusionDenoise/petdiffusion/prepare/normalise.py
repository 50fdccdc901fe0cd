"""Value scales of the networks, each with its exact inverse and its JSON, so a run can be undone and repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import InputError, OptionError


@dataclass(frozen=True)
class Scale:
    """y = x / by."""

    by: float

    def __post_init__(self) -> None:
        _positive("by", self.by)

    def forward(self, array: np.ndarray) -> np.ndarray:
        return _float32(np.asarray(array, np.float64) / self.by)

    def inverse(self, array: np.ndarray) -> np.ndarray:
        return _float32(np.asarray(array, np.float64) * self.by)


@dataclass(frozen=True)
class MinMax:
    """[low, high] to [0, 1]; values outside go outside, none is cut."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _positive("high - low", self.high - self.low)

    @classmethod
    def of(cls, array: np.ndarray, mask: np.ndarray | None = None) -> MinMax:
        values = _values(array, mask)
        return cls(*_apart(float(values.min()), float(values.max())))

    def forward(self, array: np.ndarray) -> np.ndarray:
        return _float32((np.asarray(array, np.float64) - self.low) / (self.high - self.low))

    def inverse(self, array: np.ndarray) -> np.ndarray:
        return _float32(np.asarray(array, np.float64) * (self.high - self.low) + self.low)


@dataclass(frozen=True)
class Percentile(MinMax):
    """MinMax between two percentiles; `lower` and `upper` record which."""

    lower: float = 0.0
    upper: float = 99.0

    @classmethod
    def of(cls, array: np.ndarray, mask: np.ndarray | None = None, lower: float = 0.0,
           upper: float = 99.0) -> Percentile:
        if not 0 <= lower < upper <= 100:
            raise OptionError(f"Percentiles {lower} and {upper}", "must rise within 0 to 100", "Use 0 and 99.")
        low, high = np.percentile(_values(array, mask), [lower, upper])
        return cls(*_apart(float(low), float(high)), lower, upper)


@dataclass(frozen=True)
class Clip:
    """Cuts at [low, high]. What was cut off is `residue`; handed to `inverse` it comes back exactly."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _positive("high - low", self.high - self.low)

    def forward(self, array: np.ndarray) -> np.ndarray:
        return _float32(np.clip(array, self.low, self.high))

    def residue(self, array: np.ndarray) -> np.ndarray:
        """x - clipped x: 0 wherever nothing was cut. Double precision, so that the sum is exact."""
        return np.asarray(array, np.float64) - self.forward(array)

    def inverse(self, array: np.ndarray, residue: np.ndarray | None = None) -> np.ndarray:
        return _float32(array if residue is None else np.asarray(array, np.float64) + residue)


@dataclass(frozen=True)
class SquareRoot:
    """y = sign(x) sqrt(|x| / unit): evens out Poisson-like noise and keeps negative values."""

    unit: float = 1.0

    def __post_init__(self) -> None:
        _positive("unit", self.unit)

    def forward(self, array: np.ndarray) -> np.ndarray:
        x = np.asarray(array, np.float64) / self.unit
        return _float32(np.sign(x) * np.sqrt(np.abs(x)))

    def inverse(self, array: np.ndarray) -> np.ndarray:
        y = np.asarray(array, np.float64)
        return _float32(y * np.abs(y) * self.unit)


@dataclass(frozen=True)
class Anscombe:
    """Noise of variance gain * mean + offset becomes noise of SD 1 (generalised Anscombe transform).

    Below the root's validity the curve goes on as its mirror image, so every value has its inverse.
    `inverse` undoes `forward`. `unbiased` is for an image that was averaged fully in between: the mean of a
    root is less than the root of the mean, E[f(x)] = 2 r / gain - gain / (4 r) with r^2 = gain m + offset.
    """

    gain: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        _positive("gain", self.gain)
        if not np.isfinite(self.offset) or self.offset < 0:
            raise OptionError(f"offset = {self.offset}", "must not be negative", "Fit it again, or use 0.")

    @property
    def _shift(self) -> float:
        return 0.375 * self.gain ** 2 + self.offset

    def forward(self, array: np.ndarray) -> np.ndarray:
        u = np.asarray(array, np.float64) * self.gain + self._shift
        return _float32(2.0 / self.gain * np.sign(u) * np.sqrt(np.abs(u)))

    def inverse(self, array: np.ndarray) -> np.ndarray:
        root = np.asarray(array, np.float64) * (self.gain / 2.0)
        return _float32((root * np.abs(root) - self._shift) / self.gain)

    def unbiased(self, array: np.ndarray) -> np.ndarray:
        half = np.asarray(array, np.float64) * (self.gain / 4.0)
        root = half + np.sign(half) * np.sqrt(half ** 2 + self.gain ** 2 / 8.0)
        return _float32((root * np.abs(root) - self._shift) / self.gain)


KINDS = {kind.__name__: kind for kind in (Scale, MinMax, Percentile, Clip, SquareRoot, Anscombe)}
Normalisation = Scale | MinMax | Percentile | Clip | SquareRoot | Anscombe


def to_json(normalisation: Normalisation) -> dict[str, Any]:
    return {"kind": type(normalisation).__name__, **asdict(normalisation)}


def from_json(data: Mapping[str, Any]) -> Normalisation:
    values = dict(data)
    kind = values.pop("kind", None)
    if kind not in KINDS:
        raise InputError(f"Normalisation '{kind}'", f"is not one of {', '.join(KINDS)}",
                         "Use the record of the run that made it.")
    try:
        return KINDS[kind](**values)
    except TypeError as error:
        raise InputError(f"Normalisation {kind}", f"has wrong settings ({error})",
                         "Use the record of the run that made it.") from None


def _float32(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, np.float32)


def _values(array: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    values = np.asarray(array) if mask is None or not np.any(mask) else np.asarray(array)[mask]
    if values.size == 0 or not np.all(np.isfinite(values)):
        raise InputError("The image", "is empty or holds values that are not numbers", "Export the image again.")
    return values


def _apart(low: float, high: float) -> tuple[float, float]:
    """A flat image has no range of its own: its values are kept as they are."""
    return (low, high) if high > low else (low, low + 1.0)


def _positive(name: str, value: float) -> None:
    if not np.isfinite(value) or value <= 0:
        raise OptionError(f"{name} = {value}", "must be a positive number", "Measure it on the image again.")
