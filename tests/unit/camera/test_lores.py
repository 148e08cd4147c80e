"""The small picture beside the large one: its size, and its colours from YUV420 planes."""

import cv2
import numpy as np
import pytest

from bin_daemon.camera.picamera2 import rgb_of_yuv420, small_size
from bin_daemon.core.images import shrink

SIZES = [(640, 480), (800, 600), (1280, 720), (1640, 1232), (1920, 1080), (2592, 1944), (160, 120)]


@pytest.mark.parametrize("size", SIZES)
def test_large_and_small_picture_come_to_the_same_working_grid(size: tuple[int, int]) -> None:
    width, height = small_size(*size)
    large = shrink(np.zeros((size[1], size[0], 3), np.uint8))
    assert shrink(np.zeros((height, width, 3), np.uint8)).shape == large.shape


@pytest.mark.parametrize("size", SIZES)
def test_its_sides_are_even_and_have_the_aspect_of_the_large_one(
    size: tuple[int, int],
) -> None:
    width, height = small_size(*size)
    assert width % 2 == height % 2 == 0
    assert width * size[1] == height * size[0]


def test_it_is_half_as_large_as_the_usual_picture() -> None:
    assert small_size(640, 480) == (320, 240)


def planes_of(image: np.ndarray, stride: int) -> np.ndarray:
    """Full-range YUV420 of `image`, its rows padded with garbage to `stride` bytes."""
    height, width = image.shape[:2]
    ycrcb = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    padded = np.full((height * 3 // 2, stride), 77, np.uint8)
    padded[:height, :width] = ycrcb[..., 0]
    chroma = padded[height:].reshape(height, stride // 2)  # the rows of U, then those of V
    for rows, channel in ((chroma[: height // 2], 2), (chroma[height // 2 :], 1)):
        rows[:, : width // 2] = cv2.resize(ycrcb[..., channel], (width // 2, height // 2))
    return padded


@pytest.mark.parametrize("height", [240, 242])
@pytest.mark.parametrize("stride", [320, 384])
def test_colours_come_through_whatever_the_rows_are_padded_to(stride: int, height: int) -> None:
    colours = {(20, 40): (250, 5, 5), (20, 200): (5, 240, 5), (200, 40): (5, 5, 250)}
    image = np.full((height, 320, 3), 255, np.uint8)
    for (y, x), colour in colours.items():
        image[y - 20 : y + 20, x - 40 : x + 40] = colour
    seen = rgb_of_yuv420(planes_of(image, stride), 320, height)
    assert seen.shape == image.shape
    for (y, x), colour in colours.items():
        assert seen[y, x].tolist() == pytest.approx(colour, abs=3)
    assert seen[height - 1, 319].tolist() == [255, 255, 255]
