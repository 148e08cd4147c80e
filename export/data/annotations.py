"""Annotated pictures (LabelMe, COCO instances) as folders of crops and of cut-outs, by class.

What is wrong with an annotation is told with its file and number, and the thing is left out:
nothing is guessed.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bin_daemon.chamber.crop import square
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.images import MIN_SIDE
from bin_daemon.core.messages import Array
from export.data.outlines import Size, box_of, circle, mask_of_run_lengths, polygon, rectangle
from export.data.pictures import label_of, read_rgb, save_picture, write_groups
from export.errors import ExportError

CROPS, CUTOUTS = "crops", "cutouts"

_SHAPES = {"polygon": polygon, "rectangle": rectangle, "circle": circle}
_TOLD = 20  # problems that a summary spells out
_LABEL = re.compile(r"[^\s./\\\x00-\x1f][^/\\\x00-\x1f]*")


@dataclass(frozen=True, slots=True)
class AnnotatedThing:
    """One annotated thing in a picture."""

    image_path: Path
    pixels: Array  # of the whole picture, uint8 (h, w, 3) RGB; its instances share it
    label: str
    mask: Array  # bool (h, w)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height of the mask, in pixels."""
        return box_of(self.mask)


def import_annotations(source: Path, to: Path) -> str:
    """Turn annotated pictures into `crops/` and `cutouts/` of classes, in a new folder `to`.

    `source` is an annotation file (LabelMe or COCO, told apart by what is in it), or a folder of
    them, at any depth. Returns what was made and what was left out, for a person.

    Raises ExportError where there is no annotation, nothing in it can be used, or `to` is in use.
    """
    problems: list[str] = []
    counts = write_crops(read_annotations(source, problems), to)
    told = [f"- {problem}" for problem in problems[:_TOLD]]
    if len(problems) > _TOLD:
        told.append(f"- and {len(problems) - _TOLD} more")
    if not counts:
        raise ExportError("\n".join([f"{source}: nothing in it can be used", *told]))
    made = f"{counts.total()} crops in {to / CROPS} (train with --data), cut-outs in {to / CUTOUTS}"
    left_out = [f"{len(problems)} left out:", *told] if problems else []
    lines = [f"{label}: {count}" for label, count in sorted(counts.items())]
    return "\n".join([*lines, made, *left_out])


