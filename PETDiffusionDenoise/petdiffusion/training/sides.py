"""Which sides the patches of a training may have: the network halves them, and a critic needs some room to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import OptionError
from ..progress import Run

JUDGED = 48
"""Least side of the patches that trainings on whole patients are judged by, whatever they learn from."""


@dataclass(frozen=True)
class Sides:
    multiple: int
    """That the network can halve as often as it does."""
    least: int = 1

    @classmethod
    def judged(cls, multiple: int, least: int = 1) -> Sides:
        """Where the patches of validation are at least `JUDGED`: a network that cannot halve that needs larger ones."""
        return cls(multiple, JUDGED if JUDGED % multiple else least)

    @property
    def thin(self) -> int:
        """The largest side of which a network that halves it so often may have two voxels left along an axis."""
        return 2 * self.multiple

    def check(self, patch: int) -> None:
        smallest, below = _up(self.least, self.multiple), patch // self.multiple * self.multiple
        if patch != max(below, smallest):
            near = sorted({max(side, smallest) for side in (below, below + self.multiple)})
            why = (f"is less than the smallest side that this network can learn from, {smallest}" if patch < smallest
                   else f"is not a multiple of {self.multiple}, so the network cannot halve it as often as it must")
            raise OptionError(f"patch = {patch}", why, f"Give patch={' or patch='.join(map(str, near))}.")


def check_patch(task: Any, patch: int) -> None:
    """Before patients are loaded for it, which may take minutes. A task without patches has no `sides`."""
    if (sides := getattr(task, "sides", None)) is not None:
        sides.check(patch)


def check_precision(task: Any, patch: int, chosen: str, kind: str, run: Run) -> bool:
    """Whether bfloat16 learns rightly. On processors the gradients of a 3D convolution over two voxels were whatever
    lay in the memory (oneDNN): numbers as any other, or none. Whoever chose it all the same is told."""
    sides = getattr(task, "sides", None)
    if kind != "cpu" or sides is None or patch > sides.thin:
        return True
    if chosen == "bf16-mixed":
        run.warn(f"precision = bf16-mixed: processors learn wrongly by it from patches of {patch} voxels. Leave it "
                 f"out, or give patch={sides.thin + sides.multiple} or more.")
    return False


def _up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
