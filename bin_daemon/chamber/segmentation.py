"""Background subtraction: from pixels that differ to items, hands and open lids.

A small frame and the `Background` flow in, a `Segmentation` flows out. A shadow dims the background
and keeps its colour and its grain; where that is all that happened, nothing lies there. Fragments
of one object (a clear bottle is mostly its highlights) are joined; what reaches in from the
entrance is reported. No time passes here: rest and motion are the chamber's to judge.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np

from bin_daemon.chamber.background import Background
from bin_daemon.chamber.pixels import Bytes, from_border
from bin_daemon.core.messages import Mask

# Lengths are shares of the longer side of the small frame.
_CLOSE = 0.04  # gaps in one fragment
_JOIN = 0.05  # gaps between fragments of one object, across clean background
_LINK = 0.15  # the same, where everything between them differs a little
_FLANK = 0.12  # around what is certainly an object
_EDGE = 0.0125  # the outermost rows, where an arm comes from
# In a chamber whose walls reflect, no shadow is darker than this; an object may be.
_SHADE_DARKEST = 0.42
_GRAIN = 0.10  # a shadow's ratio varies less than this from pixel to pixel
_SEED_SHARE = 0.04  # of a fragment that must be beyond doubt
_LID_SPAN = 0.6  # of the border's length
_LID_ZONE = 0.25  # of the region, from the entrance
_COVERED = 0.5  # more than this may be a covered lens
_RAIL_ZONE = 0.33
_RAIL_DEPTH = 0.055  # of the region: a rail that rests elsewhere is thinner, an open lid is not
_SECOND = 0.25  # of the largest object: smaller ones are its cap, or crumbs


@dataclasses.dataclass(frozen=True, slots=True)
class Segmentation:
    """What a small frame shows.

    segments: the pixels of each separate object, bool (h, w), largest first. mask: bool (h, w), all
    of them. changed: share of the pixels that differ. reaches: the border that an object comes in
    from, or "". lid: the border along which the view has changed from end to end, or "".
    recognised: the empty chamber can be made out; false where something covers the lens.
    """

    segments: tuple[Mask, ...]
    mask: Mask
    changed: float
    reaches: str
    lid: str
    recognised: bool


def shadows(small: Bytes, background: Background) -> Mask:
    """Bool (h, w): dimmed, with the colour of the background, and smooth as a shadow is."""
    frame, expected = small.astype(np.float32), background.expected.astype(np.float32)
    ones = np.ones((1, 3), np.float32)
    light = cv2.transform(frame, ones) + 1.0
    lit = cv2.transform(expected, ones) + 1.0
    ratio = light / lit
    tinted = cv2.absdiff(frame, expected * ratio[..., None])
    off = cv2.transform(tinted, ones) - 0.09 * light
    smooth = np.abs(ratio - cv2.blur(ratio, (5, 5))) < _GRAIN + 2.0 * background.slack / lit
    like = (ratio < 1.0) & (ratio > _SHADE_DARKEST) & (off < 1.2 * background.slack)
    # Where a hard shadow begins the ratio jumps: its rim goes with the smooth part beside it.
    beside = cv2.dilate((like & smooth & (ratio < 0.95)).astype(np.uint8), _square(5)) > 0
    return np.asarray(like & (smooth | beside), np.bool_)


def segment(
    small: Bytes, background: Background, entrance: tuple[str, ...], min_pixels: float
) -> Segmentation:
    """Find the objects in `small` (uint8 (h, w, 3)) by what differs from the background.

    entrance: the borders that hands and lids come in from. min_pixels: of an object, at least.
    """
    size = max(small.shape[:2])
    shade = shadows(small, background)
    # Weak pixels tell how far an object reaches, strong ones that there is an object at all.
    weak, strong = background.outside(small), background.outside(small, strong=True)
    # These three take shadows in: an open lid may only dim the view, and so may a clear thing.
    lid = next((b for b in entrance if _along(weak, strong, b, background)), "")
    differs = _dense(weak, background)
    changed = cv2.countNonZero(weak) / weak.size
    # A shadow differs, but nothing lies there.
    shade &= weak > 0
    weak[shade] = 0
    strong[shade] = 0
    # White paper on white and clear plastic hardly differ: only their edges show.
    edges = _object_edges(background.new_edges(small), background, shade, strong, size)
    weak |= edges
    strong |= edges
    # Fragments are judged whole: noise has no strong core, and an edge that moved is thin.
    dense = _dense(weak, background)
    closed = cv2.morphologyEx(dense, cv2.MORPH_CLOSE, _disc(_CLOSE * size))
    kept = _fragments(closed, dense, strong, background)
    # A rail that rests elsewhere would pass for a hand.
    for border in entrance:
        _drop_rail(kept, border)
    # One clear bottle is several highlights: joined where all between them differs a little.
    segments = _segments(kept, differs, size, min_pixels)
    mask = np.any(segments, axis=0) if segments else np.zeros(kept.shape, np.bool_)
    reaches = next((b for b in entrance if _touches(mask, b, background.unseen(b), size)), "")
    # Recognising takes long, and is in question only where much changed or nothing was found.
    doubtful = changed > _COVERED or not segments
    recognised = not doubtful or background.recognised(small)
    return Segmentation(segments, mask, changed, reaches, lid, recognised)


def _object_edges(
    edges: Bytes, background: Background, shade: Mask, strong: Bytes, size: int
) -> Bytes:
    """`edges` without those of a rail that moved, and without the rim of a shadow.

    Beside what is certainly an object they all count: the flank of a clear bottle is hardly more
    than dimmed, and only its edges tell it from the shadow that it casts.
    """
    edges[background.edges] = 0
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


def _dense(differs: Bytes, background: Background) -> Any:
    """`differs` without lone pixels and, where the background has edges, without thin lines.

    Such a line is an edge of the chamber that has moved against the camera.
    """
    dense = cv2.threshold(cv2.blur(differs, (3, 3)), 105, 255, cv2.THRESH_BINARY)[1]
    opened = cv2.morphologyEx(dense, cv2.MORPH_OPEN, _square(3))
    return np.where(background.edges, opened, dense)


def _fragments(closed: Any, dense: Any, strong: Bytes, background: Background) -> Bytes:
    """`closed` without fragments that are doubtful all over, or thin along known edges."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    seeds = np.bincount(labels[strong > 0], minlength=count)
    pixels = np.bincount(labels[dense > 0], minlength=count)
    on_edges = np.bincount(labels[(dense > 0) & background.edges], minlength=count)
    area = stats[:, cv2.CC_STAT_AREA]
    length = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    thin = area / np.maximum(1, length) < 0.03 * max(closed.shape)
    along_edges = thin & (on_edges > 0.6 * np.maximum(1, pixels))
    keep = (seeds >= np.maximum(3.0, _SEED_SHARE * area)) & ~along_edges
    keep[0] = False  # what is no fragment
    return np.where(keep, 255, 0).astype(np.uint8)[labels]


