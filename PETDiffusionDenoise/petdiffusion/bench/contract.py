"""What a benchmark is made of: tables of rows (methods) at doses, on patients of one kind. Plain data, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import OptionError
from ..phantoms.recipe import Job
from ..phantoms.splits import seeds_of, split_of

FILTERS = "@filters"
"""In a claim: every tuned filter."""
TUNING_FROM = 500
"""Validation patients of benchmarks, counted from the split's first: training watches the first ones."""


@dataclass(frozen=True)
class Metric:
    """A column: the number's name in a case's row, and which way is better."""

    key: str
    title: str
    better: str
    """high, low, or zero (a bias)."""
    digits: int = 3
    test: str = ""
    """The number that is tested instead: of a bias, its size."""

    @property
    def tested(self) -> str:
        return self.test or self.key


METRICS = (
    Metric("MAE", "MAE", "low"),
    Metric("PSNR_dB", "PSNR, dB", "high", 2),
    Metric("SSIM", "SSIM", "high"),
    Metric("H_dist", "H_dist", "low", 2),
    Metric("P_dist", "P_dist", "low"),
    Metric("lesion_SUVmean_bias", "lesion SUVmean, %", "zero", 1, "lesion_SUVmean_error"),
    Metric("lesion_SUVmax_bias", "lesion SUVmax, %", "zero", 1, "lesion_SUVmax_error"),
    Metric("small_SUVmean_bias", "small structures, %", "zero", 1, "small_SUVmean_error"),
)


@dataclass(frozen=True)
class Row:
    """A line of a table: a method and how it is run."""

    name: str
    title: str
    method: str | None = None
    """None: the low-dose scan itself."""
    options: Mapping[str, Any] = field(default_factory=dict)
    anatomy: tuple[str, ...] = ()
    """Of ct, mr, labels: what the method is given beside the PET."""
    tuned: bool = False
    """Options are those that did best on validation patients at this dose."""
    matched: str = ""
    """Name of an earlier row: a Gaussian of the width that leaves as much noise as that row does."""
    quick: bool = True
    told: bool = False
    """Of slices: given the options `counts` and `each_slice`, so that it knows the count level."""
    paper: str = ""
    """The row of the paper's table that this is set beside."""
    model: str = ""
    """Id of a model that is not the method's own choice, such as an ablation's."""


@dataclass(frozen=True)
class Dose:
    label: str
    fraction: float
    seen: bool = True
    """Whether the paper's models were trained at it."""
    counts: float = 0.0
    """Of slices: events of every kind in each."""


@dataclass(frozen=True)
class Claim:
    """Something that a table is expected to show: `first` is better than each of `others` by `margin`.

    Without others: its size is `margin` at most. `@filters` among the others stands for every tuned filter.
    """

    text: str
    metric: str
    first: str
    others: tuple[str, ...] = ()
    margin: float = 0.0
    statistic: str = "mean"
    """mean or median over the scans."""


@dataclass(frozen=True)
class Table:
    name: str
    title: str
    kind: str
    tracer: str
    preset: str
    spacing_mm: float
    doses: tuple[Dose, ...]
    rows: tuple[Row, ...]
    champion: str
    """The row that the others are tested against."""
    quick_doses: tuple[str, ...] = ()
    patients: int = 10
    """Enough for a difference from the champion to pass Holm, and few enough for a whole run within an hour on two
    cores."""
    quick_patients: int = 3
    tuning_patients: int = 3
    small: tuple[str, ...] = ()
    """Small structures whose uptake is followed, by the names of the organ map."""
    metrics: tuple[Metric, ...] = METRICS
    paper: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    """The paper's numbers, mean and SD, by row and metric."""
    differs: tuple[str, ...] = ()
    """In what this table is not the paper's."""
    claims: tuple[Claim, ...] = ()
    first: int = 0
    """Of the test patients, counted from the split's first."""
    judge: str = ""
    """`package.module:function` of (output, case, normal, organs, lesions): its numbers take the place of `score`'s."""
    scanned: tuple[Dose, ...] = ()
    """What the patients are scanned at, if at more than this table's own doses: tables that share their patients."""

    def job(self, seed: int) -> Job:
        """Always all doses, so that quick and full runs share their patients."""
        fractions = tuple(dose.fraction for dose in self.scanned or self.doses)
        return Job(seed, self.kind, self.tracer, self.preset, fractions, self.spacing_mm)

    def test_seeds(self, patients: int) -> list[int]:
        return seeds_of("test", patients, self.first)

    def tuning_seeds(self) -> list[int]:
        return seeds_of("validation", self.tuning_patients, TUNING_FROM)

    def row(self, name: str) -> Row:
        return _row(self.rows, name)


