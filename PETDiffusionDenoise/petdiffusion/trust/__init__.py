"""How far a result can be believed, told from the scan alone: what the output asserts that the counts do not support.

Pure functions: `check(low, output, body, organs, lesions) -> Trust`, and `sentences` for its rows.
"""

from .check import Trust, check
from .findings import sentences

__all__ = ["Trust", "check", "sentences"]
