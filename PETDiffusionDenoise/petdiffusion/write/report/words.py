"""The report's words and numbers: what happened, in sentences a reader can check against the tables."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from ... import trust
from ...measure.cautions import cold, fragment
from ...volume import DIGITAL_PATIENT, REDUCED_DOSE
from ...wording import counted
from .model import COLUMN, DENOISED, LOW, QUALITY, REFERENCE, CaseReport

NONE = "–"
SIGNIFICANT = 0.05
"""Chances below it are called so."""
Written = Callable[[Any], str]
SIMULATED = {DIGITAL_PATIENT: "Digital patient: anatomy, activity and scan are simulated",
             REDUCED_DOSE: "The reduced dose is simulated from a scan"}  # fmt: skip
"""What the head of the report says of a scan that nobody was scanned for, by its facts."""


def number(value: Any, decimals: int = 2, signed: bool = False) -> str:
    """With a true minus sign; a dash where there is no number."""
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return NONE
    text = f"{abs(value):,.{decimals}f}".replace(",", "\u202f")
    if float(f"{abs(value):.{decimals}f}") == 0:
        return text
    return f"{'−' if value < 0 else '+' if signed else ''}{text}"


def lesion_name(row: Mapping[str, Any]) -> str:
    """What the lesion is called besides its number: `lesion 1 (hip_right)` is `hip right`."""
    name = plain(str(row.get("lesion") or ""))
    rest = re.sub(rf"^(lesion|region) {row.get('number')}\b", "", name, flags=re.IGNORECASE).strip()
    return rest[1:-1] if rest.startswith("(") and rest.endswith(")") and rest.count("(") == 1 else rest


def tick(value: float, signed: bool = False) -> str:
    """A number at the end of a scale: three figures, and thousands in groups instead of powers of ten."""
    figures = np.format_float_positional(abs(value), precision=3, fractional=False, trim="-")
    text = number(abs(value), 0) if abs(value) >= 1000 else figures
    return f"{'−' if value < 0 else '+' if signed and value > 0 else ''}{text}"


def plain(name: str) -> str:
    return name.replace("_", " ")


def suv(value: Any) -> str:
    """Two decimals below 100, none from there on."""
    return number(value, 2 if value is None or isinstance(value, str) or abs(value) < 100 else 0)


def written(quantity: str, values: Iterable[Any], in_suv: Written = suv, figures: int = 3) -> Written:
    """How numbers that stand together are written: SUV as readers know it, other units with so many figures (or one
    more) of the largest, since they may be thousandths or tens of thousands."""
    if quantity == "SUV":
        return in_suv
    known = [abs(v) for v in values if isinstance(v, (int, float)) and math.isfinite(v)]
    largest = max(known, default=0.0)
    decimals = max(0, figures - 1 - math.floor(math.log10(largest))) if largest else 2
    return lambda value: number(value, decimals)


OUTSIDE = '<abbr title="Outside its own interval">†</abbr>'
"""Behind such a number."""


def outside(found: int, of: int, whose: str, such: str, interval: str) -> str:
    """A number outside its own interval looks like a mistake where nothing is said of it."""
    lie = "lies outside its" if found == 1 else "lie outside their"
    return (
        f'<p class="note">{found} of {counted(of, "number")} of {whose} {lie} own interval (†), such as '
        f"{escape(such)} ({escape(interval)}). The intervals are for the normal-dose scan and hold what the method is "
        f"known to lose or add in such {whose}: go by them.</p>"
    )


def chance(p: float | None) -> str:
    """A chance, with as many digits as it takes to see on which side of 0.05 it lies."""
    if p is None:
        return NONE
    if p < 0.001:
        return "<\u00a00.001"
    decimals = (3 if p < 0.1 else 2, 4, 5, 6)
    return number(p, next((d for d in decimals if (round(p, d) < SIGNIFICANT) == (p < SIGNIFICANT)), 6))


def fact(value: float, decimals: int) -> str:
    """With these decimals, or with two figures where they would leave fewer of a small value."""
    return f"{value:.{decimals}f}" if value == 0 or abs(value) >= 10 ** (1 - decimals) else f"{value:.2g}"


def ml(value: Any) -> str:
    """A tenth of a millilitre, and a hundredth below one: small lesions are no larger."""
    return number(value, 1 if value is None or value >= 1 else 2)


def percent(value: Any, decimals: int = 1) -> str:
    text = number(value, decimals, signed=True)
    return text if text == NONE else f"{text}\u00a0%"


@dataclass(frozen=True)
class Key:
    """One number of the head of the report: before, after, and the normal-dose scan's where there is one."""

    label: str
    before: str
    after: str
    unit: str = ""
    reference: str = ""
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """The rows by image, and what can be said of them."""

    report: CaseReport

    def image(self, name: str) -> Mapping[str, Any]:
        return next((r for r in self.report.image_rows if r.get("image") == COLUMN[name]), {})

    def organ(self, name: str) -> Mapping[str, Any]:
        """Without what the method drew as this organ though it is too small for it."""
        row = next((r for r in self.report.organ_rows if r.get("organ") == name), {})
        return {} if self.report.drawn and fragment(name, row.get("volume_ml")) else row

    def of(self, rows: Iterable[Mapping[str, Any]], column: str) -> np.ndarray:
        return np.array([r[column] for r in rows if r.get(column) is not None], float)

    @property
    def prefix(self) -> str:
        """`SUV` in column names where the tables are in SUV."""
        return "SUV" if self.report.quantity == "SUV" else ""

    def called(self, key: str) -> str:
        """`SUVpeak`, or the peak with the unit that it is in."""
        return f"SUV{key}" if self.prefix else f"{key}, {self.report.quantity}"

    def written(self, values: Iterable[Any], in_suv: Written = suv, figures: int = 3) -> Written:
        return written(self.report.quantity, values, in_suv, figures)

    @property
    def tlg_unit(self) -> str:
        return "SUV·ml" if self.prefix else f"ml × {self.report.quantity}"

    @property
    def noise(self) -> tuple[str, str]:
        """The column that tells the noise best, and its name in words."""
        if self.image(LOW).get("liver_CoV_percent") is not None:
            return "liver_CoV_percent", "liver"
        return "local_noise_percent", "body"


