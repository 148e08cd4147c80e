"""Made-up print for labels, cans, cups, boxes and wrappers.

A size flows in, a uint8 sRGB image flows out: a ground, some shapes, a name, small print, a bar
code. Every print is another one, so that no network can learn a brand.
"""

from __future__ import annotations

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.studio.chance import Rgb, Rng, chosen, colour, happens, word
from export.rendering.texture import cloud, done, plain, written


def _ink(rng: Rng, ground: Rgb) -> Rgb:
    """A colour that stands out from the ground."""
    if np.mean(ground) > 128:
        return colour(rng, (0.3, 1), (0.05, 0.5))
    return colour(rng, (0, 0.5), (0.8, 1))


def _shapes(img: Array, rng: Rng) -> Array:
    """Bands, waves, stripes, discs, rays or a gradient over the ground."""
    h, w = img.shape[:2]
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) / [[[h]], [[w]]]
    rgb = np.asarray(colour(rng, (0.1, 1), (0.15, 1)), np.float32)
    kind = chosen(
        rng,
        {"bands": 2, "wave": 2, "stripes": 1.5, "discs": 2, "rays": 1, "gradient": 1.5, "fruit": 1},
    )
    if kind == "bands":
        at, size = rng.uniform(0, 0.9), rng.uniform(0.06, 0.4)
        where = ((y > at) & (y < at + size)).astype(np.float32)
    elif kind == "wave":
        turns, swing = int(rng.integers(1, 5)), rng.uniform(0.03, 0.2)
        edge = rng.uniform(0.2, 0.8) + swing * np.sin(2 * np.pi * (turns * x + rng.random()))
        where = (y > edge).astype(np.float32)
    elif kind == "stripes":
        lean = int(rng.integers(-2, 3))
        where = (np.sin(2 * np.pi * (int(rng.integers(3, 14)) * x + lean * y)) > 0.2) * 1.0
    elif kind == "rays":
        turn = np.arctan2(y - rng.uniform(0.3, 0.7), x - rng.uniform(0.2, 0.8))
        where = (np.sin(turn * int(rng.integers(8, 24))) > 0) * 0.8
    elif kind == "gradient":
        where = np.clip(y * rng.uniform(0.6, 1.4), 0, 1)
    else:
        ink = np.zeros((h, w), np.uint8)
        for _ in range(int(rng.integers(2, 14))):
            centre = (int(rng.uniform(0, w)), int(rng.uniform(0, h)))
            size = int(rng.uniform(0.03, 0.22) * h) + 1
            axes = (size, int(size * (1 if kind == "discs" else rng.uniform(0.4, 1))))
            cv2.ellipse(ink, centre, axes, rng.uniform(0, 180), 0, 360, (255,), -1, cv2.LINE_AA)
        where = ink / np.float32(255)
    return np.asarray(img * (1 - where[..., None]) + rgb * where[..., None])


def _small_print(img: Array, rng: Rng, ink: Rgb) -> Array:
    """Rows of words too small to read, and a bar code at times."""
    h, w = img.shape[:2]
    left, top = int(rng.uniform(0, 0.8) * w), int(rng.uniform(0.1, 0.5) * h)
    wide = int(rng.uniform(0.1, 0.3) * w)
    for row in range(int(rng.integers(3, 9))):
        y, x = top + row * max(4, h // 26), left
        while x < left + wide:
            n = int(rng.uniform(0.1, 0.35) * wide) + 2
            cv2.line(img, (x, y), (min(x + n, left + wide), y), ink, max(1, h // 150))
            x += n + 3
    if happens(rng, 0.5):
        x0, y0 = int(rng.uniform(0, 0.85) * w), int(rng.uniform(0.2, 0.6) * h)
        cv2.rectangle(img, (x0, y0), (x0 + h // 4, y0 + h // 5), (244, 244, 244), -1)
        for bar in range(3, max(4, h // 4 - 3), 3):
            if happens(rng, 0.6):
                cv2.line(img, (x0 + bar, y0 + 3), (x0 + bar, y0 + h // 5 - 3), (20, 20, 20), 1)
    return img


def printed(h: int, w: int, rng: Rng, ground: Rgb | None = None, repeat: int = 2) -> Array:
    """A print uint8 (h, w, 3).

    h, w: size in pixels. rng: source of every choice. ground: the colour below the print, or None
    for any. repeat: how often the name stands across the width.
    """
    if ground is None:
        ground = colour(rng, (0, 0.25), (0.8, 1)) if happens(rng, 0.4) else colour(rng)
    img = plain(h, w, ground)
    for _ in range(int(rng.integers(0, 4))):
        img = _shapes(img, rng)
    ink = _ink(rng, ground)
    if happens(rng, 0.85):
        size = rng.uniform(0.10, 0.34)
        y, thick = rng.uniform(0.25, 0.75), int(rng.integers(2, 8))
        name = word(rng)
        # a long name in big letters would run into its own repetition
        size = min(size, 1.6 * w / (h * repeat * len(name)))
        for k in range(repeat):
            at = ((k + 0.5) / repeat, y)
            if happens(rng, 0.4):
                img = written(img, name, at, size, (20, 20, 22), thick + 6)
            img = written(img, name, at, size, ink, thick)
            img = written(img, word(rng), (at[0], (y + 0.25) % 1), 0.3 * size, ink, 2)
    img = _small_print(np.ascontiguousarray(img), rng, ink)
    if happens(rng, 0.4):
        img += rng.uniform(1, 6) * cloud(h, w, 6, rng)[..., None]
    return done(img)
