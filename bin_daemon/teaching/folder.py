"""A folder of labelled pictures: taken into the sample store, and written from it.

`<class>/...<picture>` and, where they are, the tables `sessions.csv` (file, session, empty view,
cropped: `yes` where a bin has cut the item out and normalised it) and `groups.csv` (file, group:
pictures of one thing share a group) flow in. Crops cut out by the bin's own chamber flow into the
store, with words on whatever was left out and on what served as the empty view. `export` writes
such a folder, which other bins are taught and the workshop trains on.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from bin_daemon.chamber.chamber import isolate, watched
from bin_daemon.chamber.crop import light_table, square
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.errors import PictureError, StoreError, UsageError
from bin_daemon.core.files import READABLE, table_bytes, write_whole
from bin_daemon.core.images import SUFFIXES, median_empty, natural_order, read_picture, shrink
from bin_daemon.core.messages import Image, Item, Vector
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.head import Base
from bin_daemon.teaching.sample import UNLABELLED, check_label
from bin_daemon.teaching.sample_store import Samples, png_of

GROUPS, SESSIONS = "groups.csv", "sessions.csv"
CROPPED = "yes"  # in the column `cropped`
LEAST_FOR_MEDIAN = 8  # pictures: with fewer, things lie at one place in half of them too easily
_EDGE = 0.05  # of the frame: shadows and edges around the item go with it


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """One picture of the folder.

    item: the same for all pictures of one thing, "" where that is not known. empty: the picture of
    its empty chamber, None where none was named. cropped: by a bin already.
    """

    path: Path
    label: str
    session: str
    item: str
    empty: Path | None
    cropped: bool


class TeachingFolder:
    """The pictures of a folder, which `keep` puts into the store.

    config: how the bin cuts items out. empty: the empty chamber of all whole pictures, instead of
    what `sessions.csv` says.
    words: what was left out, and after `keep` what was done about empty views. skipped: pictures
    that could not be used, with the reason.
    Raises UsageError as `listed` does, and for an empty view of crops.
    """

    def __init__(self, folder: Path, config: ChamberSection, empty: Path | None = None) -> None:
        self._config, self.listed = config, listed(folder, empty)
        self.words: list[str] = []
        self.skipped: dict[Path, str] = {}
        crops = sum(one.cropped for one in self.listed)
        if empty is not None and crops == len(self.listed):
            raise UsageError(f"{folder}: its pictures are crops already; leave --empty out")
        if unlabelled := len(_pictures(folder / UNLABELLED)):
            self.words.append(
                f"{UNLABELLED}: {unlabelled} pictures left out; say what they show with "
                f"`bin-daemon samples label` and export them again"
            )
        if crops:
            self.words.append(
                f"{crops} pictures are crops that a bin made: taken as they are. What was behind "
                f"their items is not known, so they give no control against shortcuts"
            )

    def keep(
        self, samples: Samples, classifier: Classifier, progress: Callable[[str], None]
    ) -> dict[str, Vector]:
        """Put all pictures into the store, cut out by their empty view.

        Returns, by id of a sample, the embedding of its crop with the item painted out, where that
        is known.
        """
        by_session: dict[tuple[str, Path | None, bool], list[Listed]] = defaultdict(list)
        for one in self.listed:
            by_session[one.session, one.empty, one.cropped].append(one)
        grounds: dict[str, Vector] = {}
        numbers = itertools.count(1)
        for (session, empty, is_crop), members in by_session.items():
            view = None if is_crop else self._empty_view(session, empty, members)
            for one in members:
                progress(f"keeping picture {next(numbers)} of {len(self.listed)}")
                try:
                    crop, item, ground = self._cut_out(one, view)
                except PictureError as error:
                    self.skipped[one.path] = str(error)
                    continue
                cropped = one.cropped or view is not None
                known = dataclasses.replace(one, item=item, cropped=cropped)
                sample_id = _kept(samples, known, crop, classifier)
                if ground is not None:
                    grounds[sample_id] = classifier.classify(ground).embedding
        return grounds

    def _empty_view(self, session: str, empty: Path | None, members: list[Listed]) -> Image | None:
        if empty is not None:
            return read_picture(empty)
        name = f"session '{session}'" if session else "pictures without a session"
        pictures = []
        for one in members:
            with contextlib.suppress(PictureError):
                read_picture(one.path)
                pictures.append(one.path)
        if len(pictures) >= LEAST_FOR_MEDIAN:
            self.words.append(
                f"{name}: no empty view; the median of its {len(pictures)} pictures is used"
            )
            return median_empty(pictures)
        self.words.append(
            f"{name}: no empty view, and {len(pictures)} pictures are too few for their median "
            f"({LEAST_FOR_MEDIAN} or more): the whole frame is taught, which is not what the bin "
            f"looks at; give --empty"
        )
        return None

    def _cut_out(self, one: Listed, empty: Image | None) -> tuple[Image, str, Image | None]:
        """The crop of a picture, or all of it; which thing it shows; the crop without the item."""
        image = read_picture(one.path)
        # Not its path: the same picture is the same item wherever it lies, and is kept once.
        item = one.item or hashlib.sha256(image.tobytes()).hexdigest()
        if empty is None:
            return image, item, None
        if image.shape != empty.shape:
            raise PictureError(
                f"{one.path}: {image.shape[1]}x{image.shape[0]} pixels, its empty view has "
                f"{empty.shape[1]}x{empty.shape[0]}; take both with the same camera"
            )
        found = isolate(image, empty, self._config)
        if found is None:
            raise PictureError(f"{one.path}: shows nothing but the empty chamber")
        return found.crop, item, painted_out(image, empty, found, self._config)


def _kept(samples: Samples, one: Listed, crop: Image, classifier: Classifier) -> str:
    """Keep a picture, once however often it is taught; returns its id. Its last label counts."""
    for known in samples.list(item=one.item):
        with contextlib.suppress(PictureError):  # lost or damaged: it is kept anew
            if np.array_equal(samples.crop(known.id), crop):
                if known.label != one.label:
                    samples.label(known.id, one.label)
                return known.id
    prediction = classifier.classify(crop)
    return samples.add(
        crop,
        prediction.embedding,
        one.label,
        "taught",
        base=Base.of(classifier.package),
        taken_at=time.time(),
        session=one.session,
        predicted=prediction.label,
        confidence=prediction.confidence,
        item=one.item,
        cropped=one.cropped,
    )


def painted_out(image: Image, empty: Image, item: Item, config: ChamberSection) -> Image:
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


def listed(folder: Path, empty: Path | None = None) -> list[Listed]:
    """The pictures of all class folders in natural order.

    What has no label is left out, and so are empty views that lie in a folder of their own.

    empty: the empty view of all that are not cropped, instead of what `sessions.csv` says.
    Raises UsageError for a folder without classes, and for tables that do not fit it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; give one with a folder for each class in it")
    rows = _sessions(folder / SESSIONS)
    groups = _rows(folder / GROUPS, ("group",))
    items = {row["file"]: row["group"] for _, row in groups if row["group"]}
    views = {view.resolve() for view in (empty, *(view for _, view, _ in rows.values())) if view}
    found = []
    for one in sorted(folder.iterdir()):
        pictures = [] if one.name.startswith(".") else _pictures(one)
        if pictures and one.name != UNLABELLED:
            check_label(one.name)
        for path in pictures:
            within = path.relative_to(folder)
            session, named, cropped = rows.pop(within.as_posix(), ("", None, False))
            session = session or "/".join(within.parent.parts[1:])
            item = items.pop(within.as_posix(), "")
            if one.name != UNLABELLED and path.resolve() not in views:
                view = None if cropped else empty or named
                found.append(Listed(path, one.name, session, item, view, cropped))
    if not found:
        raise UsageError(f"{folder}: no pictures in it; put them into a folder for each class")
    for table, left in ((SESSIONS, rows), (GROUPS, items)):
        if left:
            raise UsageError(
                f"{folder / table}: '{next(iter(left))}' is no picture of a class folder "
                f"({len(left)} such rows)"
            )
    return found


