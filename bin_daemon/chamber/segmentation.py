"""What lies on the ground: from pixels that differ to items, hands and open lids.

A small frame and the `Ground` flow in, a `Scene` flows out. A shadow dims the ground and keeps its
colour and its grain; where that is all that happened, nothing lies there. Fragments of one thing
(a clear bottle is mostly its highlights) are joined; what reaches in from the entrance is told.
No time passes here: rest and motion are the chamber's to judge.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bin_daemon.chamber.background import Ground
from bin_daemon.chamber.pixels import Bytes, from_border
from bin_daemon.core.messages import Mask

Box = tuple[int, int, int, int]  # x, y, width, height

# Lengths are shares of the longer side of the small frame.
_CLOSE = 0.04  # gaps in one fragment
_JOIN = 0.05  # gaps between fragments of one thing, across clean ground
_LINK = 0.15  # the same, where everything between them differs a little
_FLANK = 0.12  # around what is surely a thing
_EDGE = 0.0125  # the outermost rows, where an arm comes from
# A direct lamp dims no further than this in a chamber whose walls reflect; darker is a thing.
_SHADE_DARKEST = 0.42
_GRAIN = 0.10  # a shadow's ratio varies less than this from pixel to pixel
_SEED_SHARE = 0.04  # of a fragment that must be beyond doubt
_LID_SPAN = 0.6  # of the border's length
_LID_ZONE = 0.25  # of the region, from the entrance
_COVERED = 0.5  # more than this may be the lens that is covered
_RAIL_ZONE = 0.33
_RAIL_DEPTH = 0.055  # of the region: a rail that rests elsewhere is thinner, an open lid is not
_SECOND = 0.25  # of the largest thing: smaller ones are its cap, or crumbs


@dataclasses.dataclass(frozen=True, slots=True)
class Thing:
    """One separate thing: its box, how many pixels of the small frame it covers, and which.

    mask: bool (h, w) of the small frame.
    """

    box: Box
    area: int
    mask: Mask


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """What a small frame shows.

    things: largest first. mask: bool (h, w), the pixels of all of them. changed: share of the
    pixels that differ. reaches: the border that one of them comes in from, or "". lid: the border
    along which the view has changed from end to end, or "". recognised: the empty chamber can be
    made out; false where something covers the lens.
    """

    things: tuple[Thing, ...]
    mask: Mask
    changed: float
    reaches: str
    lid: str
    recognised: bool


def shadows(small: Bytes, ground: Ground) -> npt.NDArray[np.bool_]:
    """bool (h, w): dimmed, with the colour of the ground, and as smooth as a shadow is."""
    frame, expected = small.astype(np.float32), ground.expected.astype(np.float32)
    ones = np.ones((1, 3), np.float32)
    light = cv2.transform(frame, ones) + 1.0
    lit = cv2.transform(expected, ones) + 1.0
    ratio = light / lit
    tinted = cv2.absdiff(frame, expected * ratio[..., None])
    off = cv2.transform(tinted, ones) - 0.09 * light
    smooth = np.abs(ratio - cv2.blur(ratio, (5, 5))) < _GRAIN + 2.0 * ground.slack / lit
    like = (ratio < 1.0) & (ratio > _SHADE_DARKEST) & (off < 1.2 * ground.slack)
    # Where a hard shadow begins the ratio jumps: its rim goes with the smooth part beside it.
    beside = cv2.dilate((like & smooth & (ratio < 0.95)).astype(np.uint8), _square(5)) > 0
    return np.asarray(like & (smooth | beside), np.bool_)


def segment(small: Bytes, ground: Ground, entrance: tuple[str, ...], min_pixels: float) -> Scene:
    """Sort what differs in `small` (uint8 (h, w, 3)) into things.

    min_pixels: smaller things are none.
    """
    size = max(small.shape[:2])
    shade = shadows(small, ground)
    weak, strong = ground.outside(small), ground.outside(small, strong=True)
    lid = next((b for b in entrance if _along(weak, strong, b, ground)), "")
    differs = _dense(weak, ground)
    changed = cv2.countNonZero(weak) / weak.size
    shade &= weak > 0
    weak[shade] = 0
    strong[shade] = 0
    edges = _edges_of_things(ground.new_edges(small), ground, shade, strong, size)
    weak |= edges
    strong |= edges
    dense = _dense(weak, ground)
    closed = cv2.morphologyEx(dense, cv2.MORPH_CLOSE, _disc(_CLOSE * size))
    kept = _fragments(closed, dense, strong, ground)
    for border in entrance:
        _drop_rail(kept, border)
    things, mask = _things(kept, differs, size, min_pixels)
    reaches = next((b for b in entrance if _touches(mask, b, ground.unseen(b), size)), "")
    doubtful = changed > _COVERED or not things
    recognised = not doubtful or ground.recognised(small)
    return Scene(things, mask, changed, reaches, lid, recognised)


def _edges_of_things(
    edges: Bytes, ground: Ground, shade: npt.NDArray[np.bool_], strong: Bytes, size: int
) -> Bytes:
    """`edges` without those of a rail that moved, and without the rim of a shadow.

    Beside what is surely a thing they all count: the flank of a clear bottle is hardly more than
    dimmed, and only its edges tell it from the shadow that it casts.
    """
    edges[ground.edges] = 0
    rim = cv2.dilate(shade.astype(np.uint8), _square(7)) > 0
    sure = cv2.morphologyEx(strong, cv2.MORPH_OPEN, _square(2))
    beside = cv2.dilate(sure, _disc(_FLANK * size)) > 0
    edges[rim & ~beside] = 0
    return edges


def _square(side: int) -> Any:
    return np.ones((side, side), np.uint8)


def _disc(diameter: float) -> Any:
    odd = max(3, round(diameter)) | 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (odd, odd))


def _dense(differs: Bytes, ground: Ground) -> Any:
    """`differs` without lone pixels and, where the ground has edges, without thin lines.

    Such a line is an edge of the chamber that has moved against the camera.
    """
    dense = cv2.threshold(cv2.blur(differs, (3, 3)), 105, 255, cv2.THRESH_BINARY)[1]
    opened = cv2.morphologyEx(dense, cv2.MORPH_OPEN, _square(3))
    return np.where(ground.edges, opened, dense)


def _fragments(closed: Any, dense: Any, strong: Bytes, ground: Ground) -> Bytes:
    """`closed` without fragments that are doubtful all over, or thin along the ground's edges."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    seeds = np.bincount(labels[strong > 0], minlength=count)
    pixels = np.bincount(labels[dense > 0], minlength=count)
    on_edges = np.bincount(labels[(dense > 0) & ground.edges], minlength=count)
    keep = np.zeros(count, np.uint8)
    for i in range(1, count):
        area = int(stats[i, cv2.CC_STAT_AREA])
        length = max(stats[i, cv2.CC_STAT_WIDTH], stats[i, cv2.CC_STAT_HEIGHT])
        thin = area / length < 0.03 * max(closed.shape)
        along_edges = thin and on_edges[i] > 0.6 * max(1, pixels[i])
        if seeds[i] >= max(3.0, _SEED_SHARE * area) and not along_edges:
            keep[i] = 255
    return np.asarray(keep[labels], np.uint8)


