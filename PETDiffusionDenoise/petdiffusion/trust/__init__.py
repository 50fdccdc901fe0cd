"""How far a result can be believed, told from the scan alone: what the output asserts that the counts do not support.

Pure functions: `check(low, output, body, organs, lesions) -> Trust`, and `sentences` for its rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..measure.cautions import activity, cautions
from .check import Trust, check
from .findings import TOTAL, sentences
from .quality import quality_sentences

__all__ = ["Trust", "check", "checks", "sentences"]


def checks(tables: Mapping[str, Sequence[Mapping[str, Any]]], denoised: bool = True) -> list[str]:
    """What a careful reader should look at again before relying on a number. A changed total is said once."""
    once = {TOTAL} if activity(tables.get("image", ())) else set()
    doubts = [row for row in tables.get("trust", ()) if row["kind"] not in once]
    return [*cautions(tables, denoised), *sentences(doubts), *quality_sentences(tables.get("quality", ()))]
