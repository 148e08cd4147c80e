"""A folder of labelled pictures as a lesson takes them: cropped by the bin's own chamber.

`<class>/...<picture>` and, where there is one, `sessions.csv` flow in; labelled crops flow out,
with words on whatever was left out and on what served as the empty view. It never writes.
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from bin_daemon.camera.replay import median_empty
from bin_daemon.chamber import isolate, watched
from bin_daemon.config import ChamberSection
from bin_daemon.crop import light_table, square
from bin_daemon.errors import PictureError, UsageError
from bin_daemon.messages import Image, Item
from bin_daemon.pictures import SUFFIXES, read_picture
from bin_daemon.small import shrink
from bin_daemon.teaching.lesson import Shown
from bin_daemon.teaching.sample import check_label

SESSIONS = "sessions.csv"
LEAST_FOR_MEDIAN = 8  # pictures: with fewer, things lie at one place in half of them too easily
_WHOLE_SIZE = 1 << 16  # no picture is larger: the median keeps its size
_EDGE = 0.05  # of the frame: shadows and edges around the item go with it


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """One picture of the folder. empty: of its empty chamber, None where none was named."""

    path: Path
    label: str
    session: str
    empty: Path | None


class TeachingFolder:
    """The pictures of a folder; iterate over it to get them as `Shown`.

    config: how the bin cuts items out. empty: the empty chamber of all pictures, instead of what
    `sessions.csv` says.
    words: after iterating, what was done about empty views and what was left out. skipped: pictures
    that could not be used, with the reason.
    Raises UsageError for a folder without classes, or a `sessions.csv` that does not fit it.
    """

    def __init__(self, folder: Path, config: ChamberSection, empty: Path | None = None) -> None:
        self._config = config
        self.listed = _listed(folder, empty)
        self.words: list[str] = []
        self.skipped: dict[Path, str] = {}

    def counts(self) -> Counter[str]:
        """How many pictures there are of each class."""
        return Counter(one.label for one in self.listed)

    def __len__(self) -> int:
        return len(self.listed)

    def __iter__(self) -> Iterator[Shown]:
        self.words, self.skipped = [], {}
        by_session: dict[tuple[str, Path | None], list[Listed]] = defaultdict(list)
        for one in self.listed:
            by_session[one.session, one.empty].append(one)
        for (session, empty), members in by_session.items():
            view = self._empty_view(session, empty, [one.path for one in members])
            for one in members:
                try:
                    yield self._shown(one, view)
                except PictureError as error:
                    self.skipped[one.path] = str(error)

    def _empty_view(self, session: str, empty: Path | None, pictures: list[Path]) -> Image | None:
        name = f"session '{session}'" if session else "pictures without a session"
        if empty is not None:
            return read_picture(empty)
        if len(pictures) >= LEAST_FOR_MEDIAN:
            self.words.append(
                f"{name}: no empty view; the median of its {len(pictures)} pictures is taken for it"
            )
            return median_empty(pictures, _WHOLE_SIZE, _WHOLE_SIZE)
        self.words.append(
            f"{name}: no empty view, and {len(pictures)} pictures are too few for their median "
            f"({LEAST_FOR_MEDIAN} or more): the whole frame is taught, which is not what the bin "
            f"looks at; give --empty"
        )
        return None

    def _shown(self, one: Listed, empty: Image | None) -> Shown:
        image, item = read_picture(one.path), str(one.path)
        if empty is None:
            return Shown(image, one.label, one.session, item)
        if image.shape != empty.shape:
            raise PictureError(
                f"{one.path}: {image.shape[1]}x{image.shape[0]} pixels, its empty view has "
                f"{empty.shape[1]}x{empty.shape[0]}; take both with the same camera"
            )
        found = isolate(image, empty, self._config)
        if found is None:
            raise PictureError(f"{one.path}: shows nothing but the empty chamber")
        ground = without(image, empty, found, self._config)
        return Shown(found.crop, one.label, one.session, item, ground)


def without(image: Image, empty: Image, item: Item, config: ChamberSection) -> Image:
    """The crop of an item with the item filled in from the empty view, uint8 (side, side, 3)."""
    height, width = image.shape[:2]
    left, top, right, bottom = watched(width, height, config)
    mask = item.mask.astype(np.uint8)
    part = cv2.resize(mask, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    edge = max(3, round(_EDGE * max(height, width)))
    full = np.zeros((height, width), np.uint8)
    full[top:bottom, left:right] = cv2.dilate(part, np.ones((edge, edge), np.uint8))
    filled = np.where(full[..., None] > 0, empty, image)
    table = light_table(shrink(empty[top:bottom, left:right])) if config.normalise else None
    return square(filled, item.box, config.margin, table)


def _listed(folder: Path, empty: Path | None) -> list[Listed]:
    """The pictures of all class folders in natural order, with session and empty view."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; give one with a folder for each class in it")
    told = _sessions(folder / SESSIONS)
    found = []
    for one in sorted(folder.iterdir()):
        if not one.is_dir() or one.name.startswith("."):
            continue
        pictures = [p for p in one.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()]
        if pictures:
            check_label(one.name)
        for path in sorted(pictures, key=_natural):
            within = path.relative_to(folder)
            session, named = told.pop(within.as_posix(), ("", None))
            session = session or "/".join(within.parent.parts[1:])
            found.append(Listed(path, one.name, session, empty or named))
    if not found:
        raise UsageError(f"{folder}: no pictures in it; put them into a folder for each class")
    if told:
        raise UsageError(
            f"{folder / SESSIONS}: '{next(iter(told))}' is no picture of a class folder "
            f"({len(told)} such rows)"
        )
    return found


def _sessions(path: Path) -> dict[str, tuple[str, Path | None]]:
    """Session and empty view of each file that `sessions.csv` lists."""
    if not path.exists():
        return {}
    told = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if not {"file", "empty"} <= set(rows.fieldnames or ()):
                raise UsageError(f"{path}: needs the columns 'file' and 'empty'")
            for row in rows:
                name, given = (row["empty"] or "").strip(), (row.get("session") or "").strip()
                empty = path.parent / name if name else None
                if empty is not None and not empty.is_file():
                    raise UsageError(f"{path}:{rows.line_num}: empty: no such picture {empty}")
                told[Path(row["file"]).as_posix()] = (given or name, empty)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot read it: {error}") from error
    return told


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts 2.jpg before 10.jpg, as they were taken."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
