"""Figures on real chambers, step by step: the whole frame, the crop, the crop in neutral light.

The item is cut out by the daemon's own chamber code against an empty view: the session's picture of
it, or the median of the session's frames. Frames are measured on and never trained on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.chamber.chamber import isolate
from bin_daemon.chamber.crop import square
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.images import median_empty, prepare
from bin_daemon.core.messages import Array
from bin_daemon.model.calibration import accuracy, confusion, macro, per_class
from export.data.csv_tables import read_table
from export.data.pictures import read_rgb

CHAMBERS = ("chamber_a", "chamber_b")
STEPS = ("whole", "cropped", "normalised")
LABELS = "labels.csv"
EMPTY = "empty"
LEAST_FRAMES = 10  # whose median may stand for the empty view


@dataclass(frozen=True, slots=True)
class ChamberPicture:
    """One picture of a chamber with an item in it."""

    path: Path
    label: str
    thing: str
    session: str


@dataclass(frozen=True, slots=True)
class PreparedFrame:
    """One frame as the network sees it."""

    frame: ChamberPicture
    pictures: dict[str, Array]
    """Step -> uint8 (size, size, 3) RGB; all of the whole frame where no item was cut out."""

    @property
    def found(self) -> bool:
        """Whether an item was cut out."""
        return self.pictures["cropped"] is not self.pictures["whole"]


def read_chamber(folder: Path) -> tuple[list[ChamberPicture], dict[str, Path]]:
    """The frames of a chamber that show an item, and the empty picture of sessions that have one.

    `labels.csv` has the columns file and class, and where known item and flag (a hand or the open
    lid is in view; such frames are left out). The session is the folder of a file. Raises
    ExportError where the table cannot be read.
    """
    frames: list[ChamberPicture] = []
    empties: dict[str, Path] = {}
    for _, row in read_table(folder / LABELS, ("file", "class")):
        path, session, label = folder / row["file"], Path(row["file"]).parts[0], row["class"]
        if row.get("flag"):
            continue
        if label == EMPTY:
            empties.setdefault(session, path)
        else:
            frames.append(ChamberPicture(path, label, row.get("item") or label, session))
    return frames, empties


def by_session(frames: Iterable[ChamberPicture]) -> dict[str, list[ChamberPicture]]:
    """The frames of each session, in their order."""
    sessions = defaultdict(list)
    for frame in frames:
        sessions[frame.session].append(frame)
    return sessions


def prepared_frames(folder: Path, size: int) -> Iterator[PreparedFrame]:
    """What the network sees of a chamber; raises ExportError where a file of it cannot be read."""
    frames, empties = read_chamber(folder)
    for session, members in by_session(frames).items():
        pictures = [read_rgb(frame.path) for frame in members]
        empty = None
        if session in empties:
            empty = read_rgb(empties[session])
        elif len(pictures) >= LEAST_FRAMES:
            empty = median_empty([frame.path for frame in members])
        for frame, picture in zip(members, pictures, strict=True):
            yield PreparedFrame(frame, _steps(picture, empty, size))


def _steps(frame: Array, empty: Array | None, size: int) -> dict[str, Array]:
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
    folder: Path, labels: tuple[str, ...], size: int, logits: Callable[[Array], Array]
) -> dict[str, Any]:
    """Arg-max figures of a model on a chamber, for each step; items of other classes are left out.

    `logits` gives scores (n, classes) of uint8 pictures (n, size, size, 3). Returns frames,
    not_found, majority (what saying the commonest class always would score), and for each step
    accuracy, macro_recall over the classes that occur, and per_class with recall and found_as.
    """
    seen = [one for one in prepared_frames(folder, size) if one.frame.label in labels]
    truth = np.array([labels.index(one.frame.label) for one in seen])
    report: dict[str, Any] = {
        "frames": len(seen),
        "not_found": sum(not one.found for one in seen),
        "majority": round(float(np.bincount(truth).max() / len(truth)), 5),
        "steps": {},
    }
    for step in STEPS if any(one.found for one in seen) else STEPS[:1]:
        found = logits(np.stack([one.pictures[step] for one in seen])).argmax(axis=1)
        report["steps"][step] = _figures(found, truth, labels)
    return report


def _figures(found: Array, truth: Array, labels: tuple[str, ...]) -> dict[str, Any]:
    table = confusion(found, truth, len(labels))
    recalls = per_class(table)["recall"]
    return {
        "accuracy": round(accuracy(table), 5),
        "macro_recall": round(macro("recall", table), 5),
        "per_class": {
            labels[i]: {
                "frames": int(table[i].sum()),
                "recall": round(float(recalls[i]), 5),
                "found_as": dict(zip(labels, table[i].tolist(), strict=True)),
            }
            for i in np.flatnonzero(table.sum(axis=1))
        },
    }
