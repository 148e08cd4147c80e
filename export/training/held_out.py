"""Held-out pictures: which they are, and what a float network says of them when it is trained.

They are looked at once, when nothing is left to choose; no training step reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bin_daemon.core.messages import Array
from export.data.pictures import Picture, label_indices, load_squares
from export.run import Run


def hold_out(pictures: Sequence[Picture], fold: int | None) -> dict[str, list[Picture]]:
    """The pictures by part, with one fold held out; None holds out nothing."""
    return {
        "train": [picture for picture in pictures if picture.fold != fold],
        "validation": [],
        "held_out": [picture for picture in pictures if picture.fold == fold],
    }


def measure(
    run: Run,
    data: Path,
    held_out: Sequence[Picture],
    labels: Sequence[str],
    size: int,
    answer: Callable[[Array], Sequence[Array]],
) -> None:
    """Write `float.npz` (logits, embedding, truth), and log the accuracy.

    Args:
        run: where it is kept.
        data: folder of the pictures.
        held_out: the pictures; where there are none, nothing is measured.
        labels: the classes in the order of the logits.
        size: side of the network's input in pixels.
        answer: uint8 (n, size, size, 3) to logits (n, classes) and embeddings (n, d).
    """
    if not held_out:
        run.log("train: nothing is held out, so nothing is measured")
        return
    logits, embedding = answer(load_squares(data, [one.file for one in held_out], size))
    truth = label_indices(held_out, labels)
    run.write_arrays("float.npz", logits=logits, embedding=embedding, truth=truth)
    run.log(f"train: float accuracy on the held-out part {np.mean(logits.argmax(1) == truth):.4f}")
