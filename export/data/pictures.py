"""The labelled pictures: which there are, which belong together, and which part each falls in.

A folder of `<class>/<picture>` and a table of groups flow in; pictures with fold flow out, and the
deal into parts is kept in the run folder. Nothing is ever written into the data folder.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from bin_daemon.core.errors import PictureError
from bin_daemon.core.images import SUFFIXES, prepare, read_picture
from bin_daemon.core.messages import Array
from bin_daemon.teaching.folds import deal
from bin_daemon.teaching.sample import UNLABELLED
from export.data.csv_tables import read_table, write_table
from export.errors import ExportError
from export.run import Run

FOLDS = 5
GROUPS = "groups.csv"
"""Table of `file`, `group`: beside the pictures where somebody knows better, else in the run."""
SPLIT = "split.csv"
_SPLIT_COLUMNS = ("file", "label", "group", "part")
PARTS = ("train", "validation", "held_out")
SHARES = (0.7, 0.1, 0.2)
"""Of the pictures of each class: for training, for choosing, and held out."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Picture:
    """One labelled picture: its file (relative to the data folder), class, group and fold."""

    file: str
    label: str
    group: str
    fold: int


Parts = dict[str, list[Picture]]


def label_of(file: str) -> str:
    """The class of a file `<class>/<picture>`."""
    return file.split("/", 1)[0]


def group_order(group: str) -> bytes:
    """What orders groups: their SHA-256, as Python's own `hash` is another in each process."""
    return hashlib.sha256(group.encode("utf-8")).digest()


def main_labels(members: Iterable[tuple[str, str]]) -> dict[str, tuple[str, int]]:
    """The class that each group counts as, and its pictures, of (group, label) of each picture.

    A group of several classes counts as its commonest one (the first in the alphabet on a tie).
    """
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for group, label in sorted(members):
        counted[group][label] += 1
    return {group: (count.most_common(1)[0][0], count.total()) for group, count in counted.items()}


def dealing_order(members: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, int]]:
    """Each group with the class it counts as and its pictures, in the order of its hash."""
    groups = main_labels(members)
    for group in sorted(groups, key=group_order):
        yield group, *groups[group]