def _drop_rail(kept: Bytes, border: str) -> None:
    """Clear, in place, a rail along an entrance that rests elsewhere than it was learnt."""
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


def _segments(kept: Bytes, differs: Any, size: int, min_pixels: float) -> tuple[Mask, ...]:
    """Join fragments across small gaps; the masks of the objects that are large enough."""
    if not cv2.countNonZero(kept):
        return ()
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
            found.append((area, part.astype(bool)))
    found.sort(key=lambda pair: -pair[0])
    return tuple(mask for area, mask in found if area >= _SECOND * found[0][0])


def _touches(mask: Mask, border: str, unseen: int, size: int) -> bool:
    """Whether an object leaves the picture through `border`, wider than a few pixels of noise."""
    rows = from_border(mask, border)[: unseen + max(1, round(_EDGE * size))]
    return bool(np.count_nonzero(rows.any(axis=0)) >= max(3, 0.02 * size))


def _along(weak: Bytes, strong: Bytes, border: str, background: Background) -> bool:
    """Whether the view has changed along all of `border`, deeper than a shifted rail would."""
    spans = 0
    for differs in (weak, strong):
        rows = from_border(differs, border)[background.unseen(border) :]
        zone = rows[: max(2, round(_LID_ZONE * rows.shape[0]))]
        spans += int(np.count_nonzero((zone > 0).mean(axis=1) > _LID_SPAN))
    return bool(spans / 2 >= max(2.0, _RAIL_DEPTH * rows.shape[0]))
