"""A function of images applied patch by patch and blended: for what is no step of a chain, such as a segmentation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..diffusion.conditions import Conditions
from ..progress import Run
from .device import Policy, free_memory, make_room
from .patches import cut_conditions
from .plan import PatchRules
from .tiles import Box, Tile, Triple, body_box, holding, tiles, whole_box

MUCH = 4
"""Whole images lie where the network runs if they take less than this part of what is free there."""


def blended(function: Callable[[Conditions], Tensor], cond: Conditions, rules: PatchRules, policy: Policy, run: Run, *,
            channels: int, body: np.ndarray | None = None, fallback: Tensor | None = None) -> Tensor:  # fmt: skip
    """(channels, z, y, x) on the CPU. `function` is given the patch of the conditions, coordinates included.

    Patches of at most `rules.largest` a side; those without body are left out, there the fallback (else 0) stands.
    """
    make_room()
    shape = cond.images.shape[-3:]
    place = _place(cond.images.nbytes + (1 + (fallback is not None)) * 4 * channels * shape.numel(), policy)
    cond = cond.to(place)
    if fallback is not None:
        fallback = fallback.reshape(channels, *shape).float().to(place)
    result = torch.zeros(channels, *shape, device=place) if fallback is None else fallback.clone()
    like = torch.Size((1, channels, *shape))
    for tile in _tiles(tuple(shape), rules, body):
        run.check()
        patch = cut_conditions(cond, [tile.box], like, rules).to(policy.device)
        with torch.no_grad(), policy.autocast():
            found = function(patch)
        _add(result, tile, found[0].float().to(place), fallback)
    return result.cpu()


def _place(wanted: int, policy: Policy) -> str:
    """Where whole images are kept: on a card with much room, so that it need not wait for each patch to be fetched."""
    return policy.device if wanted < free_memory(policy.device) / MUCH else "cpu"


def _tiles(shape: Triple, rules: PatchRules, body: np.ndarray | None) -> list[Tile]:
    region: Box = whole_box(shape, rules.multiples)
    if body is not None and body.any():
        region = body_box(body, rules.margin, rules.multiples)
    size = tuple(min(rules.largest or n, n) // m * m for n, m in zip(region.size, rules.multiples))
    held = body if body is not None and body.any() else None
    return holding(tiles(region, size, rules.overlaps, rules.multiples), held)[0]


def _add(result: Tensor, tile: Tile, found: Tensor, fallback: Tensor | None) -> None:
    where = (slice(None), *tile.box.inside(result.shape[1:]))
    size = result[where].shape[1:]
    change = found[:, : size[0], : size[1], : size[2]]
    if fallback is not None:
        change = change - fallback[where]
    for axis, share in enumerate(tile.shares):
        shape = [1] * (axis + 1) + [-1] + [1] * (2 - axis)
        change = change * torch.from_numpy(share[: size[axis]]).reshape(shape).to(change.device)
    result[where] += change
