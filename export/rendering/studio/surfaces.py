"""What a chamber is made of: painted board, moulded plastic, brushed or powder-coated metal.

A random generator flows in, a Mitsuba material flows out. The ranges are those of things that one
could build a bin from, wide on purpose; none is taken from a bin that exists.
"""

from __future__ import annotations

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.materials import Bsdf, coated, matte, metal
from export.rendering.studio.chance import Rgb, Rng, chosen, colour, happens, near
from export.rendering.texture import cloud, done, plain, worn_plastic

_PAINT: dict[str, float] = {
    "black": 0.13, "dark grey": 0.14, "grey": 0.14, "white": 0.13, "navy": 0.12, "blue": 0.08,
    "green": 0.09, "steel": 0.08, "beige": 0.04, "any": 0.05,
}  # fmt: skip
_RGB: dict[str, Rgb] = {
    "black": (28, 28, 30), "dark grey": (70, 72, 76), "grey": (132, 135, 138),
    "white": (222, 222, 220), "navy": (28, 42, 82), "blue": (48, 88, 150),
    "green": (52, 104, 66), "steel": (150, 156, 164), "beige": (188, 172, 146),
}  # fmt: skip


def paint(rng: Rng) -> Rgb:
    """A colour for a floor or a wall."""
    name = chosen(rng, _PAINT)
    return colour(rng, (0.1, 0.8), (0.15, 0.85)) if name == "any" else near(rng, _RGB[name], 14)


def _worn(rgb: Rgb, rng: Rng) -> Array:
    """The colour with grain, smudges, scratches and sometimes seams, holes or a grid."""
    h = w = 512
    img = worn_plastic(h, w, rng, rgb, int(rng.integers(0, 160)))
    img += rng.uniform(0, 6) * cloud(h, w, int(rng.integers(2, 6)), rng)[..., None]
    dirt = np.clip(cloud(h, w, int(rng.integers(4, 24)), rng) - rng.uniform(1.0, 2.5), 0, 1)
    img *= 1 - rng.uniform(0, 0.25) * dirt[..., None]
    pattern = chosen(rng, {"none": 0.6, "seam": 0.16, "grid": 0.08, "holes": 0.08, "lines": 0.08})
    dark = 0.35 * np.asarray(rgb)
    if pattern == "seam":
        at = int(rng.integers(40, h - 40))
        cv2.line(img, (0, at), (w, at + int(rng.integers(-6, 7))), dark.tolist(), 2, cv2.LINE_AA)
        for x in rng.integers(10, w - 10, 3):
            cv2.circle(img, (int(x), at + 14), 4, (0.6 * dark).tolist(), -1, cv2.LINE_AA)
    elif pattern != "none":
        step = int(rng.integers(24, 80))
        for x in range(step // 2, w, step):
            if pattern != "holes":
                cv2.line(img, (x, 0), (x, h), dark.tolist(), 1, cv2.LINE_AA)
            if pattern == "grid":
                cv2.line(img, (0, x), (w, x), dark.tolist(), 1, cv2.LINE_AA)
            if pattern == "holes":
                for y in range(step // 2, h, step):
                    cv2.circle(img, (x, y), max(2, step // 8), dark.tolist(), -1, cv2.LINE_AA)
    return done(img)


def surface(rng: Rng) -> Bsdf:
    """A floor or a wall: mostly paint or plastic, at times bare metal."""
    kind = chosen(rng, {"plastic": 0.42, "matte": 0.28, "glossy": 0.16, "metal": 0.14})
    if kind == "metal":
        tint = near(rng, (205, 207, 210), 14)
        return metal(float(rng.uniform(0.18, 0.5)), tint)
    rgb = paint(rng)
    image = _worn(rgb, rng) if happens(rng, 0.75) else done(plain(4, 4, rgb))
    if kind == "matte":
        return matte(image)
    if kind == "glossy":
        return coated(image, float(rng.uniform(0.06, 0.25)), float(rng.uniform(0.4, 0.9)))
    return coated(image, float(rng.uniform(0.3, 0.65)), float(rng.uniform(0.2, 0.6)))
