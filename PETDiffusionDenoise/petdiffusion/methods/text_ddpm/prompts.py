"""From a label map to one prompt for each axial slice: "Axial slice including liver, spleen, ..."."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...volume import Geometry, LabelMap
from .structures import LEVELS, merged, parsed

BEGIN = "Axial slice including"
MAX_TOKENS = 77
"""CLIP's, its two marks of begin and end included."""
NONE = ""
"""The prompt of a slice of which nothing is known: the network is then told nothing."""

Count = Callable[[str], int]


@dataclass(frozen=True)
class Prompt:
    """`dropped` are the words that had no room."""

    text: str
    tokens: int = 0
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Named:
    """The structures of a label map that have a name, and the values that have none."""

    areas: np.ndarray
    """Voxels (slices, structures)."""
    names: tuple[str, ...]
    unnamed: tuple[int, ...]


def structures_of(labels: LabelMap) -> Named:
    """Area of every named structure in every axial slice."""
    slices = len(labels.array)
    present = labels.present()
    named = {value: name for value, name in present.items() if labels.names.get(value, "").strip()}
    size = int(labels.array.max(initial=0)) + 1
    counts = np.stack([np.bincount(s.ravel(), minlength=size) for s in labels.array]) if slices else np.zeros((0, size))
    return Named(counts[:, list(named)], tuple(named.values()), tuple(sorted(set(present) - set(named))))


def present(areas: Sequence[int], names: Sequence[str]) -> tuple[str, ...]:
    """The structures of a slice, the largest first; equal areas in the order of the map."""
    order = sorted(range(len(names)), key=lambda i: -areas[i])
    return tuple(names[i] for i in order if areas[i] > 0)


def slice_prompts(labels: LabelMap, count: Count) -> list[Prompt]:
    """One prompt for each slice; a slice without structures has none."""
    found = structures_of(labels)
    make = lru_cache(maxsize=4096)(lambda names: fitted(names, count))
    return [make(present(areas, found.names)) for areas in found.areas]


def fitted(names: Sequence[str], count: Count) -> Prompt:
    """As many structures as have room: by their own names, else merged, else the smallest are dropped."""
    parts = [parsed(name) for name in names]
    if not parts:
        return Prompt(NONE)
    for level in range(len(LEVELS)):
        words = [part.words for part in merged(parts, level)]
        if count(written(words)) <= MAX_TOKENS:
            break
    kept = len(words)
    while kept > 1 and count(written(words[:kept])) > MAX_TOKENS:
        kept -= 1
    text = written(words[:kept])
    return Prompt(text, count(text), tuple(words[kept:]))


def written(words: Sequence[str]) -> str:
    return f"{BEGIN} {', '.join(words)}"


def heights_mm(geometry: Geometry) -> list[float]:
    """Height (towards the head) of the middle of each slice."""
    x, y, z = geometry.size
    middle = np.array([[(x - 1) / 2, (y - 1) / 2, k, 1.0] for k in range(z)])
    return [round(float(v), 3) for v in (middle @ geometry.affine.T)[:, 2]]
