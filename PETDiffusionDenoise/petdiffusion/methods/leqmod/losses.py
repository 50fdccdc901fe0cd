"""What LeqMod asks beside the squared error: regions' means and maxima, and lesions.

All images are errors or activities in standard deviations of the scan's noise, where it is: an error of one SD in the
liver counts as one in the lung.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, max_pool3d

LEAST = 1e-6


def consistency(made: Tensor, normal: Tensor, scale: Tensor, inside: Tensor, windows: Sequence[int],
                shares: Sequence[float]) -> Tensor:  # fmt: skip
    """|difference of SUVmean| + |difference of SUVmax| of regions, in SDs there, over regions that lie in the body.

    `scale` is the noise's SD at each voxel, in the images' unit.
    """
    total = made.new_zeros(())
    for window, share in zip(windows, shares):
        total = total + share * _of_regions(made, normal, scale, inside.float(), window)
    return total


def _of_regions(made: Tensor, normal: Tensor, scale: Tensor, inside: Tensor, window: int) -> Tensor:
    """Regions of so many voxels a side, each half over its neighbours."""
    def mean(image: Tensor) -> Tensor:
        return avg_pool3d(image, window, step)

    def highest(image: Tensor) -> Tensor:
        return max_pool3d(image, window, step)

    window = min(window, *made.shape[2:])
    step = (window + 1) // 2
    there, sd = mean(inside), mean(scale).clamp_min(LEAST)
    differences = (mean(made) - mean(normal)).abs() + (highest(made) - highest(normal)).abs()
    return (there * differences / sd).sum() / there.sum().clamp_min(LEAST)


def of_lesions(squared: Tensor, lesions: Tensor) -> Tensor:
    """Mean of the squared errors within each patch's lesions, over the patches that have any; none: 0."""
    mask = (lesions > 0.5).flatten(1).float()
    count = mask.sum(1)
    each = (squared.flatten(1) * mask).sum(1) / count.clamp_min(1)
    has = (count > 0).float()
    return torch.sum(each * has) / has.sum().clamp_min(1)
