"""Whether pairs of slices leave seams: jumps from pair to pair beside those within pairs."""

from __future__ import annotations

import numpy as np


def pair_seams(image: np.ndarray, body: np.ndarray, first: int = 0) -> float:
    """Mean axial step between pairs over that within pairs, in the body; 1 where nothing tells pairs apart.

    `first` is where the first pair begins.
    """
    steps = np.abs(np.diff(np.asarray(image, np.float64), axis=0))
    inside = body[1:] & body[:-1]
    within, between = (_mean(steps[first + k :: 2], inside[first + k :: 2]) for k in (0, 1))
    return between / within if within > 0 else float("nan")


def _mean(steps: np.ndarray, inside: np.ndarray) -> float:
    return float(steps[inside].mean()) if inside.any() else 0.0
