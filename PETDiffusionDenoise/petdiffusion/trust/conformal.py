"""Intervals that hold what they say, by split-conformal prediction (Vovk 2005; Lei et al., JASA 2018;113:1094).

On patients that no training saw, the error of each number is measured in units of the spread of its samples,

    r = (truth - centre) / spread,      interval = centre + [r_low, r_high] x spread

where r_low and r_high are the order statistics of the calibration patients' r that leave (1 - level) / 2 on either
side, counted with n + 1: then the interval covers the truth of a new patient like these with at least that chance,
whatever the model's own spread is worth. A few samples give a poor spread, so it is drawn towards what is usual for
numbers of its family: spread^2 = (PRIOR (relative x centre)^2 + (n - 1) SD^2) / (PRIOR + n - 1). Of voxels nothing is
usual: their SDs count alone, and how widely these scatter with n is Student's t's business.

Numbers of one patient err alike, so a hundred lesions of nine patients tell less than a hundred patients would. They
are counted as so many independent numbers as their likeness leaves (`independent`), and where no order statistic of so
few reaches far enough, Student's t goes on from there.

A scanner's blur decides how far the means of thin organs are off, and a mixture of scanners hides the worst of them: so
for these numbers each scanner of the calibration is looked at by itself too, and the widest interval counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from ..errors import InputError, ModelError

LEVELS = (0.5, 0.68, 0.8, 0.9, 0.95)
PRIOR = 4.0
"""Samples' worth of what is usual for the family."""
SMALLEST = 1e-6
VOXEL = "voxel"
SIZES_ML = {"small": 1.0, "middle": 5.0, "large": math.inf}
"""Lesions below so many ml. What a method loses of a lesion depends on its size more than on anything else."""
LEAST = 20
"""Calibration numbers that a size needs for intervals of its own; fewer take those of all sizes together."""
BY_SCANNER, FEWEST_PATIENTS = ("organ_mean",), 4
"""Families of which each scanner is looked at, and the patients (beside LEAST numbers) that this asks for."""


def size_of(ml: float) -> str:
    return next(name for name, below in SIZES_ML.items() if ml < below)


def pooled(family: str) -> str:
    """`lesion_max` of `lesion_small_max`: all sizes together. Others are their own."""
    parts = family.split("_")
    return "_".join(part for part in parts if part not in SIZES_ML) if parts[0] == "lesion" else family


@dataclass(frozen=True)
class Family:
    """What was learnt of one family of numbers: `lesion_small_max`, `organ_mean`, `voxel`."""

    n: int
    """Calibration numbers."""
    relative: float
    """Usual SD of the samples, as part of the number."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    """r_low and r_high for each of `LEVELS`."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Family:
        ends = (tuple(float(v) for v in data[name]) for name in ("low", "high"))
        return cls(int(data["n"]), float(data["relative"]), *ends)


@dataclass(frozen=True)
class Calibration:
    """Of one model, by family; kept on the model's card under `results`."""

    samples: int
    """Samples that each number's spread was taken from."""
    patients: int
    data: str
    """Which patients, and whether they are simulated or real."""
    truth: str = "normal-dose scan"
    """What the intervals are for."""
    families: Mapping[str, Family] = field(default_factory=dict)
    levels: tuple[float, ...] = LEVELS
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the method, as the samples were drawn with; those that are not named were at their defaults."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Calibration:
        try:
            families = {name: Family.from_json(f) for name, f in data["families"].items()}
            levels = tuple(float(v) for v in data["levels"])
            known = {f.name for f in fields(cls)}
            if set(data) - known or any(len(f.low) != len(levels) or len(f.high) != len(levels)
                                        for f in families.values()):  # fmt: skip
                raise ValueError("unknown fields or missing levels")
            return cls(int(data["samples"]), int(data["patients"]), str(data["data"]), str(data["truth"]), families,
                       levels, dict(data.get("options", {})))  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError("The calibration of the model's uncertainty", f"cannot be read ({error})",
                             "Calibrate the model again, or remove it from the card.") from None  # fmt: skip

    def of(self, family: str) -> Family | None:
        """A size of lesions without intervals of its own has those of all sizes."""
        return self.families.get(family, self.families.get(pooled(family)))

    def interval(self, family: str, centre: float, sd: float, samples: int, level: float = 0.95
                 ) -> tuple[float, float] | None:
        """None where this family was not calibrated."""
        known = self.of(family)
        if known is None or level not in self.levels:
            return None
        i = self.levels.index(level)
        if family == VOXEL:  # in the unit that its arms were fitted in, whatever the number of samples now
            wider = _student(level, samples - 1) / _student(level, self.samples - 1)
            scale = spread(sd, 0.0, self.samples, 0.0) * wider
        else:
            scale = spread(sd, centre, samples, known.relative) * _wider(samples, self.samples, level)
        return centre + known.low[i] * scale, centre + known.high[i] * scale


def spread(sd: float, centre: float, samples: int, relative: float) -> float:
    usual = (relative * centre) ** 2
    return math.sqrt((PRIOR * usual + (samples - 1) * sd * sd) / (PRIOR + samples - 1)) + SMALLEST


def _wider(samples: int, calibrated: int, level: float) -> float:
    """Fewer samples than in calibration tell less: as Student's t does."""
    return max(_student(level, PRIOR + samples - 1) / _student(level, PRIOR + calibrated - 1), 1.0)


