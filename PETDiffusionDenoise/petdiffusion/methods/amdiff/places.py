"""Where a lesion lies, in words, and which are left out because of it: bowel and brown fat glow without being ill.

A PET alone does not tell them from lesions. Organ labels tell where the bowel is, and a CT where most is fat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np

from ...errors import ConditionError, OptionError
from ...measure.segmentation import regions
from ...progress import Run
from ...volume import LabelMap
from ..contract import Case

FAT = "fat"
FAT_HU = (-190.0, -30.0)
MOST = 0.5
"""A lesion lies in fat where this part of its voxels does. Of 42 lesions of validation patients none has over 0.4."""
PHYSIOLOGICAL = ("brain", "heart", "stomach", "duodenum", "small_bowel", "colon", "kidney_left", "kidney_right",
                 "urinary_bladder", FAT)  # fmt: skip
"""Where FDG often is without disease."""


def places(lesions: LabelMap, case: Case) -> dict[int, str]:
    """By a lesion's number: the organ of the labels that most of it lies in, or fat by the CT; else nothing."""
    found = {}
    for number, box, mask in regions(lesions.array):
        organ = 0 if case.labels is None else int(np.bincount(case.labels.array[box][mask]).argmax())
        fat = FAT if case.ct is not None and _fat(case.ct.array[box][mask]) else ""
        found[number] = case.labels.names.get(organ, f"label {organ}") if organ else fat
    return found


def _fat(hu: np.ndarray) -> bool:
    return float(np.mean((hu >= FAT_HU[0]) & (hu <= FAT_HU[1]))) >= MOST


def named(text: str, case: Case) -> frozenset[str]:
    """The places of an option's text, if this case can tell them."""
    names = frozenset(part.strip() for part in text.split(",") if part.strip())
    known = set(case.labels.names.values()) if case.labels is not None else set()
    if names - {FAT} and not known:
        raise ConditionError(f"leave_out={text}", "needs organ labels", "Give --labels with those organs, or leave it.")
    if FAT in names and case.ct is None:
        raise ConditionError(f"leave_out={text}", "needs the CT to tell fat", "Give --ct, or leave fat out of it.")
    if missing := sorted(names - known - {FAT}):
        raise OptionError(f"leave_out={text}", f"names what the labels do not: {', '.join(missing)}",
                          f"Choose from: {', '.join(sorted(known))}.")  # fmt: skip
    return names


def kept(lesions: np.ndarray, where: Mapping[int, str], left_out: Collection[str]) -> tuple[np.ndarray, dict[int, str]]:
    """Lesions and places without those that lie where the user says that none is; numbers close up."""
    numbers = [number for number, name in where.items() if not name or name not in left_out]
    if numbers == list(range(1, len(where) + 1)):
        return lesions, dict(where)
    new = np.zeros(int(lesions.max(initial=0)) + 1, lesions.dtype)
    new[numbers] = np.arange(1, len(numbers) + 1)
    return new[lesions], {int(new[number]): where[number] for number in numbers}


def warn(where: Mapping[int, str], run: Run) -> None:
    """Says which regions are likely to be physiological, and how to leave them out."""
    often = Counter(name for name in where.values() if name in PHYSIOLOGICAL)
    if often:
        told = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in often.most_common())
        run.warn(f"Regions marked as lesions lie where uptake is often physiological: {told}. Look at them; "
                 f"leave_out={','.join(often)} leaves them out.")  # fmt: skip
