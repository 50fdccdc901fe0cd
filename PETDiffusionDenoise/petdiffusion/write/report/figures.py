"""The still pictures: projections, slices with differences, close-ups of lesions, each with its colour bar.

Planes of one image stand together as in a technical drawing, the axial slice below the coronal and the sagittal beside
it, all in one scale of millimetres.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape

import numpy as np

from .colour import Scale, png
from .model import DENOISED, LOW, REFERENCE, SD
from .views import AGAINST_LOW, AGAINST_REFERENCE, AXES, EDGES, Picture, Views, anchors, paths
from .words import lesion_name, plain, tick

CLOSE_UP_MM = 90.0
CLOSE_UPS = 6
TEXT_PART = 0.12
"""Size of the scale bar's text in parts of a close-up's width: three stand side by side on a phone."""
KINDS = {
    LOW: "low",
    DENOISED: "denoised",
    REFERENCE: "reference",
    SD: "sd",
    AGAINST_LOW: "change",
    AGAINST_REFERENCE: "change",
}


def projections(views: Views) -> str:
    """Coronal and sagittal projections of every scan on one grey scale."""
    outlines = {plane: views.outlines(plane, None) for plane in ("coronal", "sagittal")}
    cards = []
    for name in views.report.scans:
        cells = [
            _picture(
                views.projection_of(views.images[name], plane),
                views.grey,
                plane,
                found,
                f"Maximum intensity projection of the {name} image seen from {side}",
                text_mm(views),
                name == DENOISED,
            )
            for (plane, found), side in zip(outlines.items(), ("the front", "the left"), strict=True)
        ]
        cards.append(_card(name, views, cells))
    return f'<div class="cards n{len(cards)}">{"".join(cards)}</div>{bars(views.grey)}'


def slices(views: Views) -> str:
    """Three planes through the hottest lesion or the middle of the patient, and what the denoising changed."""
    planes = ("coronal", "sagittal", "axial")
    outlines = {plane: views.outlines(plane, views.focus[AXES[plane]]) for plane in planes}
    cards = []
    for name, array, scale in _layers(views):
        cells = [
            _picture(
                views.slice_of(array, plane, views.focus[AXES[plane]]),
                scale,
                plane,
                outlines[plane],
                f"{plane.capitalize()} slice, {name}",
                text_mm(views),
                cross=_cross(views, plane),
            )
            for plane in planes
        ]
        cards.append(_card(name, views, cells + [f'<div class="corner">{_bar(scale)}</div>']))
    return f'<div class="cards n{min(len(cards), 3)}">{"".join(cards)}</div>'


def _layers(views: Views) -> Iterable[tuple[str, np.ndarray, Scale]]:
    for name in views.report.scans:
        yield name, views.images[name], views.grey
    for name, difference in views.differences.items():
        yield name, difference, views.diverging
    if SD in views.images:
        yield SD, views.images[SD], views.spread


def _cross(views: Views, plane: str) -> tuple[float, float]:
    """Where the other two planes cut this one, in mm from its upper left corner."""
    at = [(index + 0.5) * step for index, step in zip(views.focus, views.turn.spacing, strict=True)]
    rows, columns = (a for a in range(3) if a != AXES[plane])
    height = views.shape[rows] * views.turn.spacing[rows]
    return at[columns], at[rows] if plane == "axial" else height - at[rows]


def text_mm(views: Views) -> float:
    """One size of text for all planes of a card, which share their scale."""
    depth, width = (n * step for n, step in zip(views.shape[1:], views.turn.spacing[1:], strict=True))
    return 0.036 * (depth + width)


def _card(name: str, views: Views, cells: list[str]) -> str:
    depth, width = (n * step for n, step in zip(views.shape[1:], views.turn.spacing[1:], strict=True))
    return (
        f'<figure class="card {KINDS[name]}"><figcaption>{escape(name)}</figcaption>'
        f'<div class="ortho" style="grid-template-columns:{width:.0f}fr {depth:.0f}fr">{"".join(cells)}</div></figure>'
    )


def close_ups(views: Views) -> str:
    """Lesions enlarged, axial, at their hottest voxel: those first that denoising changed most."""
    numbers = _most_changed(views)
    left = len(numbers) - CLOSE_UPS
    who = "1 lesion that changed less is" if left == 1 else f"{left} lesions that changed less are"
    note = f'<p class="note">{who} not shown here.</p>' if left > 0 else ""
    return "".join(_close_up(views, number) for number in sorted(numbers[:CLOSE_UPS])) + note


def _most_changed(views: Views) -> list[int]:
    if views.lesions is None:
        return []
    rows = {row.get("number"): row for row in views.report.lesion_rows}
    base = "reference" if views.report.reference is not None else "low"

    def change(number: int) -> float:
        row = rows.get(number, {})
        names = (f"{prefix}peak_denoised_vs_{base}_percent" for prefix in ("SUV", ""))
        return max((abs(row.get(name) or 0.0) for name in names), default=0.0)

    return sorted(views.peaks, key=lambda number: (-change(number), number))


def _close_up(views: Views, number: int) -> str:
    plane = views.lesions[views.peaks[number][0]]
    window, across = _window(plane == number, views.pixel_mm("axial"))
    shown = paths(plane[window], views.pixel_mm("axial"))
    cells = []
    for scan in views.report.scans:
        picture = Picture(views.images[scan][views.peaks[number][0]][window], views.pixel_mm("axial"))
        cells.append(
            f'<figure class="{KINDS[scan]}"><figcaption>{escape(scan)}</figcaption>'
            + _picture(picture, views.grey, "", shown, f"Lesion {number} in the {scan} image", TEXT_PART * across)
            + "</figure>"
        )
    name = escape(_lesion_name(views, number))
    return (
        f'<div class="closeup"><h4 title="{number} {name}"><b>{number}</b> {name} '
        f'<span>· {across / 10:.0f} cm across</span></h4><div class="cells">{"".join(cells)}</div></div>'
    )


def _window(mask: np.ndarray, pixel_mm: tuple[float, float]) -> tuple[tuple[slice, ...], float]:
    """A square around the lesion, 9 cm or more, moved inward at the image's border; and its width in mm."""
    rows, columns = np.nonzero(mask)
    extent = max(np.ptp(rows) * pixel_mm[0], np.ptp(columns) * pixel_mm[1])
    across = max(CLOSE_UP_MM, 1.3 * float(extent))
    window = []
    for where, step, size in zip((rows, columns), pixel_mm, mask.shape, strict=True):
        length = min(round(across / step), size)
        start = int(np.clip(round((where.min() + where.max() + 1 - length) / 2), 0, size - length))
        window.append(slice(start, start + length))
    return tuple(window), min(across, mask.shape[1] * pixel_mm[1])


