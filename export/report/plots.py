"""Charts of a report and of a model card, as SVG text. Figures in, markup out; no picture of data.

The same figures give the same bytes. `themed` lets the page around a chart choose its colours.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from bin_daemon.core.messages import Array
from export.errors import ExportError

try:
    from cycler import cycler
    from matplotlib import style
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MaxNLocator
except ModuleNotFoundError as error:
    raise ExportError("no matplotlib to draw with: pip install 'bin-daemon[export]'") from error

INK, SOFT, LINE, PAPER = "#1f2933", "#5b6770", "#d9dfe4", "#ffffff"
SERIES = (
    "#1b7f5c", "#c8553d", "#3b6fb6", "#a87b00", "#8a4fa3", "#5c6b73", "#c74f8a", "#1f8fa0",
    "#7a5c3a",
)  # fmt: skip
"""Colours of curves; more curves begin anew."""
_VARIABLES = {
    **{colour: f"s{i}" for i, colour in enumerate(SERIES)},
    INK: "ink",
    SOFT: "soft",
    LINE: "line",
    PAPER: "card",
}
_style = Path(__file__).with_name("plots.mplstyle")
_styled = style.context(["default", _style, {"axes.prop_cycle": cycler(color=SERIES)}])

Point = Sequence[float]


def themed(chart: str) -> str:
    """A chart that takes its colours from the CSS variables of a page, where there are any."""
    for colour, name in _VARIABLES.items():
        chart = chart.replace(colour, f"var(--{name},{colour})")
    return chart


@_styled
def confusion_plot(table: Array, labels: Sequence[str], title: str) -> str:
    """A confusion table, int (classes, classes), rows the truth: shade by share, text by count."""
    side = 140 + len(labels) * max(30, min(52, 380 // len(labels)))
    figure, axes = _figure(side, side)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    for (row, column), share in np.ndenumerate(shares):
        shade, corner = 0.04 + 0.92 * float(share), (column - 0.48, row - 0.48)
        axes.add_patch(Rectangle(corner, 0.96, 0.96, color=SERIES[0], alpha=shade, linewidth=0))
        if count := table[row, column]:
            colour = PAPER if share > 0.55 else INK
            axes.text(column, row, str(count), color=colour, ha="center", va="center")
    edges = (-0.5, len(labels) - 0.5)
    axes.set(xlim=edges, ylim=edges[::-1], box_aspect=1, xlabel="found", ylabel="truth")
    axes.set_xticks(range(len(labels)), labels, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(length=0, labelcolor=INK)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return _svg(figure, title)


@_styled
def reliability_plot(rows: Sequence[tuple[float, float, int]], title: str) -> str:
    """Share right against confidence, one point a bin, its area by the count of pictures."""
    figure, axes = _figure()
    sure, right, counts = np.array(rows, float).reshape(-1, 3).T
    _diagonal(axes)
    axes.plot(sure, right, color=SERIES[0])
    areas = 20 + 380 * counts / max(counts, default=1)
    axes.scatter(sure, right, s=areas, color=SERIES[0], alpha=0.7, linewidth=0, clip_on=False)
    axes.set(xlabel="confidence (softmax with temperature)", ylabel="share right")
    return _svg(figure, title)


@_styled
def roc_plot(curves: Mapping[str, tuple[float, Sequence[Point]]], title: str) -> str:
    """ROC of each class against the rest: its area and its points (false, true positive rate)."""
    figure, axes = _figure()
    _diagonal(axes)
    # A label that began with an underscore would be left out of the legend: a space goes before it.
    for label, (area, points) in curves.items():
        axes.plot(*np.transpose(points), label=f" {label} {area:.3f}")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    if curves:
        axes.legend(loc="lower right")
    return _svg(figure, title)


@_styled
def coverage_plot(
    points: Sequence[Point], chosen: tuple[float, float], target: float, title: str
) -> str:
    """Share right against share accepted as one threshold falls, and what is shipped in it.

    `points` are (threshold, coverage, precision); `chosen` is coverage and precision of the shipped
    thresholds, cross-fitted; `target` the precision aimed at.
    """
    figure, axes = _figure()
    _, coverage, precision = np.array(points, float).reshape(-1, 3).T
    axes.plot(coverage, precision, color=SERIES[0], label="one threshold for all")
    axes.axhline(target, color=SOFT, linestyle="--", linewidth=1, label=f"aimed at {target:.1%}")
    shipped = f"shipped: {chosen[0]:.1%} at {chosen[1]:.1%}"
    axes.plot(*chosen, "o", color=SERIES[1], label=shipped, clip_on=False)
    low = min([0.9, chosen[1], *precision.tolist()])
    axes.set(xlim=(0, 1), ylim=(np.floor(low * 20) / 20, 1))
    axes.set(xlabel="coverage: share of the pictures accepted", ylabel="precision of those")
    axes.legend(loc="best")
    return _svg(figure, title)


@_styled
def training_plot(curves: Mapping[str, Sequence[Point]], name: str, title: str) -> str:
    """Curves over the epochs, (epoch, value) each; `name` says what the values are."""
    figure, axes = _figure()
    for label, points in curves.items():
        marker = "o" if len(points) == 1 else "none"
        axes.plot(*np.transpose(points), marker=marker, label=f" {label}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", ylabel=name)
    axes.legend(loc="best")
    return _svg(figure, title)


def _figure(width: float = 440, height: float = 340) -> tuple[Figure, Axes]:
    """A chart of a size in points, whose labels make themselves room."""
    figure = Figure(figsize=(width / 72, height / 72))
    return figure, figure.add_subplot()


def _diagonal(axes: Axes) -> None:
    """Shares from 0 to 1 on both axes, and the line on which they are the same."""
    axes.plot([0, 1], [0, 1], color=SOFT, linestyle="--", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _svg(figure: Figure, title: str) -> str:
    figure.suptitle(title, x=0.02, ha="left")
    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=nothing)
    text = stream.getvalue()
    # Ids such as axes_1 would be said twice where a page holds two charts; nothing refers to them.
    text = re.sub(r' id="\w+_\d+"', "", text[text.index("<svg") :])
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
