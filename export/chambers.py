"""Figures on real chambers, step by step: the whole frame, the crop, the crop in neutral light.

A model and a folder of frames with `labels.csv` flow in, figures flow out. The item is found and
cut out by the daemon's own chamber code against an empty view: the session's own picture of it, or
the median of the session's frames. Frames are measured on and never trained on.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bin_daemon.chamber import isolate
from bin_daemon.classifier import prepare
from bin_daemon.config import ChamberSection
from bin_daemon.crop import square

from . import metrics
from .data import read_rgb

STEPS = ("whole", "cropped", "normalised")
EMPTY = "empty"
LEAST_FRAMES = 10  # whose median may stand for the empty view


@dataclass(frozen=True, slots=True)
class Sight:
    """One frame with an item: its class, thing and session, and what the network sees at each step.

    pictures: step -> uint8 (size, size, 3) RGB. `found` is false where no item was cut out, and
    every step then shows the whole frame.
    """

    file: str
    label: str
    thing: str
    session: str
    found: bool
    pictures: dict[str, np.ndarray]


def sights(folder: Path, size: int) -> Iterator[Sight]:
    """The frames of a chamber that show an item, without those with a hand or the lid in view.

    `labels.csv` has the columns file and class, and where known item and flag; the session is the
    folder of a file. A chamber without any empty picture is seen whole at every step: its items
    lie alike in every frame, so a median would hold them too.

    Raises:
        ExportError: a picture cannot be read.
    """
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if not row.get("flag")]
    sessions: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        sessions.setdefault(Path(row["file"]).parts[0], []).append(row)
    has_empties = any(row["class"] == EMPTY for row in rows)
    for session, members in sessions.items():
        frames = {row["file"]: read_rgb(folder / row["file"]) for row in members}
        empty = _empty_view(members, frames) if has_empties else None
        for row in members:
            if row["class"] != EMPTY:
                seen = _steps(frames[row["file"]], empty, size)
                found = len({id(picture) for picture in seen.values()}) > 1
                thing = row.get("item") or row["class"]
                yield Sight(row["file"], row["class"], thing, session, found, seen)


def _empty_view(rows: list[dict[str, str]], frames: dict[str, np.ndarray]) -> np.ndarray | None:
    empties = [frames[row["file"]] for row in rows if row["class"] == EMPTY]
    if empties:
        return empties[0]
    if len(frames) < LEAST_FRAMES:
        return None
    return median_view(frames.values())


def median_view(frames: Collection[np.ndarray]) -> np.ndarray:
    """What frames of a session agree on at each pixel, uint8 as they are: its empty view."""
    return np.median(np.stack(list(frames)), axis=0).astype(np.uint8)


def _steps(frame: np.ndarray, empty: np.ndarray | None, size: int) -> dict[str, np.ndarray]:
    """What each step hands to the network; the whole frame where no item can be cut out."""
    whole = prepare(frame, size, size)
    item = None if empty is None or empty.shape != frame.shape else isolate(frame, empty)
    if item is None:
        return dict.fromkeys(STEPS, whole)
    plain = square(frame, item.box, ChamberSection().margin, None)
    return {
        "whole": whole,
        "cropped": prepare(plain, size, size),
        "normalised": prepare(item.crop, size, size),
    }


def measure(
    folder: Path, labels: tuple[str, ...], size: int, logits: Callable[[np.ndarray], np.ndarray]
) -> dict:
    """Arg-max figures of a model on a chamber, for each step.

    Args:
        folder: of the frames; classes that are none of `labels` are left out.
        labels: of the model.
        size: side of the network's input in pixels.
        logits: gives scores (n, classes) of uint8 pictures (n, size, size, 3).

    Returns:
        frames, not_found, majority (the share of the commonest class: what saying it always would
        score), and for each step accuracy, macro_recall over the classes that occur, and per_class
        with recall and what was found.
    """
    seen = [sight for sight in sights(folder, size) if sight.label in labels]
    truth = np.array([labels.index(sight.label) for sight in seen])
    report: dict = {
        "frames": len(seen),
        "not_found": sum(not sight.found for sight in seen),
        "majority": round(float(np.bincount(truth).max() / len(truth)), 4),
        "steps": {},
    }
    for step in STEPS if any(sight.found for sight in seen) else STEPS[:1]:
        found = logits(np.stack([sight.pictures[step] for sight in seen])).argmax(axis=1)
        report["steps"][step] = _figures(found, truth, labels)
    return report


def _figures(found: np.ndarray, truth: np.ndarray, labels: tuple[str, ...]) -> dict:
    table = metrics.confusion(found, truth, len(labels))
    present = np.flatnonzero(table.sum(axis=1))
    recalls = metrics.per_class(table)["recall"]
    return {
        "accuracy": round(metrics.accuracy(table), 4),
        "macro_recall": round(float(recalls[present].mean()), 4),
        "per_class": {
            labels[i]: {
                "frames": int(table[i].sum()),
                "recall": round(float(recalls[i]), 4),
                "found_as": dict(zip(labels, table[i].tolist(), strict=True)),
            }
            for i in present
        },
    }
