"""What the text encoder sees in a PET (the paper's Fig. 1): the best matching structures of each slice, and where.

Grad-CAM (Selvaraju 2017): features of the image tower, each weighted by how much the match grows with it, over the
slice; what counts against the match is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...progress import Run
from ...read.totalsegmentator import TOTAL
from ...volume import ARBITRARY, Volume
from .clip import PetClip, pictures, spread, tokenized
from .prompts import BEGIN, heights_mm
from .structures import parsed

BEST = 3
SLICES = 48
"""Worked on at once."""


@dataclass(frozen=True, eq=False)
class Matches:
    """`rows` one a slice with body in it; `heat` 0 to 1 in every slice."""

    rows: list[dict[str, Any]]
    heat: Volume


def structures() -> tuple[str, ...]:
    """Every structure by itself, in the words of prompts."""
    return tuple(dict.fromkeys(parsed(name).words for name in TOTAL.values()))


def matches(clip: PetClip, pet: Volume, body: np.ndarray, run: Run | None = None) -> Matches:
    """`pet` in SUV. A score is the chance, as the encoder was trained, that the slice shows the structure."""
    words, heat = structures(), np.zeros(pet.array.shape, np.float32)
    filled = np.flatnonzero(body.any((1, 2)))
    pixel_mm = pet.geometry.spacing[1::-1]
    with torch.no_grad():
        texts = clip.read(clip.rows(tokenized([f"{BEGIN} {word}" for word in words])))[0]
    rows, heights = [], heights_mm(pet.geometry)
    for begin in range(0, len(filled), SLICES):
        if run is not None:
            run.check()
        chosen = filled[begin : begin + SLICES]
        images = pictures(torch.from_numpy(pet.array[chosen].copy()), pixel_mm)
        scores, cam = grad_cam(clip, images, texts)
        heat[chosen] = spread(cam, pet.array.shape[1:], pixel_mm).numpy()
        for z, one in zip(chosen, scores):
            rows.append({"slice": int(z), "z_mm": heights[z], **_best(one, words)})
    return Matches(rows, Volume(heat, pet.geometry, ARBITRARY))


def grad_cam(clip: PetClip, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (n, texts), and maps (n, h, w) from 0 to 1 of what makes the best few of each slice match."""
    with torch.enable_grad():
        features = clip.image.features(images).detach().requires_grad_()
        logits = clip.logits(F.normalize(clip.image.pooled(features), dim=-1), texts.detach()) + clip.bias.detach()
        logits.topk(min(BEST, logits.shape[1]), 1).values.sum().backward()
    weights = features.grad.mean((2, 3), keepdim=True)
    cam = (weights * features.detach()).sum(1).clamp(min=0)
    return logits.detach().sigmoid(), cam / cam.flatten(1).amax(1).clamp(min=1e-12)[:, None, None]


def _best(scores: Tensor, words: Sequence[str]) -> dict[str, Any]:
    value, place = scores.topk(BEST)
    found: dict[str, Any] = {}
    for number, (score, index) in enumerate(zip(value.tolist(), place.tolist()), start=1):
        found |= {f"match_{number}": words[index], f"score_{number}": round(score, 3)}
    return found
