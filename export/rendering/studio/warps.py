"""How vessels get out of shape: dents, treading flat, twisting, buckling, bending.

Each function returns a change for `Mesh.warped`, to be applied to all parts of an item alike:
vertices (n, 3) in metres of a thing that stands on z = 0 about the z axis, and out again.
"""

from __future__ import annotations

import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.mesh import tri
from export.rendering.parts import Warp
from export.rendering.studio.chance import Rng, chosen


def stretched(x: float, y: float, z: float) -> Warp:
    """Scaled along the axes."""
    return lambda v: v * np.array([x, y, z])


def squared(power: float, x: float = 1.0, y: float = 1.0) -> Warp:
    """Round to rounded rectangle: the cross-section a superellipse of `power`, scaled by x, y."""

    def change(v: Array) -> Array:
        a = np.arctan2(v[:, 1], v[:, 0])
        out = (np.abs(np.cos(a)) ** power + np.abs(np.sin(a)) ** power) ** (-1 / power)
        v[:, 0] *= out * x
        v[:, 1] *= out * y
        return v

    return change


def dented(rng: Rng, height: float, radius: float, count: int, depth: float) -> Warp:
    """`count` dents of up to `depth` radii, each a hollow with a ridged border."""
    plans = [
        (
            rng.uniform(0, 2 * np.pi),
            rng.uniform(0.15, 0.85) * height,
            rng.uniform(0.3, 0.9) * depth * radius,
            rng.uniform(0.4, 1.1) * radius,
            rng.uniform(0.5, 1.1) * radius,
        )
        for _ in range(count)
    ]

    def change(v: Array) -> Array:
        for turn, at, deep, wide, tall in plans:
            out = np.array([np.cos(turn), np.sin(turn)])
            along = v[:, :2] @ out
            side = v[:, :2] @ np.array([-out[1], out[0]])
            near = np.exp(-((side / wide) ** 2) - ((v[:, 2] - at) / tall) ** 2)
            push = deep * near * np.clip(along / radius, 0, 1)
            v[:, :2] -= push[:, None] * out
        return v

    return change


def flattened(rng: Rng, height: float, share: float) -> Warp:
    """Pressed flat by `share` (0..0.95) between neck and base, wider for it, with folds."""
    turn, waves = rng.uniform(0, np.pi), rng.uniform(1.5, 4)
    phase, depth = rng.uniform(0, 6), rng.uniform(0, 0.05) * height
    full = rng.uniform(0.75, 0.95)  # where the neck begins, which nothing presses flat

    def change(v: Array) -> Array:
        c, s = np.cos(turn), np.sin(turn)
        x, y = v[:, 0] * c + v[:, 1] * s, -v[:, 0] * s + v[:, 1] * c
        z = v[:, 2] / height
        press = share * np.clip((full - z) / 0.2, 0, 1) * np.clip(0.55 + z / 0.2, 0.55, 1)
        y = y * (1 - press)
        x = x * (1 + 0.45 * press)
        y = y + press * depth * tri(waves * z + 0.1 * np.sin(phase + x / (0.2 * height)) + phase)
        v[:, 0], v[:, 1] = x * c - y * s, x * s + y * c
        return v

    return change


def twisted(rng: Rng, height: float) -> Warp:
    """Wrung like a cloth in its middle: turned, narrowed and shortened."""
    angle = np.radians(rng.uniform(60, 220)) * rng.choice([-1, 1])
    at, width = rng.uniform(0.35, 0.65) * height, rng.uniform(0.1, 0.22) * height
    narrow, short, folds = rng.uniform(0.2, 0.5), rng.uniform(0.05, 0.3), int(rng.integers(3, 7))

    def change(v: Array) -> Array:
        rel = (v[:, 2] - at) / width
        share = 1 / (1 + np.exp(-2 * rel))
        near = np.exp(-(rel**2) / 2)
        a = angle * share
        around = np.arctan2(v[:, 1], v[:, 0])
        r = 1 - near * (narrow + 0.16 * tri(folds * (around + 0.5 * a) / (2 * np.pi)))
        x, y = v[:, 0] * r, v[:, 1] * r
        v[:, 0], v[:, 1] = x * np.cos(a) - y * np.sin(a), x * np.sin(a) + y * np.cos(a)
        v[:, 2] -= short * width * 2 * (share - 0.5)
        return v

    return change


