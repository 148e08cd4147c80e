"""Draw empty chambers: floors, walls, rails and lamps in colours that nobody has photographed.

No chamber that is used for measuring was copied; the ranges are wide on purpose, so that a network
learns to look past the background instead of learning one.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from bin_daemon.core.messages import Array

Picture = Array
"""float32 (size, size, 3) RGB reflectance or light, 0 to about 1."""


@functools.cache
def _noise_field() -> Picture:
    """Normal noise to cut windows from; drawing it anew would take longer than all the rest."""
    return np.random.default_rng(0).standard_normal((777, 777, 3), np.float32)


def noise(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Noise of deviation 1, float32 of `shape` (h, w) or (h, w, 3), at most 512 pixels a side."""
    y, x = rng.integers(0, 777 - 512, 2)
    window = _noise_field()[y : y + shape[0], x : x + shape[1]]
    return window if len(shape) == 3 else window[..., int(rng.integers(3))]


def draw_background(size: int, rng: np.random.Generator) -> Picture:
    """An empty chamber, float32 (size, size, 3), 0 to 1: floor, grain, seams, rails, dirt."""
    background = np.full((size, size, 3), _paint(rng), np.float32)
    if rng.random() < 0.6:
        _walls(background, rng)
    background *= _grain(size, rng)
    for _ in range(rng.poisson(1.2)):
        _bar(background, rng)
    for _ in range(rng.poisson(0.7)):
        _hole(background, rng)
    if rng.random() < 0.3:
        _dirt(background, rng)
    return np.clip(background, 0.0, 1.0)


def draw_light(size: int, rng: np.random.Generator) -> Picture:
    """How the lamps light the view, float32 (size, size, 3) about 1: slopes, a spot, a vignette."""
    corners = np.exp(rng.normal(0.0, 0.22, (3, 3))).astype(np.float32)
    light = cv2.resize(corners, (size, size), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    if rng.random() < 0.5:
        light *= 1.0 - rng.uniform(0.0, 0.5) * np.clip((x * x + y * y) / 2.0, 0.0, 1.0)
    if rng.random() < 0.35:
        at = rng.uniform(-1.0, 1.0, 2)
        reach = rng.uniform(0.15, 0.6)
        spot = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * reach**2))
        light += rng.uniform(0.1, 0.7) * spot
    tint = np.exp(rng.normal(0.0, 0.03, 3)).astype(np.float32)
    return np.asarray(np.maximum(light, 0.05)[..., None] * tint, np.float32)


def _paint(rng: np.random.Generator) -> Array:
    """A colour a chamber may be painted in: greys and steels as often as colours; float32 (3,)."""
    level = rng.choice((rng.uniform(0.03, 0.25), rng.uniform(0.2, 0.6), rng.uniform(0.55, 0.95)))
    colour = np.full(3, level)
    if rng.random() < 0.6:
        mix = rng.dirichlet((0.8, 0.8, 0.8)) * 3.0
        colour = level * (1.0 + rng.uniform(0.05, 0.6) * (mix - 1.0))
    return np.clip(colour, 0.01, 0.97).astype(np.float32)


def _grain(size: int, rng: np.random.Generator) -> Array:
    """Texture as a factor about 1, float32 (size, size, 1): smooth, fine or coarse."""
    strength = rng.choice((0.0, rng.uniform(0.01, 0.05), rng.uniform(0.04, 0.14)))
    if strength == 0.0:
        return np.ones((1, 1, 1), np.float32)
    grain = noise((size, size), rng)
    if rng.random() < 0.4:
        coarse = rng.uniform(4.0, 20.0)
        sigma = coarse if rng.random() < 0.5 else 0.6
    else:
        sigma = rng.uniform(0.5, 3.0)
    grain = cv2.GaussianBlur(grain, (0, 0), sigma)
    return np.asarray(1.0 + strength * grain / max(1e-6, float(grain.std())))[..., None]


def _walls(background: Picture, rng: np.random.Generator) -> None:
    """Meet the floor with one to three walls along near-straight seams, in place."""
    size = background.shape[0]
    for side in rng.permutation(4)[: rng.integers(1, 4)]:
        depth = rng.uniform(0.05, 0.35)
        ends = depth + rng.uniform(-0.08, 0.08, 2)
        far = np.array([[0, 0], [1, 0], [1, ends[1]], [0, ends[0]]]) * size
        turned = _turn(far, int(side), size)
        mask = np.zeros(background.shape[:2], np.uint8)
        cv2.fillPoly(mask, [turned], (1,))
        wall = background[0, 0] * rng.uniform(0.5, 1.6) if rng.random() < 0.6 else _paint(rng)
        background[mask > 0] = wall
        seam = turned[2:4].reshape(1, -1, 2)
        shade = (background[0, 0] * rng.uniform(0.3, 1.0)).tolist()
        cv2.polylines(background, [*seam], False, shade, int(rng.integers(1, max(2, size // 60))))


def _turn(points: Array, quarter: int, size: int) -> Array:
    """Points (n, 2) turned by quarters about the middle, int32."""
    x, y = points[:, 0], points[:, 1]
    turned = ((x, y), (size - y, x), (size - x, size - y), (y, size - x))[quarter]
    return np.asarray(np.stack(turned, axis=1).round(), np.int32)


def _bar(background: Picture, rng: np.random.Generator) -> None:
    """A rail, a slot or a strip of lamps across the view, in place."""
    size = background.shape[0]
    at, thickness = rng.uniform(0.0, 1.0), rng.uniform(0.005, 0.06)
    slope = rng.normal(0.0, 0.04)
    band = np.array(
        [[-0.1, at], [1.1, at + slope], [1.1, at + slope + thickness], [-0.1, at + thickness]]
    )
    turned = _turn(band * size, int(rng.integers(2)), size)
    mask: Array = np.zeros(background.shape[:2], np.float32)
    cv2.fillPoly(mask, [turned], (1.0,))
    if rng.random() < 0.5:
        mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.5, 4.0))
    colour = _paint(rng)
    if rng.random() < 0.3:  # a lamp or its mirror image
        colour = np.clip(colour / colour.max() * rng.uniform(0.8, 1.6), 0.0, 1.6)
    background += mask[..., None] * (colour - background)


def _hole(background: Picture, rng: np.random.Generator) -> None:
    """A screw, a hole or a sensor's window, in place."""
    size = background.shape[0]
    centre = tuple(int(v) for v in rng.integers(0, size, 2))
    radius = max(1, int(rng.uniform(0.005, 0.04) * size))
    cv2.circle(background, centre, radius, _paint(rng).tolist(), -1, cv2.LINE_AA)


def _dirt(background: Picture, rng: np.random.Generator) -> None:
    """Stains and scratches, in place."""
    size = background.shape[0]
    stain = cv2.resize(rng.random((12, 12)).astype(np.float32), (size, size), interpolation=2)
    background *= (1.0 - rng.uniform(0.05, 0.4) * np.clip(stain - 0.6, 0.0, 1.0) / 0.4)[..., None]
    for _ in range(rng.integers(0, 6)):
        ends = rng.integers(0, size, (2, 2))
        shade = float(rng.uniform(0.05, 0.9))
        cv2.line(background, ends[0].tolist(), ends[1].tolist(), (shade,) * 3, 1, cv2.LINE_AA)
