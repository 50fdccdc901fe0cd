"""How every plot of this program looks, and plots as pictures that go into a page."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Callable
from functools import wraps
from html import escape
from typing import Any

INK, SOFT, LINE = "#16202a", "#55616d", "#dfe4e8"
COLOURS = ("#0b63b5", "#d61f69", "#2f8f5b", "#c47a11", "#7a4fb3", "#0f8b8d", "#a33c2e", "#5b6770")
GREY = "#8b96a0"
LARGE = 1000
LETTER = 0.1
"""Inches: a letter of a title, on average at most."""
STYLE = {
    "font.family": "sans-serif", "font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "petdiffusion",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": SOFT, "axes.labelcolor": INK,
    "xtick.color": SOFT, "ytick.color": SOFT, "axes.titlesize": 10, "axes.titleweight": "bold", "axes.grid": True,
    "grid.color": LINE, "grid.linewidth": 0.6, "axes.axisbelow": True,
}  # fmt: skip


def styled(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Matplotlib takes its style when a thing is drawn; nobody else's is changed."""
    @wraps(draw)
    def within(*args: Any, **settings: Any) -> Any:
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return draw(*args, **settings)

    return within


def thousands(axes: Any) -> None:
    """Bq/ml as 25k: in full they would run into one another."""
    from matplotlib.ticker import EngFormatter

    for axis, (_, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        if high >= LARGE:
            axis.set_major_formatter(EngFormatter(sep=""))


def blank(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def headed(figure: Any, text: str) -> None:
    """In as many lines as the picture's width needs, over the whole of it: over the axes alone a long one is cut."""
    figure.suptitle(textwrap.fill(text, int(figure.get_figwidth() / LETTER)), fontsize=10, fontweight="bold")


def legend(figure: Any) -> None:
    """Above the picture, where neither points nor lines are."""
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=8)


def as_image(figure: Any, alt: str) -> str:
    """An SVG of its own inside the page, which the page's style does not reach; the same numbers give the same text."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    data = base64.b64encode(buffer.getvalue().encode()).decode()
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return f'<img alt="{escape(alt)}" width="{width}" height="{height}" src="data:image/svg+xml;base64,{data}">'
