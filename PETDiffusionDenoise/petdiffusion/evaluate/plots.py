"""Plots as pictures that go into the page: box plots, regression, Bland-Altman, quality against dose and time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..measure.agreement import agreement
from ..measure.agreement import regression as line_of
from ..write.plots import COLOURS, GREY, INK, LINE, SOFT, as_image, blank, headed, legend, styled, thousands
from .numbers import LOW, Row, unit_word, value_word
from .summary import paired


def colour(method: str, methods: Sequence[str]) -> str:
    return GREY if method == LOW else COLOURS[list(methods).index(method) % len(COLOURS)]


@styled
def boxes(values: Mapping[str, Mapping[str, float]], title: str, unit: str, titles: Mapping[str, str], places: int
          ) -> str:
    """A box per method, every patient a point; the same patient is joined by a line. As wide as for `places` boxes, so
    that pictures of all metrics stand in columns."""
    methods = [m for m in values if values[m]]
    figure, axes = blank(1.0 + 0.68 * places, 2.9)
    columns = [list(values[m].values()) for m in methods]
    axes.boxplot(columns, widths=0.5, showfliers=False, medianprops={"color": INK},
                 boxprops={"color": SOFT}, whiskerprops={"color": SOFT}, capprops={"color": SOFT})  # fmt: skip
    for patient in values[methods[0]]:
        axes.plot(range(1, len(methods) + 1), [values[m][patient] for m in methods], color=LINE, lw=0.7, zorder=0)
    named = [m for m in methods if m != LOW]
    for i, (method, column) in enumerate(zip(methods, columns), 1):
        axes.scatter([i] * len(column), column, s=13, color=colour(method, named), alpha=0.85, zorder=3, linewidths=0)
    axes.set_xticks(range(1, len(methods) + 1), [titles.get(m, m) for m in methods], rotation=28, ha="right")
    headed(figure, title)
    axes.set_ylabel(unit)
    return as_image(figure, f"{title} by method")


@styled
def regression(pairs: Sequence[Row], methods: Sequence[str], metric: str, unit: str, titles: Mapping[str, str]
               ) -> list[str]:
    """Measured against the reference, a picture per method on one scale, with the lines of identity and of the fit."""
    label = value_word(metric, unit)
    found = _found(pairs, methods, metric)
    top = 1.05 * max((float(both.max()) for _, both in found), default=1.0)

    def draw(axes: Any, both: np.ndarray, method: str) -> None:
        axes.plot([0, top], [0, top], color=SOFT, lw=0.8, ls="--")
        axes.scatter(both[:, 1], both[:, 0], s=11, color=colour(method, methods), alpha=0.7, linewidths=0)
        slope, intercept, _ = line_of(both[:, 0], both[:, 1])
        if np.isfinite(slope):
            ends = np.array([both[:, 1].min(), both[:, 1].max()])
            axes.plot(ends, intercept + slope * ends, color=INK, lw=1.1)
        axes.set_xlim(0, top)
        axes.set_ylim(min(0.0, 1.05 * min(float(b.min()) for _, b in found)), top)
        axes.set_xlabel(f"{label}, normal dose")
        axes.set_ylabel(f"{label}, method")

    return _panels(found, draw, titles, f"{label} against the normal dose")


@styled
def bland_altman(pairs: Sequence[Row], methods: Sequence[str], metric: str, unit: str, titles: Mapping[str, str]
                 ) -> list[str]:
    """Difference against the mean of both, with the bias and the limits of agreement; one scale for all methods."""
    label = value_word(metric, unit)
    found = _found(pairs, methods, metric)
    levels = [_levels(both) for _, both in found]
    right = 1.05 * max((float(both.mean(axis=1).max()) for _, both in found), default=1.0)
    far = [np.abs(np.append(both[:, 0] - both[:, 1], ends)).max() for (_, both), ends in zip(found, levels)]
    high = 1.08 * max((float(v) for v in far), default=1.0) or 1.0

    def draw(axes: Any, both: np.ndarray, method: str) -> None:
        axes.scatter(both.mean(axis=1), both[:, 0] - both[:, 1], s=11, color=colour(method, methods), alpha=0.7,
                     linewidths=0)  # fmt: skip
        for level, dash in zip(_levels(both), ("-", "--", "--")):
            axes.axhline(level, color=INK, lw=0.8, ls=dash)
        axes.axhline(0, color=SOFT, lw=0.6, ls=":")
        axes.set_xlim(0, right)
        axes.set_ylim(-high, high)
        axes.set_xlabel(f"{label}, mean of both")
        axes.set_ylabel(f"{unit_word(unit)}, method − normal")

    return _panels(found, draw, titles, f"{label}, difference from the normal dose")


def _levels(both: np.ndarray) -> tuple[float, float, float]:
    """Bias, and the limits between which 95 % of the differences are expected."""
    told = agreement(both[:, 0], both[:, 1])
    return told.bias, told.limit_low, told.limit_high


@styled
def curves(rows: Sequence[Row], methods: Sequence[str], ylabel: str, titles: Mapping[str, str]) -> str:
    """Quality against the dose fraction."""
    figure, axes = blank(4.4, 2.9)
    for method in [*methods, LOW]:
        line = [(r["fraction"], r["mean"]) for r in rows if r["method"] == method]
        if line:
            x, y = zip(*line)
            axes.plot(x, y, marker="o", ms=4, lw=1.4, color=colour(method, methods), label=titles.get(method, method))
    axes.set_xscale("log")
    ticks = sorted({r["fraction"] for r in rows})
    axes.set_xticks(ticks, [f"{100 * t:.3g} %" for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("dose fraction")
    axes.set_ylabel(ylabel)
    legend(figure)
    return as_image(figure, f"{ylabel} against the dose fraction")


@styled
def against_time(points: Mapping[str, tuple[float, float]], methods: Sequence[str], ylabel: str,
                 titles: Mapping[str, str]) -> str:
    """{method: (median seconds, mean quality)}."""
    figure, axes = blank(4.4, 2.9)
    for method, (seconds, quality) in points.items():
        axes.scatter([seconds], [quality], s=34, color=colour(method, methods), linewidths=0,
                     label=titles.get(method, method))  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.25, y=0.2)
    axes.set_xlabel("seconds a scan, on this machine")
    axes.set_ylabel(ylabel)
    legend(figure)
    return as_image(figure, f"{ylabel} against time")


def _found(pairs: Sequence[Row], methods: Sequence[str], metric: str) -> list[tuple[str, np.ndarray]]:
    return [(m, both) for m in [*methods, LOW] if len(both := paired(pairs, m, metric)) > 2]


def _panels(found: Sequence[tuple[str, np.ndarray]], draw: Callable[[Any, np.ndarray, str], None],
            titles: Mapping[str, str], alt: str) -> list[str]:
    """A picture each, so that a narrow screen can put them below one another."""
    drawn = []
    for method, both in found:
        figure, axes = blank(2.8, 2.6)
        draw(axes, both, method)
        thousands(axes)
        headed(figure, titles.get(method, method))
        drawn.append(as_image(figure, f"{titles.get(method, method)}: {alt}"))
    return drawn