def read_annotations(source: Path, problems: list[str]) -> Iterator[AnnotatedThing]:
    """Every annotated thing of a file or a folder of files; why others are not goes to `problems`.

    Raises ExportError where `source` does not exist, or holds no annotation file.
    """
    files = sorted(source.rglob("*.json")) if source.is_dir() else [source]
    if not files or not source.exists():
        raise ExportError(f"{source}: holds no annotations; name a .json file or a folder of them")
    for file in files:
        try:
            content = json.loads(file.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            problems.append(f"{file}: cannot be read as JSON: {error}")
            continue
        if isinstance(content, dict) and isinstance(content.get("shapes"), list):
            yield from _labelme(file, content, problems)
        elif isinstance(content, dict) and isinstance(content.get("annotations"), list):
            yield from _coco(file, content, problems)
        else:
            problems.append(f"{file}: is neither LabelMe nor COCO instances")


def write_crops(instances: Iterable[AnnotatedThing], folder: Path) -> Counter[str]:
    """Write `crops/<class>/<picture>_<n>.png` and `cutouts/` likewise, each with a `groups.csv`.

    A crop is cut as the daemon cuts one; a cut-out is the box of the thing, RGBA, its mask as
    alpha. The things of one picture share a group. Returns how many there are of each class.

    Raises ExportError where the folder has something in it, or cannot be written.
    """
    names: dict[Path, str] = {}
    numbers: Counter[Path] = Counter()
    groups: dict[str, str] = {}
    margin = ChamberSection().margin
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise ExportError(f"{folder}: is not empty; name a new folder with --to")
        for one in instances:
            if one.image_path not in names:
                names[one.image_path] = _unused(one.image_path, names.values())
            numbers[one.image_path] += 1
            file = f"{one.label}/{names[one.image_path]}_{numbers[one.image_path]}.png"
            save_picture(folder / CROPS / file, square(one.pixels, one.box, margin, None))
            save_picture(folder / CUTOUTS / file, _cut_out(one))
            groups[file] = names[one.image_path]
        for kind in (CROPS, CUTOUTS) if groups else ():
            write_groups(folder / kind, groups)
    except OSError as error:
        raise ExportError(f"{folder}: cannot be written: {error.strerror}") from error
    return Counter(map(label_of, groups))


def _unused(picture: Path, taken: Collection[str]) -> str:
    """A name for a picture: its own, numbered where one of another folder has it already."""
    numbered = (f"{picture.stem}-{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain([picture.stem], numbered) if name not in taken)


def _cut_out(instance: AnnotatedThing) -> Array:
    """RGBA of the instance's box, with a clear rim where it is thinner than pictures may be."""
    x, y, width, height = instance.box
    window = slice(y, y + height), slice(x, x + width)
    cut = np.dstack([instance.pixels[window], instance.mask[window].astype(np.uint8) * 255])
    wide, high = max(0, MIN_SIDE - width), max(0, MIN_SIDE - height)
    return cv2.copyMakeBorder(
        cut, high // 2, high - high // 2, wide // 2, wide - wide // 2, cv2.BORDER_CONSTANT
    )


def _labelme(file: Path, content: dict[str, Any], problems: list[str]) -> Iterator[AnnotatedThing]:
    """The instances of one LabelMe file; shapes of one label and `group_id` are one thing."""
    name = content.get("imagePath")
    if not isinstance(name, str) or not name:
        problems.append(f"{file}: has no imagePath")
        return
    path = file.parent / name.replace("\\", "/")
    size = (content.get("imageHeight"), content.get("imageWidth"))
    pixels = _picture(path, size, str(file), problems)
    if pixels is None:
        return
    pieces: dict[tuple[str, str], Array] = {}
    for number, shape in enumerate(content["shapes"], start=1):
        try:
            if not isinstance(shape, dict):
                raise ValueError("is no shape")
            kind = shape.get("shape_type") or "polygon"
            if not isinstance(kind, str) or kind not in _SHAPES:
                raise ValueError(f"a {kind} has no area")
            label = _label(shape.get("label"))
            mask = _SHAPES[kind](shape.get("points"), pixels.shape[:2])
        except ValueError as error:
            problems.append(f"{file}: shape {number}: {error}")
            continue
        if shape.get("group_id") is None:
            yield AnnotatedThing(path, pixels, label, mask)
            continue
        thing = (label, str(shape["group_id"]))
        pieces[thing] = pieces[thing] | mask if thing in pieces else mask
    for (label, _), mask in pieces.items():
        yield AnnotatedThing(path, pixels, label, mask)


def _coco(file: Path, content: dict[str, Any], problems: list[str]) -> Iterator[AnnotatedThing]:
    """The instances of a COCO file; those that stand for a crowd are no single thing."""
    labels = {str(entry.get("id")): entry.get("name") for entry in _objects(content, "categories")}
    images = {str(entry.get("id")): entry for entry in _objects(content, "images")}
    by_image = defaultdict(list)
    for entry in _objects(content, "annotations"):
        image = str(entry.get("image_id"))
        if entry.get("iscrowd"):
            continue
        if image in images:
            by_image[image].append(entry)
        else:
            problems.append(f"{file}: annotation {entry.get('id')}: there is no image {image}")
    for image, entries in by_image.items():
        about = images[image]
        path = _beside(file, str(about.get("file_name")))
        size = (about.get("height"), about.get("width"))
        pixels = _picture(path, size, f"{file}: image {image}", problems)
        if pixels is None:
            continue
        for entry in entries:
            try:
                if (category := str(entry.get("category_id"))) not in labels:
                    raise ValueError(f"there is no category {category}")
                label = _label(labels[category])
                mask = _segmentation(entry.get("segmentation"), pixels.shape[:2])
            except ValueError as error:
                problems.append(f"{file}: annotation {entry.get('id')}: {error}")
                continue
            yield AnnotatedThing(path, pixels, label, mask)


def _objects(content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects of a list in a COCO file; what is none is left out."""
    found = content.get(key)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _segmentation(code: Any, size: Size) -> Array:
    """The mask of a COCO segmentation: polygons, of which any may cover a pixel, or run lengths."""
    if not isinstance(code, list):
        return mask_of_run_lengths(code, size)
    if not code:
        raise ValueError("has no outline")
    if any(not isinstance(ring, list) or len(ring) % 2 for ring in code):
        raise ValueError("has points that are no pairs of numbers")
    mask = np.zeros(size, bool)
    for ring in code:
        mask |= polygon(list(zip(ring[::2], ring[1::2], strict=True)), size)
    return mask


def _beside(file: Path, name: str) -> Path:
    """Where a picture of a COCO file lies: beside it, in `images`, or in the folder above."""
    above = file.parent.parent
    places = (file.parent, file.parent / "images", above, above / "images")
    return next((place / name for place in places if (place / name).is_file()), file.parent / name)


def _picture(path: Path, size: tuple[Any, Any], where: str, problems: list[str]) -> Any:
    """The pixels of an annotated picture; None, with a problem added, where they cannot be had."""
    try:
        pixels = read_rgb(path)
    except ExportError as error:
        problems.append(f"{where}: {error}")
        return None
    if size != (None, None) and size != pixels.shape[:2]:
        problems.append(
            f"{where}: {path} is {pixels.shape[1]}x{pixels.shape[0]}, but was annotated as "
            f"{size[1]}x{size[0]}; use the picture that was annotated"
        )
        return None
    return pixels


def _label(label: Any) -> str:
    """A class name that can be a folder's."""
    if not isinstance(label, str) or not _LABEL.fullmatch(label.strip()):
        raise ValueError(f"the label {label!r} cannot name a class")
    return label.strip()
