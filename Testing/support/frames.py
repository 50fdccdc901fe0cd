"""Frames for the filters' own tests: an array, its noise and its spacing, without a case around them."""

import numpy as np
from petdiffusion.prepare.frame import Frame


def frame(array, noise=1.0, spacing=(1.0, 1.0, 1.0)):
    """`spacing` in the array's order (z, y, x)."""
    array = np.ascontiguousarray(array, np.float32)
    return Frame(array, noise, spacing, np.ones(array.shape, bool), tuple(slice(0, n) for n in array.shape))
