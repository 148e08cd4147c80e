"""How well the chamber finds items: its masks and boxes against those of a rendered reel.

Overlap is measured for each item, for those that lie together, and for pairs put closer and closer:
by the chamber code of the bin, on stills. Nothing is trained, drawn or tuned here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from bin_daemon.camera.script import SCRIPT_NAME, load_script
from bin_daemon.chamber.chamber import isolate_each
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.images import read_picture
from bin_daemon.core.messages import Array
from bin_daemon.explain.stills import frame_mask
from export.data.outlines import box_of
from export.errors import ExportError

TRUTH_NAME = "truth.yaml"
GAPS = (0.01, 0.02, 0.05, 0.1, 0.2)  # between two items, shares of the picture's longer side
PAIR_SIDE = 0.3  # longer side of an item in a pair, likewise
FOUND = 0.5  # overlap from which an item counts as found (the loosest that COCO counts)


@dataclass(frozen=True, slots=True)
class MaskedPicture:
    """A picture and its empty view, uint8 (h, w, 3) RGB, and bool (h, w) of each item by name."""

    name: str
    pixels: Array
    empty: Array
    truth: dict[str, Array]


def iou(a: Array, b: Array) -> float:
    """Intersection over union of two masks of one shape, 0 to 1 (Jaccard index)."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 0.0


