"""The report of all frames: their curves, their noise, and each as it was and as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

import numpy as np

from .. import __version__
from ..read.dynamic_times import GATES
from ..volume import SUVBW
from ..write import plots
from ..write.report.colour import grey_scale, png, round_up
from ..write.report.document import document
from ..write.report.orient import upright
from ..write.report.views import Picture
from ..write.report.words import SIMULATED, number, plain, tick
from . import curves
from .apart import MEAN, Laid

BANNER = "For research use only. Not a medical device, not for diagnosis."
MOST_CURVES, KI = 24, "ki"
SHORT_S = 120
"""Until then times are told in seconds."""
STYLE = """
.plots { display: flex; flex-wrap: wrap; gap: 8px 22px; margin: 6px 0 18px; }
.plots img { max-width: 100%; height: auto; }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(232px, 1fr)); gap: 20px 18px; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 4px; }
.pair img { width: 100%; height: auto; border: 1px solid var(--line); display: block; }
.frames figcaption { white-space: normal; }
.rates { display: grid; grid-template-columns: minmax(200px, 300px) 1fr; gap: 24px; align-items: start; }
.rates img { width: 100%; height: auto; border: 1px solid var(--line); display: block; }
.rates td:first-child, .rates th:first-child { text-align: left; }
@media (max-width: 700px) { .rates { grid-template-columns: 1fr; } }
td { vertical-align: top; }
"""
Row = dict[str, Any]
Pictures = Mapping[str, Mapping[str, np.ndarray]]
"""By frame and image: the highest value along each line from front to back."""


def html(laid: Laid, made: Mapping[str, Sequence[Row]], record: Mapping[str, Any], pictures: Pictures,
         checks: Mapping[str, Sequence[str]]) -> str:  # fmt: skip
    """Every text is escaped; nothing is fetched."""
    body = "".join([
        _head(laid, record), _doubts(laid, checks, record["check_of_the_mean"]),
        _shown(laid, made["frames"], pictures, record), _curves(made["time_activity"], laid),
        _rates(laid, made["patlak"], pictures), _noise(laid, made["frames"]), _table(laid, made["frames"]),
        f"<footer>PETDiffusion {escape(__version__)} · {BANNER}</footer>",
    ])  # fmt: skip
    return document(_title(laid), body, STYLE)


def _title(laid: Laid) -> str:
    return f"{len(laid.names)} {laid.kind} denoised"


def _head(laid: Laid, record: Mapping[str, Any]) -> str:
    facts = record["facts"]
    led = "the mean of all frames denoised, and each led by it" if record["led_by_the_mean"] else "each frame by itself"
    told = [record["method"]["title"], led, record.get("model") and f"model {record['model']}", facts.get("tracer"),
            facts.get("scanner"), _lasted(laid)]  # fmt: skip
    own = f' · <a href="frames/{MEAN}/report.html">report of the mean</a>' if record["led_by_the_mean"] else ""
    simulated = SIMULATED.get(facts.get("simulated"))
    said = f'<p class="banner">{escape(simulated)}.</p>' if simulated else ""
    return (
        f'<header><p class="over">PETDiffusion · dynamic PET</p><h1>{_title(laid)}</h1>'
        f'<p class="facts">{escape(" · ".join(text for text in told if text))}{own}</p>'
        f'<p class="banner">{BANNER}</p>{said}</header>'
    )


def _lasted(laid: Laid) -> str:
    first, last = laid.times[0], laid.times[-1]
    if first.start_s is None or last.start_s is None:
        return ""
    end = last.start_s + (last.seconds or 0.0)
    return f"{_minutes(first.start_s)} to {_minutes(end)} min after the start"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}".removesuffix(".0")


def _doubts(laid: Laid, checks: Mapping[str, Sequence[str]], of_mean: Sequence[str]) -> str:
    """What is to be checked, once for all frames of which the same is said with other numbers."""
    whose: dict[str, list[tuple[str, str]]] = {}
    for frame, texts in checks.items():
        for text in texts:
            whose.setdefault(_without_numbers(text), []).append((frame, text))
    items = [_doubt(laid, said) for said in sorted(whose.values(), key=len, reverse=True)]
    items[:0] = [f"<li><b>Mean of all frames</b>: {escape(text)}</li>" for text in of_mean]
    if laid.empty:
        items.insert(0, f"<li><b>{list_of(laid, laid.empty)}</b>: hardly any activity; left as it was.</li>")
    return f'<aside><h2>Check before relying on these numbers</h2><ul>{"".join(items)}</ul></aside>' if items else ""


def _without_numbers(text: str) -> str:
    """The sentence up to what it lists, and without its numbers and plurals."""
    return re.sub(r"[\d.,]+|\b(is|are)\b|s\b", "", text.partition(":")[0])


def _doubt(laid: Laid, said: Sequence[tuple[str, str]]) -> str:
    frames, (first, text) = [frame for frame, _ in said], said[0]
    such = f"in {_word(laid).lower()} {_name(first)}: " if len(frames) > 1 else ""
    return f"<li><b>{list_of(laid, frames)}</b>: {escape(such + text)}</li>"


def _word(laid: Laid) -> str:
    return "Gate" if laid.kind == GATES else "Frame"


def list_of(laid: Laid, frames: Sequence[str]) -> str:
    """'Frames 1, 3 to 6'."""
    numbers, parts = [int(_name(frame)) for frame in frames], []
    for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        parts.append(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)))
    return f"{_word(laid)}{'s' if len(numbers) > 1 else ''} {', '.join(parts)}"


def _name(frame: str) -> str:
    return str(int(frame.rpartition("_")[2]))


def _section(title: str, content: str, note: str = "") -> str:
    notes = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<section class="part"><h2>{escape(title)}</h2>{notes}{content}</section>'


def _curves(rows: Sequence[Row], laid: Laid) -> str:
    found = list(curves.by_region(rows).items())
    if not found:
        return _section("Activity over time", "", "Curves are here where organ labels or lesions were given.")
    drawn = "".join(_curve(_titled(own[0], rows), own, laid) for _, own in found[:MOST_CURVES])
    more = f" {len(found) - MOST_CURVES} more in tables/time_activity.csv." if len(found) > MOST_CURVES else ""
    note = ("Mean of each region, before (grey; the band is 1 SD of the frame's noise) and after (blue). Denoising may "
            f"move a mean within the noise; where the two part, look at the frames.{more}")  # fmt: skip
    return _section("Activity over time", f'<div class="plots">{drawn}</div>', note)


def _titled(row: Row, rows: Sequence[Row]) -> str:
    """The region's name, with its number where several are called alike."""
    alike = {other["number"] for other in rows if (other["kind"], other["region"]) == (row["kind"], row["region"])}
    return plain(row["region"]) + (f" ({row['number']})" if len(alike) > 1 else "")