def summary(report: CaseReport) -> str:
    if report.masks_only:
        made = f"<b>{escape(report.method)}</b> marked lesions and organs on this PET"
        return f"{made}. The PET itself is as it came: it was not denoised."
    facts = Facts(report)
    sentences = [_made(report), _noise(facts), _liver(facts), _lesions(facts), _activity(facts), _quality(facts)]
    return " ".join(sentence for sentence in sentences if sentence)


def _made(report: CaseReport) -> str:
    return f"This low-count PET was denoised with <b>{escape(report.method)}</b>." if report.method else ""


def _noise(facts: Facts) -> str:
    column, where = facts.noise
    before, after = facts.image(LOW).get(column), facts.image(DENOISED).get(column)
    if before is None or after is None:
        return ""
    verb = "fell" if after < before else "rose"
    measure = "coefficient of variation" if where == "liver" else "local coefficient of variation"
    normal = facts.image(REFERENCE).get(column)
    beside = f"; in the normal-dose scan it is {number(normal, 1)}\u00a0%" if normal is not None else ""
    change = f"{verb} from {number(before, 1)}\u00a0% to"
    if number(before, 1) == number(after, 1):
        change = "stayed at"
    return f"Noise in the {where} ({measure}) {change} <b>{number(after, 1)}\u00a0%</b>{beside}."


