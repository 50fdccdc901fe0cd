"""All that prompts may say: the texts whose tokens the compact encoder keeps a row for."""

from __future__ import annotations

from collections.abc import Iterator

from ...physics.presets import SCANNERS
from ...read.totalsegmentator import TOTAL
from .metadata import AGES, SEXES
from .prompts import BEGIN
from .structures import merged, parsed

MORE = ("lung_left", "lung_right", "vertebrae", "intervertebral_discs", "quadriceps_femoris_left", "thigh muscle",
        "subcutaneous fat", "visceral fat", "skeletal muscle", "breast", "salivary gland", "lymph node", "lesion",
        "tumour", "bone marrow", "bowel", "gluteal muscles", "thymus", "uterus", "tonsil", "tongue", "eye",
        "myocardium")  # fmt: skip
"""Beside TotalSegmentator's `total`: of its other tasks, and what users write."""
TRACERS = ("FDG", "FES", "PSMA", "DOTATATE", "FAPI", "DASB", "amyloid", "fluoride", "choline", "gallium", "fluorine")
FREE = ("low-dose", "low dose PET of the", "normal dose", "full count", "with", "without", "and", "no", "whole body",
        "head", "neck", "chest", "abdomen", "pelvis", "legs", "arms up", "arms down", "minutes", "male", "female",
        "man", "woman", "scanner", "scan", "tracer", "years", "old")  # fmt: skip


def texts() -> Iterator[str]:
    names = (*TOTAL.values(), *MORE)
    for name in names:
        yield f"{BEGIN} {parsed(name).words}, "
    for level in range(3):
        yield ", ".join(part.words for part in merged(map(parsed, names), level))
    yield from (f"vertebrae {letter}{n} to" for letter, last in (("C", 7), ("T", 12), ("L", 5), ("S", 5))
                for n in range(1, last + 1))  # fmt: skip
    yield from (f"1/{n} dose," for n in range(1, 101))
    yield from (*SEXES.values(), *(name for _, name in AGES), *TRACERS, *FREE)
    yield from (scanner.title for scanner in SCANNERS.values())
