"""From a box to what the network sees: a square cut from the full picture, in neutral light.

A full-resolution RGB frame and a box flow in, a square uint8 crop flows out. White balance is one
gain per channel, estimated from the empty view and never from the item.
"""

from __future__ import annotations

import cv2
import numpy as np

from bin_daemon.chamber.background import Floats
from bin_daemon.chamber.pixels import Bytes
from bin_daemon.core.messages import Image, Item

Box = tuple[int, int, int, int]  # x, y, width, height; a window may reach beyond the frame

# Shades of grey (Finlayson and Trezzi 2004): between the mean of the view (p = 1), which mistakes
# painted walls for the light, and its brightest spot (p infinite), which one glint decides.
_MINKOWSKI = 6
_CAST_GAIN = (0.7, 1.45)  # a painted chamber is no coloured lamp: never correct all of it
_LEVEL_GAIN = (0.7, 1.8)
_LEVEL = 150.0  # what the view's Minkowski mean is brought to, in grey levels
MIN_SIDE = 32
SAME_PLACE = 0.6  # intersection over union
SAME_LOOKS = 28.0  # mean difference in grey levels


def light_table(empty: Image | Bytes) -> Bytes:
    """Look-up table uint8 (1, 256, 3) that makes the light on `empty` (uint8 RGB) neutral."""
    values = empty[::3, ::3].reshape(-1, 3) / 255.0
    mean = np.power(np.power(values, _MINKOWSKI).mean(axis=0), 1.0 / _MINKOWSKI) * 255.0 + 1.0
    grey = float(mean.mean())
    cast = np.clip(grey / mean, *_CAST_GAIN)
    gain: Floats = (cast * np.clip(_LEVEL / grey, *_LEVEL_GAIN)).astype(np.float32)
    ramp = np.arange(256, dtype=np.float32)[:, None] * gain
    return np.clip(ramp + 0.5, 0, 255).astype(np.uint8)[None]


def square(image: Image, box: Box, margin: float, table: Bytes | None) -> Image:
    """The square crop of `box` (x, y, width, height) with `margin` of its longer side around it.

    It is moved to stay inside the picture; where it is larger than that, the borders are repeated.
    table: of `light_table`; None leaves the colours alone.
    """
    left, top, side, _ = window(box, margin, image.shape[1], image.shape[0])
    part = image[max(0, top) : top + side, max(0, left) : left + side]
    if part.shape[:2] != (side, side):
        rows, columns = np.arange(top, top + side), np.arange(left, left + side)
        inside = rows.clip(0, image.shape[0] - 1)[:, None], columns.clip(0, image.shape[1] - 1)
        part = image[inside]
    return part.copy() if table is None else np.asarray(cv2.LUT(part, table), np.uint8)


def window(box: Box, margin: float, columns: int, rows: int) -> Box:
    """Where `square` cuts in a frame of `columns` by `rows` pixels: x, y and twice the side."""
    x, y, width, height = box
    side = max(MIN_SIDE, round(max(width, height) * (1.0 + 2.0 * margin)))
    left = _inside(x + width / 2 - side / 2, side, columns)
    return left, _inside(y + height / 2 - side / 2, side, rows), side, side


def _inside(start: float, side: int, length: int) -> int:
    """Where an interval of `side` begins, moved into `length`, or centred on it if longer."""
    if side >= length:
        return -((side - length) // 2)
    return min(max(0, round(start)), length - side)


def is_same(a: Item, b: Item) -> bool:
    """Whether two items are one thing that has not moved: same place and same looks.

    Looks are the crops at 16 x 16 pixels, which a shift by a few pixels hardly changes.
    """
    if a.mask.shape != b.mask.shape:
        return False
    overlap = np.count_nonzero(a.mask & b.mask)
    if overlap < SAME_PLACE * max(1, np.count_nonzero(a.mask | b.mask)):
        return False
    looks = [cv2.resize(i.crop, (16, 16), interpolation=cv2.INTER_AREA) for i in (a, b)]
    return float(cv2.absdiff(*looks).mean()) < SAME_LOOKS
