"""Outlines of annotated things as masks: polygons, rectangles, circles and run-length codes.

Points or codes and the size of a picture flow in, a bool mask (h, w) flows out, or a `ValueError`
that says what is wrong with the shape. Nothing here knows about files or classes.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from bin_daemon.core.messages import Array

_OUTSIDE = 1_000_000  # pixels

Size = tuple[int, int]
"""Height and width of a picture."""


def polygon(points: Any, size: Size) -> Array:
    """The mask of one closed polygon, cut at the border of the picture.

    `points` are three or more (x, y) in pixels; (0, 0) is the corner of the first pixel.
    """
    starts = _points(points, least=3)
    ends = np.roll(starts, -1, axis=0)
    middles = np.arange(size[0]) + 0.5
    # A pixel is inside if an odd number of edges crosses its row to the left of its middle.
    crossed = (starts[:, 1:] <= middles) != (ends[:, 1:] <= middles)
    edge, row = np.nonzero(crossed)
    (x, y), (run, rise) = starts[edge].T, (ends - starts)[edge].T
    column = np.ceil(x + (middles[row] - y) * run / rise - 0.5).clip(0, size[1]).astype(int)
    crossings = np.zeros((size[0], size[1] + 1), int)
    np.add.at(crossings, (row, column), 1)
    return _some(crossings.cumsum(axis=1)[:, :-1] % 2 == 1)


def rectangle(points: Any, size: Size) -> Array:
    """The mask of the upright rectangle around (x, y) points, two or more."""
    corners = _points(points, least=2)
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    mask = np.zeros(size, bool)
    rows = slice(max(0, round(top)), max(0, round(bottom)))
    mask[rows, max(0, round(left)) : max(0, round(right))] = True
    return _some(mask)


def circle(points: Any, size: Size) -> Array:
    """The mask of a circle of which two points are given, centre and rim."""
    (x, y), (rim_x, rim_y) = _points(points, least=2)[:2]
    down, right = np.ogrid[: size[0], : size[1]]
    radius = math.hypot(rim_x - x, rim_y - y)
    return _some((right + 0.5 - x) ** 2 + (down + 0.5 - y) ** 2 <= radius**2)


def mask_of_run_lengths(code: Any, size: Size) -> Array:
    """The mask that a COCO run-length code stands for.

    Runs alternate between outside and inside, beginning outside, and go down the columns. `counts`
    are numbers, or a string of them (cocoapi, maskApi.c: five bits and a sign in a character from
    '0' on, and from the third number on the difference to the one before the last).

    `code` is an object with `counts` and `size` (height, width), which must be the picture's.
    """
    if not isinstance(code, dict) or "counts" not in code:
        raise ValueError("the run-length code has no 'counts'")
    if code.get("size") != list(size):
        raise ValueError(f"the run-length code has the size {code.get('size')}, not {list(size)}")
    counts = code["counts"]
    runs = _decoded(counts) if isinstance(counts, str) else counts
    whole = isinstance(runs, list) and all(type(run) is int and run >= 0 for run in runs)
    if not whole or sum(runs) != size[0] * size[1]:
        raise ValueError("the runs do not fill the picture")
    inside = np.arange(len(runs)) % 2 == 1
    return _some(np.repeat(inside, runs).reshape(size[1], size[0]).T.copy())


def box_of(mask: Array) -> tuple[int, int, int, int]:
    """x, y, width, height of what is set in a mask, in pixels."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return x, y, width, height


def _decoded(text: str) -> list[int]:
    """The numbers of a compressed run-length code."""
    runs: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"'{character}' is no character of a run-length code")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
        number = shift = 0
    if shift:
        raise ValueError("the run-length code ends within a number")
    return runs


def _points(points: Any, least: int) -> Array:
    """Points as float64 (n, 2), at least so many, and none far from any picture."""
    try:
        corners = np.array(points, np.float64)
    except (TypeError, ValueError):
        corners = np.empty(0)
    if corners.ndim != 2 or corners.shape[1] != 2:
        raise ValueError("has points that are no pairs of numbers")
    if len(corners) < least:
        raise ValueError(f"has {len(corners)} points; it takes {least} or more")
    if not (np.abs(corners) < _OUTSIDE).all():
        raise ValueError("has a point that is no place in a picture")
    return corners


def _some(mask: Array) -> Array:
    """The mask itself where it is not empty."""
    if not mask.any():
        raise ValueError("covers nothing of the picture")
    return mask