@plots.styled
def _curve(region: str, rows: Sequence[Row], laid: Laid) -> str:
    figure, axes = plots.blank(2.75, 2.1)
    x = _places(rows, laid)
    low, denoised, noise, lowest, highest = (
        np.array([np.nan if row.get(key) is None else row[key] for row in rows], float)
        for key in ("mean_low", "mean_denoised", "mean_noise_low", "mean_low95", "mean_high95")
    )
    axes.fill_between(x, low - noise, low + noise, color=plots.GREY, alpha=0.3, lw=0)
    if np.isfinite(lowest).any():
        axes.fill_between(x, lowest, highest, color=plots.COLOURS[0], alpha=0.15, lw=0)
    axes.plot(x, low, marker="o", ms=3, lw=1.0, color=plots.GREY)
    axes.plot(x, denoised, marker="o", ms=3, lw=1.3, color=plots.COLOURS[0])
    axes.set_ylim(bottom=min(0.0, *(v for v in (*low, *denoised) if np.isfinite(v))))
    plots.thousands(axes)
    axes.set_xlabel(_axis(laid))
    axes.set_ylabel("SUVmean" if rows[0]["unit"] == SUVBW else f"mean, {rows[0]['unit']}")
    plots.headed(figure, region)
    return plots.as_image(figure, f"{region}: mean in each frame, before and after")


def _rates(laid: Laid, rows: Sequence[Row], pictures: Pictures) -> str:
    """Ki as a picture and of regions, where it was asked for."""
    if KI not in pictures:
        return ""
    image, turn = pictures[KI][KI], upright(laid.geometry)
    top = round_up(float(np.percentile(image, 99.5)), False)
    drawn = png(Picture(image, (turn.spacing[0], turn.spacing[2])).square(), grey_scale(top, "Ki"))
    lines = "".join(f"<tr><td>{escape(plain(row['region']))}</td><td>{number(row['Ki_low'], 4)}</td>"
                    f"<td>{number(row['Ki_denoised'], 4)}</td><td>{number(row['r_squared_denoised'], 3)}</td></tr>"
                    for row in sorted(rows, key=lambda row: -row["Ki_denoised"])[:MOST_CURVES])  # fmt: skip
    heads = "".join(f"<th>{text}</th>" for text in ("region", "Ki before, 1/min", "Ki after, 1/min", "R² after"))
    table = f'<table class="plain"><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>'
    picture = (f'<figure><figcaption>Ki, 0 to {tick(top)} ml/min/ml</figcaption>'
               f'<img alt="Ki seen from the front" src="{drawn}"></figure>')  # fmt: skip
    note = "Slope of Patlak's line of the late frames. All regions: tables/patlak.csv; every voxel: ki.nii.gz."
    return _section("Rate of uptake", f'<div class="rates">{picture}<div class="scroll">{table}</div></div>', note)


