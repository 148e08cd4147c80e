"""A small set of drawn pictures in class folders: made in a second, learnt in a few epochs.

For tests and `make recipes`, where a training must be real but no photograph may be needed. Each
class is a shape with a texture and a colour of its own, on a random background, anywhere in view.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from export.data.pictures import save_picture, write_groups

SIDE = 112
COLOURS = (
    (205, 60, 50),
    (60, 150, 70),
    (60, 90, 200),
    (225, 185, 60),
    (150, 70, 170),
    (70, 185, 190),
    (235, 235, 235),
    (45, 45, 50),
    (240, 130, 40),
)


def draw(kind: int, rng: np.random.Generator) -> Array:
    """Draw an item of the class number `kind`, 0 to 8: uint8 (SIDE, SIDE, 3) RGB."""
    background = rng.integers(90, 170, 3) + rng.integers(-12, 13, (7, 7, 3))
    picture = cv2.resize(background.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    item = np.empty_like(picture)
    item[:] = np.clip(np.array(COLOURS[kind]) + rng.integers(-18, 19, 3), 0, 255)
    _texture(item, kind % 3, rng)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    centre = rng.uniform(0.38, 0.62, 2) * SIDE
    radius = rng.uniform(0.24, 0.34) * SIDE
    corners = (0, 3, 4, 0, 6, 4, 3, 0, 5)[kind]
    angle = rng.uniform(0.0, 360.0)
    if corners == 0:
        flat = (1.0, 1.0, 1.0, 0.55, 1.0, 1.0, 1.0, 0.8, 1.0)[kind]
        box = centre.tolist(), (2 * radius, 2 * (radius * flat)), angle
        cv2.ellipse(mask, box, (255,), -1, cv2.LINE_AA)
    else:
        turns = np.deg2rad(angle + np.arange(corners) * 360.0 / corners)
        points = centre + 1.15 * radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        cv2.fillPoly(mask, [np.round(points).astype(np.int32)], (255,), cv2.LINE_AA)
    share = mask[..., None] / 255.0
    light = rng.uniform(0.85, 1.15)
    noise = rng.normal(0.0, 3.0, picture.shape)
    return np.clip((picture * (1 - share) + item * share) * light + noise, 0, 255).astype(np.uint8)


def _texture(item: Array, kind: int, rng: np.random.Generator) -> None:
    """Plain, stripes or dots, in place."""
    dark = (item[0, 0] * 0.55).astype(np.uint8).tolist()
    step = int(rng.integers(12, 16))
    if kind == 1:
        for x in range(int(rng.integers(step)), SIDE, step):
            cv2.line(item, (x, 0), (x, SIDE), dark, max(2, step // 3))
    elif kind == 2:
        for x in range(int(rng.integers(step)), SIDE, step):
            for y in range(step // 2, SIDE, step):
                cv2.circle(item, (x, y), step // 4, dark, -1, cv2.LINE_AA)


def render(folder: Path, labels: Sequence[str], each: int, seed: int = 1) -> Path:
    """Write a set: `<label>/<number>.png` and `groups.csv`, each picture of an item of its own.

    Two to nine classes, `each` pictures of each; returns the folder.
    """
    rng = np.random.default_rng(seed)
    groups = {}
    for kind, label in enumerate(labels):
        for number in range(each):
            file = f"{label}/{number:03d}.png"
            save_picture(folder / file, draw(kind, rng))
            groups[file] = f"{label}-{number:03d}"
    write_groups(folder, groups)
    return folder
