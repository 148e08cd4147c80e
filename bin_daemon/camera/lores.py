"""The small picture that a camera's image processor makes beside the large one: size and colours.

The size of the large picture flows in, that of the small one flows out; YUV420 planes flow in, RGB
flows out.
"""

from __future__ import annotations

import cv2
import numpy as np

from bin_daemon.core.images import LONGEST
from bin_daemon.core.messages import Array, Image


def small_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the small picture: twice what `images.shrink` makes of the whole picture.

    Halved a whole number of times, so that both shrink to the same grid; even, as YUV420 must be.
    Twice, so that half of the view still has the full working resolution.
    """
    factor = 1
    while max(width, height) > LONGEST * factor * 2:
        factor *= 2
    while factor > 1 and (width % (2 * factor) or height % (2 * factor)):
        factor //= 2
    return width // factor, height // factor


def rgb_of_yuv420(planes: Array, width: int, height: int) -> Image:
    """uint8 (height, width, 3) RGB of full-range YUV420 (sYCC, as JPEG has it).

    planes: uint8 (height * 3 / 2, stride): Y, then U and V, of which two rows lie in one of Y's;
    what lies beyond `width` is padding.
    """
    # OpenCV converts ITU-R BT.601's range only: 219 steps from 16 up, 112 to either side of 128.
    narrow = np.empty_like(planes)
    cv2.convertScaleAbs(planes[:height], narrow[:height], 219 / 255, 16)
    cv2.convertScaleAbs(planes[height:], narrow[height:], 224 / 255, 128 * (1 - 224 / 255))
    rgb = cv2.cvtColor(narrow, cv2.COLOR_YUV2RGB_I420)
    return np.ascontiguousarray(rgb[:, :width], np.uint8)