@dataclass(frozen=True)
class SliceTable:
    """Single slices of normal-dose scans, projected, counted and reconstructed at several count levels.

    Patients are digital ones by seed or, with `numbers`, real ones by the number of their folder.
    """

    name: str
    title: str
    doses: tuple[Dose, ...]
    rows: tuple[Row, ...]
    champion: str
    metrics: tuple[Metric, ...]
    quick_doses: tuple[str, ...] = ()
    patients: int = 10
    quick_patients: int = 2
    tuning_patients: int = 3
    slices: int = 40
    """Of each patient, evenly spaced over the body."""
    every: int = 1
    """Of them, only every so many-th enters this table."""
    preset: str = "mCT"
    pixel_mm: float = 4.0
    numbers: tuple[int, int] | None = None
    """Of real scans: the first and last number of the test patients."""
    tuning_numbers: tuple[int, int] = (0, 0)
    levels: Mapping[str, Mapping[str, Mapping[str, tuple[float, float | None]]]] = field(default_factory=dict)
    """The paper's numbers by dose, row and metric."""
    differs: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()

    def test_seeds(self, patients: int) -> list[int]:
        return seeds_of("test", patients)

    def tuning_seeds(self) -> list[int]:
        return seeds_of("validation", self.tuning_patients, TUNING_FROM)

    def row(self, name: str) -> Row:
        return _row(self.rows, name)


def _row(rows: tuple[Row, ...], name: str) -> Row:
    return next(row for row in rows if row.name == name)


@dataclass(frozen=True)
class Real:
    """Real scans at simulated reduced doses against the clinical image. Folders end in the patient's number."""

    title: str
    preset: str
    doses: tuple[Dose, ...]
    rows: tuple[Row, ...]
    champion: str
    tuning: tuple[int, int]
    """First and last number of the patients that filters may be tuned on."""
    test: tuple[int, int]
    metrics: tuple[Metric, ...] = METRICS[:7]
    differs: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    judge: str = ""
    """As of a table."""

    def row(self, name: str) -> Row:
        return _row(self.rows, name)


@dataclass(frozen=True)
class Point:
    """Samples of so many steps each; their mean is the mean's estimate, the first alone the sample's."""

    evaluations: int
    samples: int
    steps: int


@dataclass(frozen=True)
class Curve:
    """Quality against network evaluations, on validation patients: defaults are chosen by it."""

    table: str
    dose: str
    method: str
    anatomy: tuple[str, ...]
    points: tuple[Point, ...]
    patients: int = 3
    first: int = TUNING_FROM + 100
    metrics: tuple[Metric, ...] = METRICS


@dataclass(frozen=True)
class Bench:
    name: str
    title: str
    citation: str
    tables: tuple[Table | SliceTable, ...]
    real: Real | SliceTable | None = None
    curve: Curve | None = None
    quick: tuple[str, ...] = ()
    """Parts that a quick run makes."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What the numbers mean, where a judge makes them."""
    by_name: tuple[str, ...] = ()
    """Tables beyond the paper's own, made when they are asked for by name: with them a run would take over an hour."""
    also: tuple[str, ...] = ()
    """Other names that it is asked for by."""

    def table(self, name: str) -> Table | SliceTable:
        for table in self.tables:
            if table.name == name:
                return table
        raise OptionError(f"Table '{name}'", f"is not one of {', '.join(t.name for t in self.tables)}", "Choose one.")


def require_split(seeds: list[int], split: str, what: str) -> None:
    """Tuning never sees test patients, and results are of test patients alone."""
    if wrong := [seed for seed in seeds if split_of(seed) != split]:
        raise OptionError(f"Patient {wrong[0]}", f"is a {split_of(wrong[0])} patient and may not be used for {what}",
                          f"Take {split} patients.")  # fmt: skip
