"""English that follows a number or a word."""

from __future__ import annotations

_SPOKEN_WITH_A_VOWEL = "AEFHILMNORSX"
_LONGEST_SPELLED = 3
"""Letters of an abbreviation that is spelled, as MR is and LABELS not."""


def counted(number: int, thing: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def an(word: str) -> str:
    """`an MR`, `a CT`, `an image`."""
    spelled = word.isupper() and len(word) <= _LONGEST_SPELLED
    vowel = word[:1] in _SPOKEN_WITH_A_VOWEL if spelled else word[:1].lower() in "aeio"
    return f"{'an' if vowel else 'a'} {word}"
