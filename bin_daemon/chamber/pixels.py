"""Small frames: what the chamber compares, and how it tells that one shows the same as another.

Full frames flow in; small ones (uint8, the longer side at most 216 pixels), their tolerances, and
for how long a view has been still flow out. What the view means is not known here.
"""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bin_daemon.core.messages import Image

Bytes = npt.NDArray[np.uint8]

LONGEST = 216  # pixels of the longer side of a small frame
WHITE = 250  # level from which a pixel counts as clipped
SIGMAS = 5.0  # a pixel beyond this many sigmas of noise has changed
MOVED_SHARE = 0.0015  # of the pixels: less is a flicker
MOVED_LEVELS = 7.0
MOVED_RELATIVE = 0.15  # a glint that shakes within one small pixel changes this much


def shrink(image: Image) -> Bytes:
    """`image` (uint8 (h, w, 3)) at working resolution: the longer side at most 216, by halves.

    Exact halves take OpenCV's fast path: 0.1 ms for 640x480, a quarter of one INTER_AREA step.
    """
    factor = 1
    while max(image.shape[:2]) > LONGEST * factor:
        factor *= 2
    height, width = image.shape[0] // factor * factor, image.shape[1] // factor * factor
    small = image[:height, :width]
    while factor > 1:
        half = (small.shape[1] // 2, small.shape[0] // 2)
        small = np.asarray(cv2.resize(small, half, interpolation=cv2.INTER_AREA), np.uint8)
        factor //= 2
    return small


def white_share(view: Bytes) -> float:
    """Share of the pixels that are clipped in all channels, 0 to 1."""
    white = cv2.inRange(view, np.full(3, WHITE), np.full(3, 255))
    return float(cv2.countNonZero(white) / white.size)


def as_bytes(values: Any) -> Bytes:
    """Rounded and saturated to uint8; values are not negative."""
    return np.asarray(values if values.dtype == np.uint8 else cv2.convertScaleAbs(values), np.uint8)


def spans(view: Bytes, side: int) -> tuple[Bytes, Bytes]:
    """Least and greatest value of each neighbourhood: what a small shift can show."""
    kernel = np.ones((side, side), np.uint8)
    return as_bytes(cv2.erode(view, kernel)), as_bytes(cv2.dilate(view, kernel))


def displaced(view: Any, x: float, y: float) -> Any:
    """`view` moved by x pixels to the right and y down, its borders repeated."""
    size = (view.shape[1], view.shape[0])
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(view, move, size, borderMode=cv2.BORDER_REPLICATE)


def from_border(image: Any, border: str) -> Any:
    """A view of `image` with `border` as its first row."""
    if border == "top":
        return image
    if border == "bottom":
        return image[::-1]
    return image.T if border == "left" else image.T[::-1]


@functools.lru_cache(maxsize=16)
def tolerances(relative: float, slack: float) -> tuple[Bytes, Bytes]:
    """Look-up tables uint8 (256,): a value less, and plus, its tolerance."""
    levels = np.arange(256, dtype=np.float32)
    below = np.clip(levels * (1.0 - relative) - slack, 0, 255).astype(np.uint8)
    above = np.clip(np.ceil(levels * (1.0 + relative) + slack), 0, 255).astype(np.uint8)
    return below, above


class Steady:
    """How long a view has been the same: compared with where it began, so that creeping shows.

    The range of each 3x3 neighbourhood counts as the same: camera shake is no motion.
    """

    def __init__(self) -> None:
        self._low: Bytes | None = None
        self._high: Bytes | None = None
        self._since = 0.0

    def reset(self) -> None:
        """Forget what was seen."""
        self._low = self._high = None

    def still_s(self, small: Bytes, now: float, noise: float) -> float:
        """Seconds for which `small` (uint8 (h, w, 3)) has shown the same; 0 where it changed."""
        if self._low is not None and self._high is not None and self._low.shape == small.shape:
            same = cv2.inRange(small, self._low, self._high)
            if same.size - cv2.countNonZero(same) <= MOVED_SHARE * same.size:
                return max(now - self._since, 1e-9)
        low, high = spans(small, 3)
        below, above = tolerances(MOVED_RELATIVE, max(MOVED_LEVELS, SIGMAS * 1.5 * noise))
        self._low, self._high = as_bytes(cv2.LUT(low, below)), as_bytes(cv2.LUT(high, above))
        self._since = now
        return 0.0


def local_range(view: Bytes) -> Bytes:
    """Range of grey levels in each 3x3 neighbourhood, uint8 (h, w): the morphological gradient."""
    grey = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY)
    return as_bytes(cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))


class Lessons:
    """Gathers small frames for as long as they show the same, to learn an empty view from."""

    LIMIT = 12

    def __init__(self) -> None:
        self.frames: list[Bytes] = []
        self._steady = Steady()

    def clear(self) -> None:
        """Start over."""
        self.frames.clear()
        self._steady.reset()

    def add(self, small: Bytes, now: float, noise: float) -> float:
        """Take one more; seconds that all of them span."""
        still_s = self._steady.still_s(small, now, noise)
        if still_s == 0.0:
            self.frames.clear()
        self.frames.append(small)
        del self.frames[: -self.LIMIT]
        return still_s