def _student(level: float, freedom: float) -> float:
    from scipy.special import stdtrit  # scipy.stats gives the same, and takes half a second to import

    return float(stdtrit(freedom, (1 + level) / 2))


def fit_family(truth: Sequence[float], centre: Sequence[float], sd: Sequence[float], samples: int,
               levels: Sequence[float] = LEVELS, patients: Sequence[str] | None = None,
               scanners: Sequence[str] | None = None) -> Family:  # fmt: skip
    """From calibration numbers of one family. `patients`: whose each number is; without, each is another's. With the
    `scanners` that they come from no scanner's interval is narrower than it would be by itself."""
    t, c, s = (np.asarray(v, float) for v in (truth, centre, sd))
    if not (t.shape == c.shape == s.shape) or t.size < 2 or not np.isfinite([t, c, s]).all():
        raise InputError(f"{t.size} calibration numbers", "are too few, unpaired or not finite",
                         "Give at least two numbers with their samples.")  # fmt: skip
    positive = np.abs(c) > SMALLEST
    relative = float(np.sqrt(np.median((s[positive] / c[positive]) ** 2))) if positive.any() else 0.0
    r = np.array([(a - b) / spread(d, b, samples, relative) for a, b, d in zip(t, c, s)])
    whose = np.arange(r.size) if patients is None else np.asarray(patients)
    parts = [np.ones(r.size, bool), *_scanners(whose, scanners)]
    counts = [part.sum() if patients is None else independent(r[part], whose[part]) for part in parts]
    found = np.array([[ends(r[part], level, count) for part, count in zip(parts, counts)] for level in levels])
    return Family(int(t.size), relative, tuple(found[..., 0].min(1).tolist()), tuple(found[..., 1].max(1).tolist()))


def _scanners(patients: np.ndarray, scanners: Sequence[str] | None) -> list[np.ndarray]:
    """Which numbers are of each scanner that has enough of them."""
    if scanners is None:
        return []
    parts = [np.asarray(scanners) == name for name in sorted(set(scanners) - {""})]
    return [p for p in parts if p.sum() >= LEAST and len(np.unique(patients[p])) >= FEWEST_PATIENTS]


def fit_voxels(error: np.ndarray, sd: np.ndarray, samples: int, levels: Sequence[float] = LEVELS) -> Family:
    """Intervals of equal arms around the output's voxels, so that they can be shown as one map."""
    r = np.sort(np.abs(np.asarray(error, float)) / [spread(s, 0.0, samples, 0.0) for s in np.asarray(sd, float)])
    arms = tuple(float(r[min(math.ceil((r.size + 1) * level), r.size) - 1]) for level in levels)
    return Family(int(r.size), 0.0, tuple(-a for a in arms), arms)


def conformal_ends(r: np.ndarray, level: float, count: float | None = None) -> tuple[float, float]:
    """The k-th smallest and the k-th largest of n, k = ceil((n + 1)(1 + level) / 2) counted from the other end; of n
    numbers that tell as much as `count`, k / n is what it is for so many."""
    ordered = np.sort(r)
    n, count = ordered.size, count or ordered.size
    k = min(math.ceil(round((count + 1) * (1 + level) / 2 * n / count, 9)), n)
    return float(ordered[n - k]), float(ordered[k - 1])


def ends(r: np.ndarray, level: float, count: float) -> tuple[float, float]:
    """Order statistics; of too few, the wider of these and of where one more falls if errors are normal."""
    low, high = conformal_ends(r, level, count)
    if (count + 1) * (1 + level) / 2 <= count or count < 2:
        return low, high
    half = _student(level, count - 1) * float(np.std(r, ddof=1)) * math.sqrt(1 + 1 / count)
    return min(low, float(r.mean()) - half), max(high, float(r.mean()) + half)


def independent(r: np.ndarray, patients: Sequence[str]) -> float:
    """How many independent numbers tell as much of how widely errors spread, rho their likeness within patients:
    squared, as errors of correlation rho have squares of correlation rho^2."""
    return fewer(patients, likeness(r, patients) ** 2)


def fewer(patients: Sequence[str], rho: float) -> float:
    """n / (1 + (m - 1) rho), m the numbers that a number's patient has, in the mean."""
    sizes = np.unique(np.asarray(patients), return_counts=True)[1]
    n = int(sizes.sum())
    return n / (1 + (float((sizes**2).sum()) / n - 1) * rho)


def likeness(values: np.ndarray, patients: Sequence[str]) -> float:
    """Of the values of one patient, from 0 to 1 (one-way analysis of variance)."""
    _, of, sizes = np.unique(np.asarray(patients), return_inverse=True, return_counts=True)
    n, groups = values.size, sizes.size
    if groups < 2 or groups == n:
        return 0.0
    means = np.bincount(of, values) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (groups - 1)
    within = float(((values - means[of]) ** 2).sum()) / (n - groups)
    usual = (n - float((sizes**2).sum()) / n) / (groups - 1)
    total = between + (usual - 1) * within
    return min(max((between - within) / total, 0.0), 1.0) if total > 0 else 0.0


def uncalibrated(centre: float, sd: float, samples: int, level: float = 0.95) -> tuple[float, float]:
    """Where no calibration is known: where one more sample would fall (Student's t)."""
    half = _student(level, samples - 1) * sd * math.sqrt(1 + 1 / samples)
    return centre - half, centre + half