def _lesion_name(views: Views, number: int) -> str:
    row = next((r for r in views.report.lesion_rows if r.get("number") == number), {})
    name, organ = lesion_name(row), plain(str(row.get("organ") or ""))
    return " · ".join(part for part in (name, organ if organ not in name else "") if part)


def _picture(
    picture: Picture,
    scale: Scale,
    plane: str,
    outlines: Mapping[int, str],
    alt: str,
    size: float = 0.0,
    numbers: bool = False,
    cross: tuple[float, float] | None = None,
) -> str:
    width, height = picture.size_mm
    return (
        f'<div class="picture {plane}" style="aspect-ratio:{width:.1f}/{height:.1f}">'
        f'<img alt="{escape(alt)}" src="{png(picture.square(), scale)}">'
        f"{overlay(width, height, outlines, size, numbers, cross)}{letters(picture, plane, size)}</div>"
    )


def letters(picture: Picture, plane: str, size: float) -> str:
    """Sides of the patient, those that have room."""
    width, height = picture.size_mm
    fit = {"l": height > size, "r": height > size, "t": height > 3 * size}
    return "".join(f'<i class="{where}">{letter}</i>' for where, letter in zip("lrt", EDGES.get(plane, ""))
                   if fit[where] and width > 3 * size)  # fmt: skip


