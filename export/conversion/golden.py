"""Golden inputs: drawn pictures, and the scores a model must give for them on every machine.

A bin runs them after installing a package: a runtime or a processor that computes something else
shows at once. The pictures are drawn here from shapes, gradients and noise; none is a photograph.
"""

from __future__ import annotations

import io
from collections.abc import Iterable

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from export.evaluation.runtimes import RUNTIMES, TfliteFile

TOLERANCE_STEPS = 12
"""Allowed difference of a logit in quantisation steps: built-in, XNNPACK and ARM kernels round a
little differently, and 50 layers add that up."""

Corner = tuple[float, float]
Colour = tuple[int, int, int]


def draw(side: int = 224) -> Array:
    """Draw the golden inputs, the same on every call: uint8 (6, side, side, 3) RGB."""
    drawings = (_bottle, _box, _can, _sheet, _blobs, _ramp)
    return np.stack([drawing(side) for drawing in drawings])


def _backdrop(side: int, dark: float, light: float, tint: tuple[float, float, float]) -> Array:
    """A background that is lit from one corner; uint8 (side, side, 3)."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1)
    shade = dark + (light - dark) * (0.6 * x + 0.4 * (1.0 - y))
    return np.asarray(np.clip(shade[..., None] * np.array(tint), 0, 255), np.uint8)


def _points(picture: Array, corners: Iterable[Corner]) -> Array:
    return np.asarray(np.round(np.array(corners) * len(picture)), np.int32)


def _fill(picture: Array, colour: Colour, *corners: Corner) -> None:
    """Fill a polygon; corners are shares of the side."""
    cv2.fillPoly(picture, [_points(picture, corners)], colour, cv2.LINE_AA)


def _line(picture: Array, colour: Colour, width: int, *ends: Corner) -> None:
    """Draw a line, `width` pixels wide, between two points in shares of the side."""
    first, last = _points(picture, ends).tolist()
    cv2.line(picture, first, last, colour, width, cv2.LINE_AA)


def _bottle(side: int) -> Array:
    """A tall, pale shape with a neck, a cap and a bright streak on a grey background."""
    picture = _backdrop(side, 150, 225, (1.0, 0.98, 0.94))
    left, right = ((0.36, 0.9), (0.36, 0.4), (0.45, 0.22)), ((0.55, 0.22), (0.64, 0.4), (0.64, 0.9))
    _fill(picture, (176, 205, 214), *left, *right)
    outline = _points(picture, (*left, *right))
    cv2.polylines(picture, [outline], True, (120, 150, 165), 2, cv2.LINE_AA)
    first, last = _points(picture, ((0.45, 0.14), (0.55, 0.22))).tolist()
    cv2.rectangle(picture, first, last, (40, 90, 200), -1)
    _line(picture, (240, 250, 255), 4, (0.42, 0.42), (0.42, 0.86))
    return picture


def _box(side: int) -> Array:
    """A brown box in three faces, with the ribs of corrugated board."""
    picture = _backdrop(side, 170, 235, (0.97, 0.98, 1.0))
    _fill(picture, (158, 118, 78), (0.2, 0.4), (0.55, 0.5), (0.55, 0.88), (0.2, 0.76))
    _fill(picture, (132, 96, 62), (0.55, 0.5), (0.84, 0.38), (0.84, 0.74), (0.55, 0.88))
    _fill(picture, (186, 146, 102), (0.2, 0.4), (0.5, 0.28), (0.84, 0.38), (0.55, 0.5))
    for share in np.linspace(0.06, 0.94, 16):
        x, top, bottom = 0.2 + 0.35 * share, 0.4 + 0.1 * share, 0.76 + 0.12 * share
        _line(picture, (146, 107, 69), 1, (x, top), (x, bottom))
    return picture


def _can(side: int) -> Array:
    """A cylinder whose shading runs across it as on metal, with a rim and two bands."""
    picture = _backdrop(side, 120, 200, (0.9, 0.95, 1.0))
    left, right, top, bottom = (round(side * share) for share in (0.33, 0.67, 0.25, 0.82))
    across = np.linspace(0.0, np.pi * 3, right - left)
    metal = np.clip(150 + 80 * np.sin(across) ** 3, 0, 255)
    picture[top:bottom, left:right] = metal[None, :, None] * np.array([1.0, 0.99, 0.97])
    third = (bottom - top) // 3
    picture[top + third : top + third + 14, left:right] //= np.array([1, 3, 3], np.uint8)
    centre, axes = ((left + right) // 2, top), ((right - left) // 2, round(side * 0.05))
    cv2.ellipse(picture, centre, axes, 0, 0, 360, (225, 225, 222), -1, cv2.LINE_AA)
    cv2.ellipse(picture, centre, axes, 0, 0, 360, (110, 110, 112), 2, cv2.LINE_AA)
    return picture


def _sheet(side: int) -> Array:
    """A turned white sheet with lines like print on a blue background."""
    picture = _backdrop(side, 60, 130, (0.5, 0.75, 1.0))
    _fill(picture, (236, 236, 230), (0.25, 0.15), (0.82, 0.27), (0.7, 0.86), (0.14, 0.73))
    start, along, down = np.array([0.3, 0.24]), np.array([0.42, 0.09]), np.array([-0.1, 0.46])
    for share in np.linspace(0.0, 1.0, 12):
        first = start + share * down
        last = first + along * (0.7 + 0.3 * np.cos(7.0 * share))
        _line(picture, (90, 90, 96), 2, tuple(first), tuple(last))
    return picture


def _blobs(side: int) -> Array:
    """Smooth noise in eight levels of each colour: every channel has something to answer to."""
    coarse = np.random.default_rng(5).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    smooth: Array = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.bitwise_and(smooth, 0xE0)


def _ramp(side: int) -> Array:
    """Steps of red across, of green down, blue against both: the ends of the input range."""
    level = np.repeat(np.linspace(0, 255, 14).astype(np.uint8), -(-side // 14))[:side]
    red = np.tile(level, (side, 1))
    green = red.T
    return np.stack([red, green, 255 - red // 2 - green // 2], axis=-1)


def record(content: bytes) -> dict[str, Array]:
    """Run the golden inputs on the first runtime; returns the arrays of golden.npz.

    They are `inputs`, uint8 (6, s, s, 3); `logits` and `embedding`, float32 (6, classes) and
    (6, d), dequantised, d being 0 where the model gives none; and two float32 scalars in logits:
    `tolerance`, the largest difference that is allowed, and `logit_step`, one quantisation step.
    """
    model = TfliteFile(content, RUNTIMES[0])
    inputs = draw(model.side)
    outputs = model.run(inputs)
    step = np.float32(model.step("logits"))
    return {
        "inputs": inputs,
        "logits": outputs.logits,
        "embedding": outputs.embedding,
        "tolerance": np.array(TOLERANCE_STEPS * step, np.float32),
        "logit_step": np.array(step),
    }


def pack(golden: dict[str, Array]) -> bytes:
    """The content of golden.npz, compressed."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **golden)
    return stream.getvalue()