def box_iou(a: Sequence[int], b: Sequence[int]) -> float:
    """Intersection over union of two boxes x, y, width, height."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(0, wide) * max(0, high)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def matched(overlaps: Array) -> list[tuple[int, int]]:
    """The pairs (row, column) of most overlap in all, each row and column once; none of overlap 0.

    By trying every order: a chamber holds few items.
    """
    rows, columns = overlaps.shape
    if rows > columns:
        return [(row, column) for column, row in matched(overlaps.T)]
    best = max(
        itertools.permutations(range(columns), rows),
        key=lambda order: sum(overlaps[row, column] for row, column in enumerate(order)),
    )
    return [(row, column) for row, column in enumerate(best) if overlaps[row, column] > 0]


def measure(picture: MaskedPicture) -> dict[str, Any]:
    """Cut every item out of one picture, as the bin does, and compare with the truth.

    Returns `items` (name, iou, box_iou; 0 for one that was missed), `missed` (names), and
    `spurious`, the number of items found where none is.
    """
    config = ChamberSection()
    height, width = picture.pixels.shape[:2]
    found = isolate_each(picture.pixels, picture.empty, config)
    masks = [frame_mask(item.mask, width, height, config) for item in found]
    overlaps = np.array([[iou(true, mask) for mask in masks] for true in picture.truth.values()])
    pairs = dict(matched(overlaps)) if found else {}
    items: list[dict[str, Any]] = []
    for row, (name, true) in enumerate(picture.truth.items()):
        item = {"name": name, "iou": 0.0, "box_iou": 0.0}
        if row in pairs:
            item["iou"] = float(overlaps[row, pairs[row]])
            item["box_iou"] = box_iou(box_of(true), found[pairs[row]].box)
        items.append(item)
    missed = [item["name"] for item in items if item["iou"] < FOUND]
    return {"items": items, "missed": missed, "spurious": len(found) - len(pairs)}


def reel_pictures(reel: Path) -> Iterator[MaskedPicture]:
    """Every picture of a reel with items in it, before the empty view that the script plays last.

    Raises ExportError where the truth is missing or names what is not there.
    """
    path = reel / TRUTH_NAME
    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))["items"]
        truth: dict[str, dict[str, Array]] = {}
        for row in rows:
            mask = read_picture(reel / row["mask"])[..., 0] > 127
            truth.setdefault(row["file"], {})[Path(row["mask"]).stem] = mask
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ExportError(
            f"{path}: cannot read what lies in the pictures: {error}; render the reel again"
        ) from error
    empty, seen = None, set()
    for step in load_script(reel / SCRIPT_NAME).steps:
        if step.kind in ("empty", "light"):
            empty = step.picture
        elif step.kind == "hold" and step.picture in truth and step.picture not in seen:
            if empty is None:
                raise ExportError(f"{reel / SCRIPT_NAME}: begins without an empty view")
            seen.add(step.picture)
            yield MaskedPicture(
                Path(step.picture).stem,
                read_picture(reel / step.picture),
                read_picture(reel / empty),
                truth[step.picture],
            )


def paired(first: MaskedPicture, second: MaskedPicture, gap: float) -> MaskedPicture:
    """Two items side by side on the empty view of the first, `gap` of its longer side apart.

    Both are cut out by their true masks and scaled to one length; they leave their shadows behind.
    """
    scene, longer = first.empty.astype(np.float32), max(first.empty.shape[:2])
    height, width = scene.shape[:2]
    cuts = [_cut(one, round(PAIR_SIDE * longer)) for one in (first, second)]
    total = sum(mask.shape[1] for _, mask in cuts) + round(gap * longer)
    left, truth = (width - total) // 2, {}
    for one, (pixels, mask) in zip((first, second), cuts, strict=True):
        top = (height - mask.shape[0]) // 2
        place = np.s_[top : top + mask.shape[0], left : left + mask.shape[1]]
        scene[place] += (pixels - scene[place]) * mask[..., None]
        full = np.zeros((height, width), bool)
        full[place] = mask > 0.5
        truth[one.name] = full
        left += mask.shape[1] + round(gap * longer)
    picture = np.rint(scene).astype(np.uint8)
    return MaskedPicture(f"{first.name} and {second.name}", picture, first.empty, truth)


def _cut(picture: MaskedPicture, side: int) -> tuple[Array, Array]:
    """The one item of a picture with its longer side at `side`: pixels, and opacity 0 to 1."""
    (mask,) = picture.truth.values()
    x, y, width, height = box_of(mask)
    place = np.s_[y : y + height, x : x + width]
    scale = side / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pixels, opacity = (
        cv2.resize(whole[place].astype(np.float32), size, interpolation=cv2.INTER_AREA)
        for whole in (picture.pixels, mask)
    )
    return pixels, opacity


def _summary(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    items = [item for result in results for item in result["items"]]
    masks, boxes = ([item[kind] for item in items] for kind in ("iou", "box_iou"))
    return {
        "count": len(items),
        "mean_iou": float(np.mean(masks)),
        "median_iou": float(np.median(masks)),
        "worst_iou": min(masks),
        "worst": items[masks.index(min(masks))]["name"],
        "mean_box_iou": float(np.mean(boxes)),
        "median_box_iou": float(np.median(boxes)),
        "worst_box_iou": min(boxes),
        "missed": sum(len(result["missed"]) for result in results),
        "spurious": sum(result["spurious"] for result in results),
    }


def measure_masks(reel: Path) -> dict[str, Any]:
    """All figures of one reel; raises ExportError where it has no truth, or nothing in it.

    Returns `single` and `together` (pictures of one item, and of several), each with mean, median
    and worst overlap of masks and boxes, `missed` (overlap below 0.5), `spurious` and the `items`;
    and `pairs`: by gap, the same figures of items side by side, and `apart`, the share told apart.
    """
    shown = list(reel_pictures(reel))
    alone = [picture for picture in shown if len(picture.truth) == 1]
    if not alone:
        raise ExportError(f"{reel}: its script holds no item whose mask is known")
    figures: dict[str, Any] = {"reel": reel.name}
    several = [picture for picture in shown if len(picture.truth) > 1]
    for part, pictures in (("single", alone), ("together", several)):
        if results := [measure(picture) for picture in pictures]:
            items = [item for result in results for item in result["items"]]
            figures[part] = {**_summary(results), "items": items}
    figures["pairs"] = []
    for gap in GAPS:
        if results := [measure(paired(*two, gap)) for two in itertools.pairwise(alone)]:
            apart = [not result["missed"] and not result["spurious"] for result in results]
            share = float(np.mean(apart))
            figures["pairs"].append({"gap": gap, "apart": share, **_summary(results)})
    return figures


def table(figures: dict[str, Any]) -> str:
    """The figures as text for a terminal or a card."""
    lines = [f"{'':26} {'mask IoU':>8} {'box IoU':>8}"]
    for part in ("single", "together"):
        if part not in figures:
            continue
        some = figures[part]
        lines += [f"{i['name']:26} {i['iou']:8.3f} {i['box_iou']:8.3f}" for i in some["items"]]
        for which in ("mean", "median", "worst"):
            name = f"{part}: {which} of {some['count']}"
            lines.append(f"{name:26} {some[f'{which}_iou']:8.3f} {some[f'{which}_box_iou']:8.3f}")
        lines.append(f"{part}: missed {some['missed']}, spurious {some['spurious']}")
        lines.append("")
    for some in figures["pairs"]:
        apart = f"{some['apart']:.2f} told apart"
        name = f"pairs {some['gap']:.0%} apart: mean"
        lines.append(f"{name:26} {some['mean_iou']:8.3f} {some['mean_box_iou']:8.3f}  {apart}")
    return "\n".join(lines)
