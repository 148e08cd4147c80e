"""Golden inputs: drawn pictures, and the scores a model must give for them on every machine.

A bin runs them after installing a package: a runtime or a processor that computes something else
shows at once. The pictures are drawn here from shapes, gradients and noise; none is a photograph.
"""

from __future__ import annotations

import io

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from export.evaluation.runtimes import RUNTIMES, Model

TOLERANCE_STEPS = 12
"""Allowed difference of a logit in quantisation steps.

Built-in, XNNPACK and ARM kernels round a little differently, and 50 layers add that up.
"""


def draw(side: int = 224) -> Array:
    """Draw the golden inputs, the same on every call: uint8 (6, side, side, 3) RGB."""
    return np.stack(
        [
            _bottle(side),
            _box(side),
            _can(side),
            _sheet(side),
            _blobs(side, np.random.default_rng(5)),
            _ramp(side),
        ]
    )


def _backdrop(side: int, dark: float, light: float, tint: tuple[float, float, float]) -> Array:
    """A background that is lit from one corner; uint8 (side, side, 3)."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1)
    shade = dark + (light - dark) * (0.6 * x + 0.4 * (1.0 - y))
    return np.asarray(np.clip(shade[..., None] * np.array(tint), 0, 255), np.uint8)


def _points(side: int, *corners: tuple[float, float]) -> Array:
    return np.asarray(np.round(np.array(corners) * side), np.int32)


def _bottle(side: int) -> Array:
    """A tall, pale shape with a neck, a cap and a bright streak on a grey background."""
    picture = _backdrop(side, 150, 225, (1.0, 0.98, 0.94))
    left, right = ((0.36, 0.9), (0.36, 0.4), (0.45, 0.22)), ((0.55, 0.22), (0.64, 0.4), (0.64, 0.9))
    body = _points(side, *left, *right)
    cv2.fillPoly(picture, [body], (176, 205, 214), cv2.LINE_AA)
    cv2.polylines(picture, [body], True, (120, 150, 165), 2, cv2.LINE_AA)
    corners = _points(side, (0.45, 0.14), (0.55, 0.22))
    cv2.rectangle(picture, corners[0].tolist(), corners[1].tolist(), (40, 90, 200), -1)
    streak = _points(side, (0.42, 0.42), (0.42, 0.86))
    cv2.line(picture, streak[0].tolist(), streak[1].tolist(), (240, 250, 255), 4, cv2.LINE_AA)
    return picture


def _box(side: int) -> Array:
    """A brown box in three faces, with the ribs of corrugated board."""
    picture = _backdrop(side, 170, 235, (0.97, 0.98, 1.0))
    faces = (
        (_points(side, (0.2, 0.4), (0.55, 0.5), (0.55, 0.88), (0.2, 0.76)), (158, 118, 78)),
        (_points(side, (0.55, 0.5), (0.84, 0.38), (0.84, 0.74), (0.55, 0.88)), (132, 96, 62)),
        (_points(side, (0.2, 0.4), (0.5, 0.28), (0.84, 0.38), (0.55, 0.5)), (186, 146, 102)),
    )
    for corners, colour in faces:
        cv2.fillPoly(picture, [corners], colour, cv2.LINE_AA)
    for share in np.linspace(0.06, 0.94, 16):
        top = _points(side, (0.2 + 0.35 * share, 0.4 + 0.1 * share))[0]
        bottom = _points(side, (0.2 + 0.35 * share, 0.76 + 0.12 * share))[0]
        cv2.line(picture, top.tolist(), bottom.tolist(), (146, 107, 69), 1, cv2.LINE_AA)
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
    corners = _points(side, (0.25, 0.15), (0.82, 0.27), (0.7, 0.86), (0.14, 0.73))
    cv2.fillPoly(picture, [corners], (236, 236, 230), cv2.LINE_AA)
    start, along, down = np.array([0.3, 0.24]), np.array([0.42, 0.09]), np.array([-0.1, 0.46])
    for share in np.linspace(0.0, 1.0, 12):
        first = start + share * down
        last = first + along * (0.7 + 0.3 * np.cos(7.0 * share))
        ends = _points(side, tuple(first), tuple(last))
        cv2.line(picture, ends[0].tolist(), ends[1].tolist(), (90, 90, 96), 2, cv2.LINE_AA)
    return picture


def _blobs(side: int, rng: np.random.Generator) -> Array:
    """Smooth noise in eight levels of each colour: every channel has something to answer to."""
    coarse = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    smooth: Array = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.bitwise_and(smooth, 0xE0)


def _ramp(side: int) -> Array:
    """Steps of red across, of green down, blue against both: the ends of the input range."""
    level = np.repeat(np.linspace(0, 255, 14).astype(np.uint8), -(-side // 14))[:side]
    red = np.tile(level, (side, 1))
    green = red.T
    return np.stack([red, green, 255 - red // 2 - green // 2], axis=-1)


def record(content: bytes) -> dict[str, Array]:
    """Run the golden inputs on the first runtime.

    Returns:
        inputs: uint8 (6, s, s, 3), s as the model takes them.
        logits, embedding: float32 (6, classes) and (6, d), dequantised; d is 0 where it gives none.
        tolerance: float32 scalar, largest difference of a logit that is allowed, in logits.
        logit_step: float32 scalar, one quantisation step of the logits.
    """
    model = Model(content, RUNTIMES[0])
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