def _drop_rail(kept: Bytes, border: str) -> None:
    """Clear, in place, what runs along an entrance but is no open lid: a rail that came to rest
    elsewhere than when the empty view was learnt."""
    rows = from_border(kept, border)
    depth, length = rows.shape
    contours, _ = cv2.findContours(
        np.ascontiguousarray(rows), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    for contour in contours:
        _, y, width, height = cv2.boundingRect(contour)
        thickness = cv2.contourArea(contour) / width
        inside = y + height <= _RAIL_ZONE * depth
        if inside and width > _LID_SPAN * length and thickness < _RAIL_DEPTH * depth:
            rows[y : y + height] = 0


def _things(
    kept: Bytes, differs: Any, size: int, min_pixels: float
) -> tuple[tuple[Thing, ...], Mask]:
    """Join fragments across small gaps; the things that are large enough, and their mask."""
    mask = np.zeros(kept.shape, np.uint8)
    if not cv2.countNonZero(kept):
        return (), mask.astype(bool)
    linked = cv2.morphologyEx(differs, cv2.MORPH_CLOSE, _disc(_CLOSE * size))
    joined = cv2.dilate(kept, _disc(_LINK * size)) & linked
    joined |= cv2.dilate(kept, _disc(_JOIN * size))
    count, labels = cv2.connectedComponents(joined)
    labels[kept == 0] = 0
    found = []
    for i in range(1, count):
        part = (labels == i).astype(np.uint8)
        contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        if len(contours) > 1:
            contours = (cv2.convexHull(np.concatenate(contours)),)
        cv2.drawContours(part, contours, -1, (1,), cv2.FILLED)
        # Looking for neighbours and edges has widened it by one pixel all around.
        part = np.asarray(cv2.erode(part, _square(3)), np.uint8)
        area = cv2.countNonZero(part)
        if area >= min_pixels:
            found.append((area, part))
    found.sort(key=lambda pair: -pair[0])
    found = [pair for pair in found if pair[0] >= _SECOND * found[0][0]]
    things = []
    for area, part in found:
        x, y, width, height = cv2.boundingRect(part)
        things.append(Thing((x, y, width, height), area, part.astype(bool)))
        mask |= part
    return tuple(things), mask.astype(bool)


def _touches(mask: Mask, border: str, unseen: int, size: int) -> bool:
    """Whether a thing leaves the picture through `border`, wider than a few pixels of noise."""
    rows = from_border(mask, border)[: unseen + max(1, round(_EDGE * size))]
    return bool(np.count_nonzero(rows.any(axis=0)) >= max(3, 0.02 * size))


def _along(weak: Bytes, strong: Bytes, border: str, ground: Ground) -> bool:
    """Whether the view has changed along all of `border`, deeper than a shifted rail would."""
    spans = 0
    for differs in (weak, strong):
        rows = from_border(differs, border)[ground.unseen(border) :]
        zone = rows[: max(2, round(_LID_ZONE * rows.shape[0]))]
        spans += int(np.count_nonzero((zone > 0).mean(axis=1) > _LID_SPAN))
    return bool(spans / 2 >= max(2.0, _RAIL_DEPTH * rows.shape[0]))
