"""How far a result can be believed, told from the scan alone: what the output asserts that the counts do not support.

Pure functions: `check(low, output, body, organs, lesions) -> Trust`, and `sentences` for its rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .check import Trust, check
from .findings import sentences
from .quality import quality_sentences

__all__ = ["Trust", "check", "said", "sentences"]


def said(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """What the tables of this room give a careful reader to look at again."""
    return [*sentences(tables.get("trust", ())), *quality_sentences(tables.get("quality", ()))]
