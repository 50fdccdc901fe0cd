"""The views of a review: which there are, and how Slicer's layout puts them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from .colors import VIEW_COLORS

FIRST_LAYOUT = 7390
GROUP = 7390
"""Slice views of one group scroll and zoom together."""
PETS, MAPS = ("low", "denoised", "reference"), ("uncertainty", "difference")
TAGS = {"low": "PETDiffusionLow", "denoised": "PETDiffusionDenoised", "reference": "PETDiffusionReference",
        "uncertainty": "PETDiffusionUncertainty", "difference": "PETDiffusionDifference"}
TITLES = {"low": "Low-count", "denoised": "Denoised", "reference": "Normal dose", "uncertainty": "Uncertainty",
          "difference": "Difference"}
PLOT_TAG, TABLE_TAG = "PETDiffusionPlot", "PETDiffusionTable"
CHART, TABLE = "chart", "table"
IN_A_ROW, BELOW_HEIGHT = 3, 350
_BELOW = {CHART: f'<view class="vtkMRMLPlotViewNode" singletontag="{PLOT_TAG}"></view>',
          TABLE: f'<view class="vtkMRMLTableViewNode" singletontag="{TABLE_TAG}"></view>'}


def rows(views: Sequence[str]) -> list[Sequence[str]]:
    """Up to three views in one row, more in two: a row of four would make each too small to read."""
    first = len(views) if len(views) <= IN_A_ROW else (len(views) + 1) // 2
    return [row for row in (views[:first], views[first:]) if row]


def xml(views: Sequence[str], below: str = "") -> str:
    """Views side by side; below them a chart, a table or nothing."""
    lines = [f'<layout type="horizontal" split="true">{"".join(map(_item, row))}</layout>' for row in rows(views)]
    if len(lines) == 1 and not below:
        return lines[0]
    height = (1000 - (BELOW_HEIGHT if below else 0)) // len(lines)
    items = [f'<item splitSize="{height}">{line}</item>' for line in lines]
    items += [f'<item splitSize="{BELOW_HEIGHT}">{_BELOW[below]}</item>'] if below else []
    return f'<layout type="vertical" split="true">{"".join(items)}</layout>'


def _item(view: str) -> str:
    return (f'<item><view class="vtkMRMLSliceNode" singletontag="{TAGS[view]}">'
            f'<property name="orientation" action="default">Coronal</property>'
            f'<property name="viewlabel" action="default">{TITLES[view]}</property>'
            f'<property name="viewcolor" action="default">{VIEW_COLORS[view]}</property></view></item>')


def number(views: Sequence[str], below: str = "") -> int:
    """Every arrangement has its own number, because a layout's description cannot be changed later."""
    kind = ("", *_BELOW).index(below)
    return FIRST_LAYOUT + sum(1 << i for i, view in enumerate(TAGS) if view in views) + (kind << len(TAGS))


def register(node: Any) -> None:
    """Every arrangement into Slicer's layout node, so that a scene that was saved in a review opens in any session."""
    was = node.StartModify()
    for count in range(len(TAGS)):
        for others in combinations([view for view in TAGS if view != "denoised"], count):
            views = [view for view in TAGS if view == "denoised" or view in others]
            for below in ("", *_BELOW):
                if not node.IsLayoutDescription(number(views, below)):
                    node.AddLayoutDescription(number(views, below), xml(views, below))
    node.EndModify(was)


def is_ours(layout: int) -> bool:
    return FIRST_LAYOUT <= layout < FIRST_LAYOUT + ((len(_BELOW) + 1) << len(TAGS))