def deal_folds(members: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The fold of each group, by (group, label) of each picture.

    Groups are dealt in the order of their hash: there is no seed, so there is no lucky one to pick.
    """
    return deal(dealing_order(members), FOLDS)


def deal_shares(
    members: Iterable[tuple[str, str]], shares: Sequence[float] = SHARES
) -> dict[str, int]:
    """Deal groups into parts of given shares, in the order of their hash and stratified by class.

    Each group goes to the part that lacks most pictures of its class. The last ones are kept for
    parts that would stay empty: a class with as many groups as there are parts is in each of them.
    `shares` sum up to 1, and a part of 0 gets none. Returns the part (an index) of each group.
    """
    by_label: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for group, label, pictures in dealing_order(members):
        by_label[label].append((group, pictures))
    parts = [part for part, share in enumerate(shares) if share]
    dealt: dict[str, int] = {}
    for groups in by_label.values():
        total = sum(pictures for _, pictures in groups)
        lacking = [share * total for share in shares]
        empty = set(parts)
        for done, (group, pictures) in enumerate(groups):
            spare = len(groups) - done > len(empty)
            part = max(parts if spare else sorted(empty), key=lacking.__getitem__)
            lacking[part] -= pictures
            empty.discard(part)
            dealt[group] = part
    return dealt


def find_files(folder: Path) -> list[str]:
    """What lies in class folders, at any depth, by name; nothing hidden, nothing `UNLABELLED`."""
    inside = [path.relative_to(folder) for path in folder.glob("*/**/*") if path.is_file()]
    shown = [path for path in inside if not any(part.startswith(".") for part in path.parts)]
    return sorted(path.as_posix() for path in shown if path.parts[0] != UNLABELLED)


def find_pictures(folder: Path) -> list[str]:
    """The pictures among `find_files`, by name; raises ExportError where there are none."""
    if not folder.is_dir():
        raise ExportError(f"{folder}: no such folder; --data must name one with a folder per class")
    files = [file for file in find_files(folder) if file.lower().endswith(SUFFIXES)]
    if not files:
        raise ExportError(
            f"{folder}: no pictures ({', '.join(SUFFIXES)}) in folders; "
            f"--data must name a folder with one folder per class"
        )
    return files


def read_groups(table: Path) -> dict[str, str]:
    """The group of each file in a table of `file` and `group`; those without a label are left out.

    Raises ExportError where the table is missing, lacks a column or a value, or names a file twice.
    """
    groups: dict[str, str] = {}
    for number, row in read_table(table, ("file", "group")):
        if row["file"] in groups:
            raise ExportError(f"{table}:{number}: {row['file']} is listed twice")
        if label_of(row["file"]) != UNLABELLED:
            groups[row["file"]] = row["group"]
    return groups


def list_pictures(groups: Mapping[str, str]) -> list[Picture]:
    """Pictures by file name, of the group of each; the class is the folder, all folds are dealt."""
    return _pictures((file, label_of(file), group) for file, group in sorted(groups.items()))


def labels_of(pictures: Iterable[Picture]) -> tuple[str, ...]:
    """The classes of pictures, in the order of the alphabet."""
    return tuple(sorted({picture.label for picture in pictures}))


def write_groups(folder: Path, groups: Mapping[str, str]) -> None:
    """Keep the group of each file as `groups.csv` in a folder, ordered by file name."""
    write_table(folder / GROUPS, ("file", "group"), sorted(groups.items()))


def split(pictures: Sequence[Picture], shares: Sequence[float] = SHARES) -> Parts:
    """Pictures by part (`PARTS`), dealt by `deal_shares`, in the order they came in."""
    dealt = deal_shares(((picture.group, picture.label) for picture in pictures), shares)
    parts: Parts = {part: [] for part in PARTS}
    for picture in pictures:
        parts[PARTS[dealt[picture.group]]].append(picture)
    return parts


def write_split(run: Run, parts: Mapping[str, Sequence[Picture]]) -> None:
    """Keep in the run folder which picture is in which part (`PARTS`), in the order given.

    Raises ExportError where a group would be in two parts.
    """
    rows = [(p.file, p.label, p.group, part) for part in PARTS for p in parts.get(part, ())]
    home: dict[str, str] = {}
    for *_, group, part in rows:
        if home.setdefault(group, part) != part:
            raise ExportError(
                f"group {group} would be in {home[group]} and in {part}; deal whole groups, or "
                f"the figures lie"
            )
    write_table(run.path(SPLIT), _SPLIT_COLUMNS, rows)


def read_split(run: Run) -> Parts:
    """The pictures of each part (`PARTS`, each of them a key) in the order they were written.

    Folds are dealt anew over all of them: they are those of the data folder where all its pictures
    are in the split. Raises ExportError where the run has no split, or it is damaged.
    """
    table = run.need(SPLIT, "train")
    rows = [row for _, row in read_table(table, _SPLIT_COLUMNS)]
    if unknown := {row["part"] for row in rows} - set(PARTS):
        raise ExportError(f"{table}: no such part: {', '.join(sorted(unknown))}")
    parts: Parts = {part: [] for part in PARTS}
    pictures = _pictures((row["file"], row["label"], row["group"]) for row in rows)
    for row, picture in zip(rows, pictures, strict=True):
        parts[row["part"]].append(picture)
    return parts


def pictures_below(folder: Path) -> list[str]:
    """The picture files of a folder without classes, at any depth, by name; relative to it."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(path.relative_to(folder).as_posix() for path in found)


def save_picture(path: Path, rgb: Array, *options: int) -> None:
    """Write uint8 (h, w, 3) RGB or (h, w, 4) RGBA in the format of the suffix; makes the folder.

    `options` are OpenCV's, such as `cv2.IMWRITE_JPEG_QUALITY, 95`. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    code = cv2.COLOR_RGBA2BGRA if rgb.shape[2] == 4 else cv2.COLOR_RGB2BGR
    path.write_bytes(cv2.imencode(path.suffix, cv2.cvtColor(rgb, code), options)[1].tobytes())


def read_rgb(path: Path) -> Array:
    """A picture as the daemon reads it, uint8 (height, width, 3) RGB; raises ExportError."""
    try:
        return read_picture(path)
    except PictureError as error:
        raise ExportError(str(error)) from error


def load_squares(folder: Path, files: Sequence[str], size: int) -> Array:
    """Read pictures as the network sees them, stretched whole: uint8 (n, size, size, 3) RGB.

    Uses the daemon's own `prepare`, so that what is trained and measured is what a bin feeds.
    """
    squares = np.empty((len(files), size, size, 3), np.uint8)
    for square, file in zip(squares, files, strict=True):
        square[:] = prepare(read_rgb(folder / file), size, size)
    return squares


def spread(items: Sequence[_Item], most: int) -> list[_Item]:
    """At most so many of the items, evenly over all of them: where ordered by class, of each."""
    chosen = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[i] for i in np.unique(chosen)]


def label_indices(pictures: Sequence[Picture], labels: Sequence[str]) -> Array:
    """The class of each picture as its index in `labels`, int64 (n,); raises ExportError."""
    index = {label: i for i, label in enumerate(labels)}
    try:
        return np.array([index[picture.label] for picture in pictures], np.int64)
    except KeyError as error:
        raise ExportError(f"class {error} is none of {', '.join(labels)}") from error


def _pictures(rows: Iterable[tuple[str, str, str]]) -> list[Picture]:
    """Pictures of (file, label, group), with the folds dealt over all of them."""
    listed = list(rows)
    folds = deal_folds((group, label) for _, label, group in listed)
    return [Picture(file, label, group, folds[group]) for file, label, group in listed]
