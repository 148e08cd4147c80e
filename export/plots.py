"""The two plots of a model card, as small PNG files. Figures in, bytes out; no picture of data."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

INK = "#1f2933"
ACCENT = "#2a7f62"


def _finish(figure) -> bytes:
    import matplotlib.pyplot as plt

    stream = io.BytesIO()
    # No software tag: the same figures give the same file.
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    plt.close(figure)
    return stream.getvalue()


def _axes(width: float, height: float):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "text.color": INK, "axes.labelcolor": INK})
    return plt.subplots(figsize=(width, height), layout="constrained")


def confusion_plot(table: np.ndarray, labels: Sequence[str], title: str) -> bytes:
    """A confusion table, int (classes, classes), rows the truth: shade by share, text by count."""
    figure, axes = _axes(4.8, 4.4)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Greens", vmin=0.0, vmax=1.0)
    for row, column in np.ndindex(*table.shape):
        if table[row, column]:
            colour = "white" if shares[row, column] > 0.55 else INK
            axes.text(column, row, str(table[row, column]), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(labels)), labels, rotation=35, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("found")
    axes.set_ylabel("truth")
    axes.set_title(title, fontsize=9)
    return _finish(figure)


def reliability_plot(rows: Sequence[tuple[float, float, int]], title: str) -> bytes:
    """Share right against confidence, one point a bin, its area by the count of pictures."""
    figure, axes = _axes(4.4, 3.8)
    sure, right, counts = (np.array(column) for column in zip(*rows, strict=True))
    axes.plot([0, 1], [0, 1], color="#9aa5b1", linewidth=1, linestyle="--", label="calibrated")
    axes.plot(sure, right, color=ACCENT, linewidth=1)
    sizes = 15 + 260 * counts / counts.max()
    axes.scatter(sure, right, s=sizes, color=ACCENT, alpha=0.7, label="bin (area: pictures)")
    axes.set_xlim(0, 1.03)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("confidence (softmax with temperature)")
    axes.set_ylabel("share right")
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.25)
    legend = axes.legend(loc="lower right", fontsize=8)
    for handle in legend.legend_handles[1:]:
        handle.set_sizes([40])
    return _finish(figure)