def _timed(laid: Laid) -> bool:
    return all(time.middle_s is not None for time in laid.times) and laid.kind != GATES


def _axis(laid: Laid) -> str:
    return "minutes" if _timed(laid) else "gate" if laid.kind == GATES else "frame"


def _places(rows: Sequence[Row], laid: Laid) -> list[float]:
    if _timed(laid):
        return [row["middle_s"] / 60 for row in rows]
    return [float(_name(row["frame"])) for row in rows]


@plots.styled
def _noise(laid: Laid, rows: Sequence[Row]) -> str:
    known = [row for row in rows if row.get("local_noise_percent_low") and row.get("local_noise_percent_denoised")]
    if not known:
        return ""
    figure, axes = plots.blank(6.2, 2.5)
    x = _places(known, laid)
    for key, colour, label in (("low", plots.GREY, "before"), ("denoised", plots.COLOURS[0], "after")):
        axes.plot(x, [row[f"local_noise_percent_{key}"] for row in known], marker="o", ms=3.5, lw=1.3, color=colour,
                  label=label)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(_axis(laid))
    axes.set_ylabel("noise, %")
    plots.legend(figure)
    note = "Median of SD over mean in cubes of 15 mm inside the body."
    return _section("Noise", f'<div class="plots">{plots.as_image(figure, "Noise of each frame")}</div>', note)


def _shown(laid: Laid, rows: Sequence[Row], pictures: Pictures, record: Mapping[str, Any]) -> str:
    shown = [row for row in rows if row["frame"] in pictures]
    cards = "".join(_card(row, pictures[row["frame"]], laid, record["unit"]) for row in shown)
    note = "Maximum intensity projections seen from the front, before and after, on a grey scale of the frame's own."
    return _section("Frames", f'<div class="frames">{cards}</div>', note)


def _card(row: Row, images: Mapping[str, np.ndarray], laid: Laid, unit: str) -> str:
    turn = upright(laid.geometry)
    top = round_up(float(np.percentile(images["denoised"], 99.5)), unit == SUVBW)
    scale, pixel = grey_scale(top, unit), (turn.spacing[0], turn.spacing[2])
    drawn = {alt: png(Picture(images[key], pixel).square(), scale)
             for key, alt in (("low", "before"), ("denoised", "after"))}  # fmt: skip
    cells = "".join(f'<img alt="Frame {_name(row["frame"])}, {alt}" src="{uri}">' for alt, uri in drawn.items())
    return (f'<figure><figcaption>{_word(laid)} {_name(row["frame"])}{_span(row)} · {_quantity(unit)} 0 to {tick(top)}'
            f'</figcaption><div class="pair">{cells}</div></figure>')  # fmt: skip


def _quantity(unit: str) -> str:
    return "SUV" if unit == SUVBW else escape(unit)


def _span(row: Row) -> str:
    if row["start_s"] is None or row["seconds"] is None:
        return ""
    start, end = row["start_s"], row["start_s"] + row["seconds"]
    return f" · {start:g} to {end:g} s" if end < SHORT_S else f" · {_minutes(start)} to {_minutes(end)} min"


def _table(laid: Laid, rows: Sequence[Row]) -> str:
    heads = ("frame", "start, s", "length, s", "noise before", "noise after", "mean in the body before", "after")
    lines = "".join(
        f"<tr><td>{_name(row['frame'])}</td><td>{number(row['start_s'], 0)}</td><td>{number(row['seconds'], 0)}</td>"
        f"<td>{_noise_of(row, 'low')}</td><td>{_noise_of(row, 'denoised')}</td>"
        f"<td>{_mean(row, 'low')}</td><td>{_mean(row, 'denoised')}</td></tr>" for row in rows)  # fmt: skip
    head = "".join(f"<th>{text}</th>" for text in heads)
    table = f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'
    return _section("Numbers", f'<div class="scroll">{table}</div>', "All of them: tables/frames.csv.")


def _noise_of(row: Row, image: str) -> str:
    value = row.get(f"local_noise_percent_{image}")
    return number(value) if value is None else f"{number(value, 1)}\u00a0%"


def _mean(row: Row, image: str) -> str:
    value = row.get(f"body_mean_{image}")
    return number(value, 0 if value is not None and abs(value) >= 100 else 3)