def _liver(facts: Facts) -> str:
    row, name = facts.organ("liver"), f"{facts.prefix}mean"
    before, after = row.get(f"{name}_low"), row.get(f"{name}_denoised")
    if before is None or after is None:
        return ""
    change = percent(row.get(f"{name}_denoised_vs_low_percent"))
    shown = facts.written([before, after])
    return (
        f"The liver’s mean {escape(facts.report.quantity)} went from {shown(before)} to <b>{shown(after)}</b> "
        f"({change})."
    )


def _lesions(facts: Facts) -> str:
    rows, name = facts.report.lesion_rows, f"{facts.prefix}peak"
    base = "reference" if facts.report.reference is not None else "low"
    changes = facts.of(rows, f"{name}_denoised_vs_{base}_percent")
    if not changes.size:
        return ""
    against = "the normal-dose scan" if base == "reference" else "the low-count scan"
    if changes.size == 1:
        return f"The lesion’s {name} differs from {against} by <b>{percent(changes[0])}</b>."
    marked = " that the method marked" if facts.report.marked else ""
    return (
        f"Over {changes.size} lesions{marked}, {name} differs from {against} by "
        f"<b>{percent(float(np.median(changes)))}</b> at the median "
        f"(from {percent(float(changes.min()))} to {percent(float(changes.max()))})."
    )


def _activity(facts: Facts) -> str:
    change = facts.image(DENOISED).get("activity_vs_low_percent")
    return "" if change is None else f"Total activity in the body changed by {percent(change)}."


def _quality(facts: Facts) -> str:
    before, after = facts.image(LOW), facts.image(DENOISED)
    if before.get("PSNR_dB") is None or after.get("PSNR_dB") is None:
        return ""
    return (
        f"Against the normal-dose scan, PSNR went from {number(before['PSNR_dB'], 1)} to "
        f"<b>{number(after['PSNR_dB'], 1)}\u00a0dB</b> and SSIM from {number(before.get('SSIM'), 3)} to "
        f"<b>{number(after.get('SSIM'), 3)}</b>."
    )


def keys(report: CaseReport) -> list[Key]:
    facts = Facts(report)
    column, where = facts.noise

    def key(label: str, row: Mapping[str, Any], metric: str) -> Key:
        values = [row.get(f"{metric}_{column}") for column in COLUMN.values()]
        return _key(label, *values, facts.written(values))

    def decimals(count: int) -> Written:
        return lambda value: number(value, count)

    noise = (facts.image(n).get(column) for n in (LOW, DENOISED, REFERENCE))
    found = [_key(f"Noise, {where}", *noise, decimals(1), "%")]
    liver, mean = facts.organ("liver"), f"{facts.prefix}mean"
    if liver:
        found.append(key(f"Liver {facts.called('mean')}", liver, mean))
    peak = f"{facts.prefix}peak"
    hot = [row for row in report.lesion_rows if not cold(row)]
    hottest = max(hot, key=lambda r: r.get(f"{peak}_denoised") or 0, default=None)
    if hottest:
        found.append(key(f"Hottest lesion {facts.called('peak')}", hottest, peak))
    for name, unit, count in (("PSNR_dB", "dB", 1), ("SSIM", "", 3)):
        before, after = (facts.image(n).get(name) for n in (LOW, DENOISED))
        if after is not None:
            found.append(_key(name.removesuffix("_dB"), before, after, None, decimals(count), unit))
    return [key for key in found if key.before != NONE and key.after != NONE]


def _key(label: str, before: Any, after: Any, reference: Any, show: Written, unit: str = "") -> Key:
    return Key(label, show(before), show(after), unit, "" if reference is None else show(reference))


def checks(report: CaseReport) -> list[str]:
    """What a careful reader should look at again before relying on a number."""
    tables = {"image": report.image_rows, "organs": report.organ_rows, "lesions": report.lesion_rows,
              "trust": report.trust_rows, "clinical": report.clinical_rows,
              "quality": report.other_tables.get(QUALITY, ())}  # fmt: skip
    return trust.checks(tables, denoised=not report.masks_only)
