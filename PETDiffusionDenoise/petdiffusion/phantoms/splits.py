"""Which patients may be learned from: fixed by seed, so that no data set, stream or model can mix them up.

| seeds | split |
| --- | --- |
| 0 to 799,999 | train |
| 800,000 to 899,999 | validation |
| 900,000 and above | test |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError, OptionError
from ..wording import counted

VALIDATION_FROM, TEST_FROM, END = 800_000, 900_000, 1_000_000
RANGES = {"train": (0, VALIDATION_FROM), "validation": (VALIDATION_FROM, TEST_FROM), "test": (TEST_FROM, END)}
MIXED = {"train": 0.8, "validation": 0.1, "test": 0.1}
"""Shares of a data set that holds all three."""


def split_of(seed: int) -> str:
    """The split that a patient belongs to for good."""
    if seed < 0:
        raise OptionError(f"Seed {seed}", "must be a whole number from 0", "Give another seed.")
    return "train" if seed < VALIDATION_FROM else "validation" if seed < TEST_FROM else "test"


def seeds_of(split: str, n: int, first: int = 0) -> list[int]:
    """`n` seeds of a split, from its `first` on; `mixed` takes 8, 1 and 1 in ten of the three splits."""
    if split == "mixed":
        counts = {"validation": round(n * MIXED["validation"]), "test": round(n * MIXED["test"])}
        counts = {"train": n - sum(counts.values()), **counts}
        return [seed for name, count in counts.items() for seed in seeds_of(name, count, first)]
    if split not in RANGES:
        raise OptionError(f"Split '{split}'", f"is not one of {', '.join(RANGES)}, mixed", "Choose one of these.")
    low, high = RANGES[split]
    if n < 0 or first < 0 or low + first + n > high:
        raise OptionError(f"{counted(n, 'patient')} from number {first}",
                          f"cannot be had of the {split} split's {high - low} seeds",
                          "Ask for fewer, or start earlier.")
    return list(range(low + first, low + first + n))


def split_of_row(row: Mapping[str, Any]) -> str:
    """The split of a manifest's row: a digital patient's is that of its seed, whatever the row was changed to say.

    Rows of other patients (no seed, or no kind that is drawn here) are taken at their word, `train` if they say none.
    A word that is no split is an error: whoever writes `Test` or `holdout` does not mean training.
    """
    said = str(row.get("split") or "").strip().lower()
    if said not in ("", *RANGES):
        raise InputError(f"Row {row.get('id', '?')}", f"says split '{said}', which is not one of {', '.join(RANGES)}",
                         "Correct the column split, or leave it empty for training.")
    seed = str(row.get("seed") or "").strip().removesuffix(".0")  # as programs write whole numbers beside empty cells
    if row.get("kind") not in ("body", "brain") or not seed.isdecimal():
        return said or "train"
    own = split_of(int(seed))
    if said not in ("", own):
        raise InputError(f"Row {row.get('id', '?')}", f"says split {said}, but seed {seed} belongs to {own}",
                         "Splits go by seed and cannot be changed: draw patients of the split you want.")
    return own
