"""The labelled pictures: which there are, which belong together, and which fold each falls in.

Reads a folder of `<class>/<picture>` with a `groups.csv` (columns `file`, `group`) in which
near-identical shots of one object share a group. Gives the list of pictures with their fold. It
never copies, changes or stores a picture.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .errors import ExportError

LABELS = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
"""Order of the classes in every array, file and output of the workshop."""

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Picture:
    """One labelled picture: its file (relative to the data folder), class, group and fold."""

    file: str
    label: str
    group: str
    fold: int


def group_order(group: str) -> bytes:
    """The hash that orders groups: SHA-256 of the group id, the same on every machine.

    Python's own `hash` is salted for each process and would deal other folds every time.
    """
    return hashlib.sha256(group.encode("utf-8")).digest()


def deal_folds(members: Iterable[tuple[str, str]], folds: int = FOLDS) -> dict[str, int]:
    """Deal groups into folds: grouped (no group straddles two), stratified, and without a seed.

    The groups of a class stand in the order of their hash, and each goes to the fold that has the
    fewest pictures of that class so far (the lowest fold on a tie). A group of several classes
    counts as its commonest one (the first in the alphabet on a tie). There is no seed, so there is
    no lucky one to pick.

    Args:
        members: (group, label) of each picture.
        folds: how many folds to deal.

    Returns:
        The fold (0 to folds - 1) of each group.
    """
    labels_of: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label in members:
        labels_of[group][label] += 1
    dealt: dict[str, int] = {}
    filled: dict[str, list[int]] = defaultdict(lambda: [0] * folds)
    for group in sorted(labels_of, key=group_order):
        counts = labels_of[group]
        main_label = min(counts, key=lambda label: (-counts[label], label))
        sizes = filled[main_label]
        fold = sizes.index(min(sizes))
        sizes[fold] += counts.total()
        dealt[group] = fold
    return dealt


def list_pictures(folder: Path) -> list[Picture]:
    """List the pictures of a data folder with class, group and fold, ordered by file name.

    Raises:
        ExportError: the folder or `groups.csv` is missing, a row names a picture that is not there,
            or a class is none of `LABELS`.
    """
    table = folder / "groups.csv"
    if not table.is_file():
        raise ExportError(f"{table}: no such file; --data must name a folder with groups.csv in it")
    with table.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if not {"file", "group"} <= set(reader.fieldnames or ()):
            raise ExportError(f"{table}: needs the columns 'file' and 'group'")
        rows = [(row["file"], row["group"]) for row in reader]
    for file, _ in rows:
        if file.split("/")[0] not in LABELS:
            raise ExportError(f"{table}: {file}: the class must be one of {', '.join(LABELS)}")
        if not (folder / file).is_file():
            raise ExportError(f"{table}: {file} is listed but missing in {folder}")
    folds = deal_folds((group, file.split("/")[0]) for file, group in rows)
    return [Picture(file, file.split("/")[0], group, folds[group]) for file, group in sorted(rows)]


def read_rgb(path: Path) -> np.ndarray:
    """Read a picture as uint8 (height, width, 3) RGB.

    Raises:
        ExportError: the file is missing or is no picture.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ExportError(f"{path}: cannot be read as a picture")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def load_squares(folder: Path, files: Sequence[str], size: int) -> np.ndarray:
    """Read pictures as the network sees them: each stretched whole to a square.

    Uses the daemon's own `prepare`, so that what is trained and measured is what a bin feeds.

    Returns:
        uint8 (n, size, size, 3) RGB.
    """
    from bin_daemon.classifier import prepare

    squares = np.empty((len(files), size, size, 3), np.uint8)
    for square, file in zip(squares, files, strict=True):
        square[:] = prepare(read_rgb(folder / file), size, size)
    return squares


def label_indices(pictures: Sequence[Picture]) -> np.ndarray:
    """The class of each picture as its index in `LABELS`, int64 (n,)."""
    return np.array([LABELS.index(picture.label) for picture in pictures], np.int64)