def _pictures(folder: Path) -> list[Path]:
    """The pictures in a folder at any depth, in natural order; none where it is no folder."""
    pictures = [p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()]
    return sorted(pictures, key=natural_order)


def _sessions(path: Path) -> dict[str, tuple[str, Path | None, bool]]:
    """Session, empty view and whether it is cropped of each file that `sessions.csv` lists."""
    rows = {}
    for line, row in _rows(path, ("empty", "cropped")):
        name, given = row.get("empty", ""), row.get("session", "")
        empty, cropped = path.parent / name if name else None, row.get("cropped", "")
        if empty is not None and not empty.is_file():
            raise UsageError(f"{path}:{line}: empty: no such picture {empty}")
        if cropped not in ("", CROPPED) or (cropped and empty):
            raise UsageError(
                f"{path}:{line}: cropped: must be '{CROPPED}', without an empty view, or nothing"
            )
        rows[row["file"]] = (given or name, empty, bool(cropped))
    return rows


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a table with line numbers; none where there is no table.

    Raises UsageError where it cannot be read, or has no column `file` or none of `columns`.
    """
    if not path.exists():
        return
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            names = set(rows.fieldnames or ())
            if "file" not in names or names.isdisjoint(columns):
                wanted = " or ".join(f"'{column}'" for column in columns)
                raise UsageError(f"{path}: needs the columns 'file' and {wanted}")
            for row in rows:
                values = {name: (row[name] or "").strip() for name in names}
                yield rows.line_num, {**values, "file": Path(values["file"]).as_posix()}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot read it: {error}") from error


def export(
    samples: Samples, folder: Path, progress: Callable[[str], None]
) -> tuple[Counter[str], list[str]]:
    """Write all samples into `folder`, which is new or empty; the tables come last.

    Returns how many were written of each class, and for each lost picture why it is left out.
    Raises UsageError where the folder holds something, StoreError where it cannot be written.
    """
    counts: Counter[str] = Counter()
    lost, groups, sessions = [], [], []
    kept = samples.list()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(
                f"{folder}: is not empty; give a new folder, so that no picture stays under a "
                f"class that it has no more"
            )
        for number, sample in enumerate(kept, start=1):
            progress(f"picture {number} of {len(kept)}")
            try:
                picture = png_of(samples.crop(sample.id))
            except PictureError as error:
                lost.append(str(error))
                continue
            label = sample.label or UNLABELLED
            path = folder / label / f"{sample.id}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(picture)
            counts[label] += 1
            file = path.relative_to(folder).as_posix()
            groups.append((file, sample.item))
            sessions.append((file, sample.session, CROPPED if sample.cropped else ""))
        for name, columns, rows in (
            (GROUPS, ("file", "group"), groups),
            (SESSIONS, ("file", "session", "cropped"), sessions),
        ):
            write_whole(folder / name, table_bytes(columns, rows), mode=READABLE)
    except StoreError:
        raise
    except OSError as error:
        where = error.filename or folder
        raise StoreError(f"{where}: cannot write it: {error.strerror}") from error
    return counts, lost