def buckled(rng: Rng, height: float, strength: float) -> Warp:
    """Trodden on along its axis: diamond folds in rings, shorter, and askew."""
    at, reach = rng.uniform(0.4, 0.6) * height, rng.uniform(0.24, 0.36) * height
    corners, rows = rng.uniform(2, 3.5), rng.uniform(0.55, 1.2)
    phase, flat = rng.uniform(0, 1), rng.uniform(0.1, 0.45) * strength
    lean, shift = np.radians(rng.uniform(5, 40)) * strength, rng.uniform(-0.2, 0.2)

    def change(v: Array) -> Array:
        z = v[:, 2]
        around = np.arctan2(v[:, 1], v[:, 0])
        mid = np.exp(-(((z - at) / reach) ** 4)) * strength
        ring = (z - at) / (reach * rows)
        fold = tri(around * corners / np.pi + 0.5 * np.floor(ring + 0.5) + phase) * tri(ring)
        r = 1 - mid * (0.36 * (0.5 + 0.5 * fold) + 0.07 * tri(around * 5.3 / np.pi + z * 50))
        v[:, 0] *= r
        v[:, 1] *= r * (1 - flat * mid)
        z = at + (z - at) * (1 - 0.32 * mid)
        angle = lean * (1 / (1 + np.exp(-(z - at) / (0.06 * height))) - 0.5)
        y, rise = v[:, 1].copy(), z - at
        v[:, 1] = y * np.cos(angle) - rise * np.sin(angle)
        v[:, 2] = at + y * np.sin(angle) + rise * np.cos(angle)
        v[:, 0] += shift * rise
        return v

    return change


def bent(rng: Rng, height: float, most_deg: float) -> Warp:
    """Bent over somewhere in the middle by up to `most_deg` degrees."""
    at, soft = rng.uniform(0.35, 0.65) * height, rng.uniform(0.04, 0.12) * height
    most = np.radians(rng.uniform(0.3, 1) * most_deg)

    def change(v: Array) -> Array:
        rise = v[:, 2] - at
        angle = most * (1 / (1 + np.exp(-rise / soft)) - 0.5)
        y = v[:, 1].copy()
        v[:, 1] = y * np.cos(angle) - rise * np.sin(angle)
        v[:, 2] = at + y * np.sin(angle) + rise * np.cos(angle)
        return v

    return change


def squeezed(rng: Rng, height: float, most: float) -> Warp:
    """Oval at the upper part by up to `most`, as a cup that a hand has pressed."""
    turn, at = rng.uniform(0, np.pi), rng.uniform(0.55, 1.0) * height
    share, reach = rng.uniform(0, most), rng.uniform(0.3, 0.7) * height

    def change(v: Array) -> Array:
        c, s = np.cos(turn), np.sin(turn)
        x, y = v[:, 0] * c + v[:, 1] * s, -v[:, 0] * s + v[:, 1] * c
        near = share * np.exp(-(((v[:, 2] - at) / reach) ** 2))
        x, y = x * (1 + 0.5 * near), y * (1 - near)
        v[:, 0], v[:, 1] = x * c - y * s, x * s + y * c
        return v

    return change


def worn(rng: Rng, height: float, radius: float, weights: dict[str, float]) -> list[Warp]:
    """One way of being out of shape, picked by weight.

    rng: source of every choice. height, radius: of the vessel in metres. weights: of "intact",
    "dented", "flat", "twisted", "buckled", "bent", "oval".
    """
    kind = chosen(rng, weights)
    if kind == "dented":
        return [dented(rng, height, radius, int(rng.integers(1, 5)), rng.uniform(0.3, 1.0))]
    if kind == "flat":
        folds = dented(rng, height, radius, int(rng.integers(1, 5)), 0.5)
        return [folds, flattened(rng, height, rng.uniform(0.35, 0.85)), bent(rng, height, 30)]
    if kind == "twisted":
        return [twisted(rng, height), flattened(rng, height, rng.uniform(0, 0.4))]
    if kind == "buckled":
        return [buckled(rng, height, rng.uniform(0.5, 1.05))]
    if kind == "bent":
        return [flattened(rng, height, rng.uniform(0.1, 0.6)), bent(rng, height, 70)]
    if kind == "oval":
        return [squeezed(rng, height, 0.5)]
    return []
