"""The losses of the paper by their numbers. Images are (batch, channels, z, y, x); `items` weighs each of a batch.

What an item weighs stays in every loss: means are over what counts at all, so that a batch of one that weighs a
thousandth adds a thousandth.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .config import ORGANS

FEWEST = 64
"""A class counts as if it had this many voxels at least, so that a lesion of one voxel does not rule a step."""
UNLABELLED = 255
"""Organ value of patients whose organs are not known: left out of the organs' losses."""
FOCUS = 4 / 3


def warm_up(part: float, warm_from: float | None) -> float:
    """lambda_warm (Eq. 11) at a part e / e_max of the training; e_T / e_max is `warm_from`, None leaves it at 1."""
    if warm_from is None:
        return 1.0
    return math.exp(-5 * (1 - part) ** 2) if part >= warm_from else 0.0


def class_masks(lesions: Tensor, organs: Tensor) -> tuple[Tensor, Tensor]:
    """M_1 (batch, 1, ...) of lesions and M_2... (batch, organs, ...); lesions are cut out of the organs."""
    values = torch.arange(1, len(ORGANS) + 1, device=organs.device).reshape(1, -1, 1, 1, 1)
    return lesions > 0.5, (organs.round() == values) & (lesions < 0.5)


def class_weighted(error: Tensor, lesions: Tensor, organs: Tensor, weights: tuple[float, float, float],
                   items: Tensor) -> Tensor:  # fmt: skip
    """Eqs. 5 and 7: sum over classes of w_s times the mean |error| there. `weights`: background, lesion, organ.

    The paper sums over voxels; here each class's mean is taken, so that w_s does not depend on the class's size.
    """
    lesion, organ = class_masks(lesions, organs)
    rest = ~(lesion | organ.any(1, keepdim=True))
    size, by_item = error.abs(), items.reshape(-1, 1, 1, 1, 1)
    seen = (by_item > 0).to(by_item.dtype)
    total = error.new_zeros(())
    for mask, weight in ((rest, weights[0]), (lesion, weights[1]), (organ, weights[2] / len(ORGANS))):
        if weight:
            counted = mask * by_item
            voxels = (mask * seen).sum((0, 2, 3, 4)).clamp_min(FEWEST)
            sums = (size * counted).sum((0, 2, 3, 4)) / voxels
            total = total + weight * sums.sum()
    return total


def segmentation(logits: tuple[Tensor, Tensor], lesions: Tensor, organs: Tensor, weights: tuple[float, float],
                 dice: str, items: Tensor) -> Tensor:  # fmt: skip
    """Eq. 9 with w_s of lesions and organs. Where organs are not known they are left out."""
    of_lesion, of_organs = (part.float() for part in logits)
    by_item = items.reshape(-1, 1, 1, 1, 1)
    truth = (lesions > 0.5).float()
    ce = (F.binary_cross_entropy_with_logits(of_lesion, truth, reduction="none") * by_item).mean()
    lesion = ce + dice_loss(of_lesion.sigmoid(), truth, dice, by_item)
    known = (organs < UNLABELLED - 0.5) * by_item
    if not known.any():
        return weights[0] * lesion
    classes = torch.where(organs < UNLABELLED - 0.5, organs, 0).round().long()
    ce = (F.cross_entropy(of_organs, classes[:, 0], reduction="none")[:, None] * known).sum()
    ce = ce / (known > 0).to(known.dtype).sum()
    hot = F.one_hot(classes[:, 0], len(ORGANS) + 1).movedim(-1, 1)[:, 1:].float()
    organ = ce + dice_loss(of_organs.softmax(1)[:, 1:], hot, dice, known)
    return weights[0] * lesion + weights[1] * organ


def dice_loss(probability: Tensor, truth: Tensor, kind: str, counted: Tensor | None = None) -> Tensor:
    """Mean over the channels whose class occurs (all channels if none does). `counted` is what voxels weigh: beside
    each other within Dice, which a weight of all alike would not change, and the whole by their mean.

    `printed`: the second term of Eq. 9 as it stands. Its factor (1 - P)^(4/3) makes a sure and right voxel count for
    nothing, so it is smallest at P = 3/7 or so and pulls away from certainty; the cross-entropy pulls back.
    `focal`: (1 - Dice)^(3/4), the focal form of the source that the paper cites for it.
    """
    axes = (0, 2, 3, 4)
    counted = truth.new_ones(1, 1, 1, 1, 1) if counted is None else counted
    share = counted / counted.max()
    focus = (1 - probability) ** FOCUS if kind == "printed" else torch.ones_like(probability)
    shared = 2 * (share * focus * probability * truth).sum(axes)
    both = (share * focus * probability.square()).sum(axes) + (share * truth.square()).sum(axes)
    lost = 1 - (shared + 1) / (both + 1)
    lost = lost if kind == "printed" else lost.clamp_min(1e-4) ** (1 / FOCUS)
    there = (share * truth).flatten(2).amax((0, 2)) > 0
    weight = counted.sum() / (counted > 0).sum()
    return weight * (lost[there].mean() if there.any() else lost.mean())
