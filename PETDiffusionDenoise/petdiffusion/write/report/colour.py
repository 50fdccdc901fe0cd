"""Grey scales, colours and picture files: numbers to pixels and nothing else."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

SUV_TOPS = (0.5, 1, 1.5, 2, 3, 4, 5, 7, 10, 12, 15, 20, 25, 30, 40, 50)
DIVERGING = ("#08306b", "#2f6db3", "#9cc4e4", "#ffffff", "#f4b49c", "#cf4a3d", "#7a0a17")
SEQUENTIAL = ("#ffffff", "#fdebc8", "#fbc16f", "#f0853a", "#c8471d", "#7a1f0a")
GREY = ("#ffffff", "#000000")
"""Inverted, as nuclear medicine reads: hot is black."""


@dataclass(frozen=True)
class Scale:
    """Values from low to high, shown through these colours."""

    low: float
    high: float
    colours: tuple[str, ...]
    label: str

    def indices(self, values: np.ndarray) -> np.ndarray:
        span = max(self.high - self.low, 1e-30)
        return np.clip((values - self.low) * (255.0 / span) + 0.5, 0, 255).astype(np.uint8)

    def palette(self) -> bytes:
        anchors = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in self.colours], float)
        where = np.linspace(0, len(anchors) - 1, 256)
        channels = [np.interp(where, np.arange(len(anchors)), anchors[:, c]) for c in range(3)]
        return np.rint(np.stack(channels, axis=1)).astype(np.uint8).tobytes()

    def css(self) -> str:
        return f"linear-gradient(to right, {', '.join(self.colours)})"


def grey_scale(top: float, quantity: str) -> Scale:
    return Scale(0.0, top, GREY, quantity)


def round_up(value: float, suv: bool) -> float:
    """A round upper end at or above the value: a clinical SUV window, or 1, 2, 5 x 10^n."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    if suv and value <= SUV_TOPS[-1]:
        return float(next(top for top in SUV_TOPS if top >= value * 0.98))
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.98)


def png(values: np.ndarray, scale: Scale) -> str:
    """A data URI. Grey scales become grey files, colours a palette."""
    indices = scale.indices(values)
    if scale.colours == GREY:
        return _uri(Image.fromarray(255 - indices), "PNG", optimize=False, compress_level=7)
    picture = Image.fromarray(indices).convert("P")
    picture.frombytes(indices.tobytes())
    picture.putpalette(scale.palette())
    return _uri(picture, "PNG", compress_level=7)


def jpeg(grey: np.ndarray, quality: int = 80) -> str:
    return _uri(Image.fromarray(np.ascontiguousarray(grey)), "JPEG", quality=quality)


def resized(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """Interpolated in the values themselves, before any window is applied."""
    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))


def _uri(picture: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
