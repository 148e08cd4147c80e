"""For how long a view has been still, and the small frames of that time.

Small frames (uint8, `images.shrink`) flow in with their times, seconds flow out.
"""

from __future__ import annotations

from collections import deque

import cv2

from bin_daemon.chamber.pixels import SIGMAS, Bytes, as_bytes, spans, tolerances

_MOVED_SHARE = 0.0015  # of the pixels: less is a flicker
_MOVED_LEVELS = 7.0
_MOVED_RELATIVE = 0.15  # a glint that shakes within one small pixel changes this much


class StillnessDetector:
    """How long a view has been the same: compared with where it began, so that creeping shows.

    The range of each 3x3 neighbourhood is tolerated: camera shake is no motion.
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
            if same.size - cv2.countNonZero(same) <= _MOVED_SHARE * same.size:
                return max(now - self._since, 1e-9)
        low, high = spans(small, 3)
        below, above = tolerances(_MOVED_RELATIVE, max(_MOVED_LEVELS, SIGMAS * 1.5 * noise))
        self._low, self._high = as_bytes(cv2.LUT(low, below)), as_bytes(cv2.LUT(high, above))
        self._since = now
        return 0.0


class StillFrames(StillnessDetector):
    """Keeps the latest small frames that show the same, to learn an empty view from."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: deque[Bytes] = deque(maxlen=12)

    def still_s(self, small: Bytes, now: float, noise: float) -> float:
        """As of the base class; `small` becomes the last of `frames`."""
        still_s = super().still_s(small, now, noise)
        if still_s == 0.0:
            self.frames.clear()
        self.frames.append(small)
        return still_s