def overlay(
    width: float,
    height: float,
    outlines: Mapping[int, str],
    size: float,
    numbers: bool = False,
    cross: tuple[float, float] | None = None,
) -> str:
    """Outlines, lesion numbers, marks of the other planes and a scale bar, as vectors: sharp at any size.

    `size` is that of the text in mm; 0 leaves it out. What has no room in a thin scan is left out.
    """
    lines = "".join(f'<path d="{path}"/>' for path in outlines.values())
    texts = "".join(
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}">{number}</text>'
        for number, (x, y) in (_labels(outlines, size, width, height) if numbers else {}).items()
    )
    length = 100.0 if width > 200 else 20.0
    tick = 0.8 * size
    marks = (
        ""
        if cross is None
        else (
            f'<path class="cross" d="M{cross[0]:.1f} 0v{tick:.1f}M0 {cross[1]:.1f}h{tick:.1f}'
            f'M{cross[0]:.1f} {height:.1f}v{-tick:.1f}M{width:.1f} {cross[1]:.1f}h{-tick:.1f}"/>'
        )
    )
    left, low = width * 0.04, height - width * 0.05
    fits = low > 1.2 * size and left + max(length, 2 * size) < width
    text = (
        (
            f'<text class="length" x="{left:.1f}" y="{low - size * 0.4:.1f}" font-size="{size * 0.75:.1f}">'
            f"{length / 10:g} cm</text>"
        )
        if size
        else ""
    )
    bar = f'<path class="bar" d="M{left:.1f} {low:.1f}h{length:g}"/>{text}' if fits else ""
    return (
        f'<svg viewBox="0 0 {width:.1f} {height:.1f}" preserveAspectRatio="none" aria-hidden="true">'
        f'<g class="outlines">{lines}{texts}</g>{marks}{bar}</svg>'
    )


def _labels(
    outlines: Mapping[int, str], size: float, width: float, height: float
) -> dict[int, tuple[float, float]]:
    """Places for the lesions' numbers: the nearest to each lesion where they do not cover one another. In a picture
    that is full of numbers they do; one that is lower than a number has none."""
    placed: dict[int, tuple[float, float]] = {}
    lowest, steps = height - 0.1 * size, range(1 + math.ceil(height / (0.25 * size)) if size else 1)
    if lowest < size:
        return placed

    def long(number: int) -> float:
        return (0.7 * len(str(number)) + 0.2) * size

    def free(x: float, y: float, number: int) -> bool:
        return not any(x < u + long(other) and u < x + long(number) and abs(y - v) < size
                       for other, (u, v) in placed.items())  # fmt: skip

    for number, (x, y) in sorted(anchors(outlines).items(), key=lambda item: item[1][1]):
        right, left, y = x + 0.3 * size, x - 0.8 * size - long(number), y + 0.35 * size
        sides = [min(max(side, 0.0), width - long(number)) for side in (right, left)]
        rows = (y + sign * 0.25 * size * step for step in steps for sign in (1, -1))
        places = [(x, min(max(row, size), lowest)) for row in rows for x in sides]
        placed[number] = next((place for place in places if free(*place, number)), places[0])
    return placed


def bars(*scales: Scale) -> str:
    return f'<div class="bars">{"".join(map(_bar, scales))}</div>'


def _bar(scale: Scale) -> str:
    ticks = np.linspace(scale.low, scale.high, 3)
    labels = "".join(f"<span>{tick(t, scale.low < 0)}</span>" for t in ticks)
    return (
        f'<div class="bar"><div class="what">{escape(scale.label)}</div>'
        f'<div class="ramp" style="background:{scale.css()}"></div><div class="ticks">{labels}</div></div>'
    )

