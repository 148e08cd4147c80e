"""Operations on the pixels of small frames, and how far two pixels may differ and still be equal.

Small frames (uint8, `images.shrink`) flow in, shares, ranges and tolerances flow out.
"""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

BLOCK = 10  # pixels of the small frame
WHITE = 250  # level from which a pixel counts as clipped
SIGMAS = 5.0  # a pixel beyond this many sigmas of noise has changed


def white_share(view: Bytes) -> float:
    """Share of the pixels that are clipped in all channels, 0 to 1."""
    return float((view >= WHITE).all(axis=2).mean())


def as_bytes(values: Any) -> Bytes:
    """`values` (none negative) rounded and saturated to uint8."""
    return np.asarray(values if values.dtype == np.uint8 else cv2.convertScaleAbs(values), np.uint8)


def spans(view: Bytes, side: int) -> tuple[Bytes, Bytes]:
    """Minimum and maximum of each `side` x `side` neighbourhood: what a small shift can show."""
    kernel = np.ones((side, side), np.uint8)
    return as_bytes(cv2.erode(view, kernel)), as_bytes(cv2.dilate(view, kernel))


def block_means(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Means of `values` (h, w) over blocks of about BLOCK x BLOCK pixels, float32."""
    size = (max(1, values.shape[1] // BLOCK), max(1, values.shape[0] // BLOCK))
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)


def displaced(view: Any, x: float, y: float) -> Any:
    """`view` moved by x pixels to the right and y down, its borders repeated."""
    size = (view.shape[1], view.shape[0])
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(view, move, size, borderMode=cv2.BORDER_REPLICATE)


def from_border(image: Any, border: str) -> Any:
    """`image` turned so that `border` ("top", "left", ...) is its first row; shares its memory."""
    turned = {"top": image, "bottom": image[::-1], "left": image.T, "right": image.T[::-1]}
    return turned[border]


@functools.lru_cache(maxsize=16)
def tolerances(relative: float, slack: float) -> tuple[Bytes, Bytes]:
    """Look-up tables uint8 (256,): each level minus, and plus, its tolerance."""
    levels = np.arange(256, dtype=np.float32)
    below = np.clip(levels * (1.0 - relative) - slack, 0, 255).astype(np.uint8)
    above = np.clip(np.ceil(levels * (1.0 + relative) + slack), 0, 255).astype(np.uint8)
    return below, above


def local_range(view: Bytes) -> Bytes:
    """Range of grey levels in each 3x3 neighbourhood, uint8 (h, w): the morphological gradient."""
    grey = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY)
    return as_bytes(cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))
