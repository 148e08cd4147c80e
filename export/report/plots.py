"""Charts of a report and of a model card, as SVG text. Figures in, markup out; no picture of data.

Colours are CSS variables with a light default, so that a page can give its own for the dark. What
is written into a chart is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from bin_daemon.core.messages import Array

SERIES = 9
"""Colours there are; more series begin anew."""
STYLE = """\
.chart{font:12px system-ui,sans-serif;max-width:100%;height:auto}
.chart text{fill:var(--ink,#1f2933)}
.chart .soft{fill:var(--soft,#5b6770)}
.chart .grid{stroke:var(--line,#d9dfe4);fill:none}
.chart .guide{stroke:var(--soft,#5b6770);fill:none;stroke-dasharray:4 4}
.chart .line{fill:none;stroke-width:1.8;stroke-linejoin:round}
.chart .dot{fill-opacity:.7;stroke:none}
.chart .cell{fill:var(--s0,#1b7f5c)}
.chart .over{fill:var(--over,#fff)}
""" + "".join(
    f".chart .s{i}{{stroke:var(--s{i},{colour});fill:var(--s{i},{colour})}}\n"
    f".chart .line.s{i}{{fill:none}}\n"
    for i, colour in enumerate(
        (
            "#1b7f5c",
            "#c8553d",
            "#3b6fb6",
            "#a87b00",
            "#8a4fa3",
            "#5c6b73",
            "#c74f8a",
            "#1f8fa0",
            "#7a5c3a",
        )
    )
)

Point = Sequence[float]


@dataclass(frozen=True, slots=True)
class Axis:
    """The name of an axis, its range in its own units, and where its ticks are."""

    name: str
    low: float
    high: float
    ticks: Sequence[float]

    def share(self, value: float) -> float:
        """Where a value lies between low (0) and high (1), not beyond them."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


SHARE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
WIDTH, HEIGHT = 440, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 30, 44


def standalone(chart: str) -> bytes:
    """A chart as an SVG file, on white, for where there is no page to give it colours."""
    head, rest = chart.split(">", 1)
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    return f"{head}><style>{STYLE}</style>{ground}{rest}\n".encode()


def confusion_plot(table: Array, labels: Sequence[str], title: str) -> str:
    """A confusion table, int (classes, classes), rows the truth: shade by share, text by count."""
    classes = len(labels)
    left, top, side = 104, 34, max(30, min(52, 380 // classes))
    size = side * classes
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    parts = [_text(left, 16, title, anchor="start")]
    for row, column in np.ndindex(*table.shape):
        x, y = left + column * side, top + row * side
        words = f"{labels[row]} found as {labels[column]}: {table[row, column]}"
        parts.append(
            f'<rect x="{x}" y="{y}" width="{side - 1}" height="{side - 1}" class="cell" '
            f'fill-opacity="{0.04 + 0.92 * shares[row, column]:.2f}">'
            f"<title>{escape(words)}</title></rect>"
        )
        if table[row, column]:
            kind = "over" if shares[row, column] > 0.55 else ""
            parts.append(_text(x + side / 2, y + side / 2 + 4, str(table[row, column]), kind))
    for i, label in enumerate(labels):
        middle = i * side + side / 2
        parts.append(_text(left - 6, top + middle + 4, label, anchor="end"))
        x, y = left + middle, top + size + 14
        turn = f'transform="rotate(-35 {x:.1f} {y})"'
        parts.append(_text(x, y, label, anchor="end", more=turn))
    parts.append(_text(left + size / 2, top + size + 74, "found", "soft"))
    middle = top + size / 2
    parts.append(_text(14, middle, "truth", "soft", more=f'transform="rotate(-90 14 {middle})"'))
    return _svg(left + size + 10, top + size + 82, title, parts)


def reliability_plot(rows: Sequence[tuple[float, float, int]], title: str) -> str:
    """Share right against confidence, one point a bin, its area by the count of pictures."""
    x = Axis("confidence (softmax with temperature)", 0.0, 1.0, SHARE)
    y = Axis("share right", 0.0, 1.0, SHARE)
    largest = max((count for _, _, count in rows), default=1)
    parts = [_line([(0, 0), (1, 1)], x, y, "guide"), _line(rows, x, y, "line s0")]
    for sure, right, count in rows:
        words = f"{count} pictures, confidence {sure:.2f}, right {right:.2f}"
        parts.append(
            f'<circle cx="{_x(x, sure):.1f}" cy="{_y(y, right):.1f}" '
            f'r="{2.5 + 10 * (count / largest) ** 0.5:.1f}" class="dot s0">'
            f"<title>{words}</title></circle>"
        )
    return _chart(x, y, title, parts)


def roc_plot(curves: dict[str, tuple[float, Sequence[Point]]], title: str) -> str:
    """ROC of each class against the rest: its area and its points (false, true positive rate)."""
    x = Axis("false positive rate", 0.0, 1.0, SHARE)
    y = Axis("true positive rate", 0.0, 1.0, SHARE)
    parts = [_line([(0, 0), (1, 1)], x, y, "guide")]
    for i, (label, (area, points)) in enumerate(curves.items()):
        parts.append(_line(points, x, y, f"line s{i % SERIES}"))
        parts += _legend(i, f"{label} {area:.3f}", len(curves))
    return _chart(x, y, title, parts)


def coverage_plot(
    points: Sequence[Point], chosen: tuple[float, float], target: float, title: str
) -> str:
    """Share right against share accepted as one threshold falls, and what is shipped in it.

    Args:
        points: (threshold, coverage, precision).
        chosen: coverage and precision of the shipped thresholds, cross-fitted.
        target: the precision aimed at.
        title: of the chart.
    """
    low = min([0.9, chosen[1], *(precision for _, _, precision in points)])
    bottom = np.floor(low * 20) / 20
    x = Axis("coverage: share of the pictures accepted", 0.0, 1.0, SHARE)
    y = Axis("precision: share right of those", bottom, 1.0, np.linspace(bottom, 1.0, 6))
    curve = [(coverage, precision) for _, coverage, precision in points]
    parts = [
        _line([(0, target), (1, target)], x, y, "guide"),
        _line(curve, x, y, "line s0"),
        f'<circle cx="{_x(x, chosen[0]):.1f}" cy="{_y(y, chosen[1]):.1f}" r="6" class="dot s1"/>',
        *_legend(0, "one threshold for all", 3),
        *_legend(1, f"shipped: {chosen[0]:.1%} at {chosen[1]:.1%}", 3),
        _text(_x(x, 0.02), _y(y, target) + 14, f"aimed at {target:.1%}", "soft", anchor="start"),
    ]
    return _chart(x, y, title, parts)


def training_plot(curves: dict[str, Sequence[Point]], name: str, title: str) -> str:
    """Curves over the epochs, (epoch, value) each; `name` says what the values are."""
    everything = [point for points in curves.values() for point in points]
    last = max(epoch for epoch, _ in everything)
    low, high = min(v for _, v in everything), max(v for _, v in everything)
    low = min(0.0, low) if high > 1.0 else low
    high = high if high > low else low + 1.0
    x = Axis("epoch", 0.0, max(last, 1.0), np.unique(np.linspace(0, last, 6).round()))
    y = Axis(name, low, high, np.linspace(low, high, 6))
    parts = []
    for i, (label, points) in enumerate(curves.items()):
        parts.append(_line(points, x, y, f"line s{i % SERIES}"))
        parts += _legend(i, label, len(curves), top=True)
    return _chart(x, y, title, parts)


def _chart(x: Axis, y: Axis, title: str, parts: Sequence[str]) -> str:
    """Ticks, grid and names of two axes, and the parts upon them."""
    frame = [_text(_LEFT, 16, title, anchor="start")]
    for tick in x.ticks:
        at = _x(x, tick)
        frame.append(f'<path d="M{at:.1f} {_TOP}V{HEIGHT - _BOTTOM}" class="grid"/>')
        frame.append(_text(at, HEIGHT - _BOTTOM + 16, f"{tick:g}", "soft"))
    for tick in y.ticks:
        at = _y(y, tick)
        frame.append(f'<path d="M{_LEFT} {at:.1f}H{WIDTH - _RIGHT}" class="grid"/>')
        frame.append(_text(_LEFT - 6, at + 4, f"{tick:.3g}", "soft", anchor="end"))
    frame.append(_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8, x.name, "soft"))
    middle = (_TOP + HEIGHT - _BOTTOM) / 2
    turn = f'transform="rotate(-90 12 {middle})"'
    frame.append(_text(12, middle, y.name, "soft", more=turn))
    return _svg(WIDTH, HEIGHT, title, [*frame, *parts])


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.share(value) * (WIDTH - _LEFT - _RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - _BOTTOM - axis.share(value) * (HEIGHT - _TOP - _BOTTOM)


def _line(points: Sequence[Point], x: Axis, y: Axis, kind: str) -> str:
    path = "L".join(f"{_x(x, point[0]):.1f} {_y(y, point[1]):.1f}" for point in points)
    return f'<path d="M{path}" class="{kind}"/>' if points else ""


def _legend(index: int, words: str, of: int, *, top: bool = False) -> list[str]:
    """A line of a legend in the right corner, at the bottom or at the top."""
    first = _TOP + 14 if top else HEIGHT - _BOTTOM - 18 * of
    y = first + 18 * index
    right = WIDTH - _RIGHT - 8
    return [
        f'<rect x="{right - 10}" y="{y - 8}" width="10" height="10" class="s{index % SERIES}"/>',
        _text(right - 16, y + 1, words, anchor="end"),
    ]


def _text(
    x: float, y: float, words: str, kind: str = "", *, anchor: str = "middle", more: str = ""
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}" {more}>'
        f"{escape(words)}</text>"
    )


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" class="chart" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )
