"""Names of structures as label maps spell them, as words of a prompt, and merged into fewer words.

Structures come in the order of their area. A merged one stands where its largest member stood.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

SIDES = ("left", "right")
PLURALS = {"kidney": "kidneys", "lung": "lungs", "hip": "hips", "autochthon": "autochthonous muscles",
           "scapula": "scapulae", "clavicula": "claviculae", "femur": "femora", "humerus": "humeri",
           "gluteus maximus": "gluteus maximus muscles", "gluteus medius": "gluteus medius muscles",
           "gluteus minimus": "gluteus minimus muscles", "iliopsoas": "iliopsoas muscles"}  # fmt: skip
"""Both sides in one word, where an added s would not do."""
WORDS = {"autochthon": "autochthonous muscle", "iliac vena": "iliac vein", "urinary bladder": "bladder"}
_SPINE = "CTLS"
_COUNT = {"C": 7, "T": 12, "L": 5, "S": 1}
_VERTEBRA = re.compile(r"vertebrae_([CTLS])(\d+)")
_RIB = re.compile(r"rib_(left|right)_(\d+)")
_LOBE = re.compile(r"lung_(?:(upper|middle|lower)_lobe_)?(left|right)")


@dataclass(frozen=True)
class Part:
    """One structure, or several alike: `kind` is rib, vertebra, lobe or organ; numbers are ribs or places in the spine,
    counted from C1."""

    kind: str
    stem: str
    sides: frozenset[str] = frozenset()
    numbers: frozenset[int] = frozenset()

    @property
    def words(self) -> str:
        if self.kind == "vertebra":
            return _vertebrae(sorted(self.numbers))
        side = next(iter(self.sides)) + " " if len(self.sides) == 1 else ""
        if self.kind == "rib":
            return f"{side}{_ribs(sorted(self.numbers))}"
        if len(self.sides) == 2:
            return PLURALS.get(self.stem) or _plural(WORDS.get(self.stem, self.stem))
        return f"{side}{WORDS.get(self.stem, self.stem)}"


def parsed(name: str) -> Part:
    """Of any name; what is not known keeps its words."""
    name = name.strip()
    if match := _VERTEBRA.fullmatch(name):
        return Part("vertebra", "vertebra", numbers=frozenset({_place(match[1], int(match[2]))}))
    if match := _RIB.fullmatch(name):
        return Part("rib", "rib", frozenset({match[1]}), frozenset({int(match[2])}))
    if match := _LOBE.fullmatch(name):
        stem = f"lung {match[1]} lobe" if match[1] else "lung"
        return Part("lobe" if match[1] else "organ", stem, frozenset({match[2]}))
    words = " ".join(name.replace("_", " ").split()).lower()
    side = next((s for s in SIDES if words.endswith(f" {s}")), None)
    if side is None:
        return Part("organ", words)
    return Part("organ", words[: -len(side) - 1], frozenset({side}))


Key = Callable[[Part], object]


def _own(part: Part) -> object:
    return part


def _runs(part: Part) -> object:
    """Vertebrae together, ribs of a side together, lobes of a lung together."""
    if part.kind == "vertebra":
        return "spine"
    return ("ribs", part.sides) if part.kind == "rib" else ("lung", part.sides) if _is_lung(part) else part


def _both_sides(part: Part) -> object:
    if part.kind == "vertebra":
        return "spine"
    return "ribs" if part.kind == "rib" else "lung" if _is_lung(part) else (part.kind, part.stem)


LEVELS: tuple[Key, ...] = (_own, _runs, _both_sides)
"""From every structure by its own name to the fewest words."""


def merged(parts: Iterable[Part], level: int) -> list[Part]:
    """Those that are alike at this level become one, at the place of the first."""
    groups: dict[object, list[Part]] = {}
    for part in parts:
        groups.setdefault(LEVELS[level](part), []).append(part)
    return [_joined(group) for group in groups.values()]


def _joined(parts: Sequence[Part]) -> Part:
    first = parts[0]
    if len(parts) == 1:
        return first
    sides = frozenset().union(*(p.sides for p in parts))
    numbers = frozenset().union(*(p.numbers for p in parts))
    lung = _is_lung(first)
    return Part("organ" if lung else first.kind, "lung" if lung else first.stem, sides, numbers)


def _is_lung(part: Part) -> bool:
    return part.kind == "lobe" or part.stem == "lung"


def mirrored(words: str) -> str:
    """The words for the mirrored patient: left and right change places."""
    swap = {"left": "right", "right": "left"}
    return re.sub(r"\b(left|right)\b", lambda match: swap[match[0]], words)


def _plural(words: str) -> str:
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def _place(letter: str, number: int) -> int:
    return sum(_COUNT[other] for other in _SPINE[: _SPINE.index(letter)]) + number


def _label(place: int) -> str:
    for letter in _SPINE:
        if place <= _COUNT[letter]:
            return f"{letter}{place}"
        place -= _COUNT[letter]
    return f"S{place}"


def _vertebrae(places: Sequence[int]) -> str:
    if len(places) == 1:
        return f"vertebra {_label(places[0])}"
    return f"vertebrae {_label(places[0])} to {_label(places[-1])}"


def _ribs(numbers: Sequence[int]) -> str:
    return f"rib {numbers[0]}" if len(numbers) == 1 else f"ribs {numbers[0]} to {numbers[-1]}"
