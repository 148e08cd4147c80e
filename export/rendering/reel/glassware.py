"""Glass: a jar, a bottle, and a bottle that broke."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.rendering.reel.materials import Bsdf, coated, glass, matte
from export.rendering.reel.mesh import Mesh, band, curve, lathe, rotation, shell, tri
from export.rendering.reel.scene import Part, lying
from export.rendering.reel.texture import done, label, plain

CLEAR = (0.97, 0.985, 0.98)
GREEN = (0.50, 0.80, 0.50)
BROWN = (0.80, 0.50, 0.20)


def glass_jar(rng: np.random.Generator) -> list[Part]:
    """A jam jar with its screw lid and half of its label."""
    outer = curve(
        [
            (0, 0),
            (0.030, 0),
            (0.0335, 0.003),
            (0.0335, 0.075),
            (0.033, 0.083),
            (0.027, 0.09),
            (0.027, 0.102),
        ]
    )
    body = lathe(shell(outer, 0.0026))
    lid = lathe(
        curve(
            [(0.0285, 0.088), (0.0295, 0.0885), (0.0295, 0.102), (0.0285, 0.1035), (0, 0.1035)],
            smooth=1,
        )
    )
    v = lid.v.copy()
    ribs = (
        0.0004 * np.cos(60 * np.arctan2(v[:, 1], v[:, 0])) * (np.hypot(v[:, 0], v[:, 1]) > 0.0288)
    )
    v[:, :2] *= (1 + ribs / 0.03)[:, None]
    paper = done(label(300, 700, rng, "plum jam", (240, 232, 214), (134, 44, 74), (104, 30, 60), 1))
    top = done(plain(8, 8, (176, 36, 40)))
    rest = lathe(curve([(0, 0.0032), (0.026, 0.0032), (0.0295, 0.007)], smooth=1))
    parts = [
        Part(body, glass(CLEAR)),
        Part(replace(lid, v=v), coated(top, 0.22, 0.6)),
        Part(band(0.0338, 0.018, 0.066, 0.55), matte(paper)),
        Part(rest, coated((112, 24, 44), 0.15)),
    ]
    return lying(parts, 168)


BOTTLE = [
    (0, 0.002),
    (0.022, 0),
    (0.0285, 0.002),
    (0.0285, 0.10),
    (0.0285, 0.118),
    (0.0135, 0.145),
    (0.0128, 0.170),
    (0.0140, 0.171),
    (0.0140, 0.176),
    (0.0125, 0.178),
]


def glass_bottle(rng: np.random.Generator) -> list[Part]:
    """A small green beer bottle with a paper label."""
    body = lathe(shell(curve(BOTTLE, smooth=2), 0.0024))
    paper = done(label(320, 900, rng, "Lager", (236, 226, 196), (30, 84, 52), (150, 28, 30), 2))
    collar = done(label(60, 400, rng, "1898", (216, 190, 110), (30, 84, 52), (30, 60, 40), 3))
    parts = [
        Part(body, glass(GREEN)),
        Part(band(0.0288, 0.030, 0.088), matte(paper)),
        Part(band(0.0142, 0.148, 0.158), matte(collar)),
    ]
    return lying(parts, 70)


def shard(rng: np.random.Generator, radius: float, size: float, wall: float) -> Mesh:
    """A splinter of a bottle's wall: a jagged polygon cut from a curved plate, closed all round."""
    n, rings = 72, 14
    turn = np.linspace(0, 2 * np.pi, n, endpoint=False)
    knots = np.sort(rng.uniform(0, 2 * np.pi, 6))
    reach = np.interp(turn, knots, rng.uniform(0.55, 1.15, 6) * size, period=2 * np.pi)
    rim = np.stack([reach * np.cos(turn), reach * np.sin(turn) * 0.75], 1)
    share = np.linspace(0, 1, rings)[:, None, None]
    flat = (share * rim).reshape(-1, 2)
    flat = np.concatenate([flat, flat[::-1].reshape(rings, n, 2)[:, ::-1].reshape(-1, 2)])
    high = np.concatenate([np.full(rings * n, wall), np.zeros(rings * n)])
    r = radius + high
    v = np.stack(
        [r * np.sin(flat[:, 0] / radius), flat[:, 1], r * np.cos(flat[:, 0] / radius) - radius], 1
    )
    rows, faces = 2 * rings, []
    for k in range(rows - 1):
        a, b = k * n + np.arange(n), k * n + (np.arange(n) + 1) % n
        faces += [np.stack([a, b + n, b], 1), np.stack([a, a + n, b + n], 1)]
    return Mesh(v, np.concatenate(faces), np.zeros((len(v), 2)), flat=False)


def glass_broken(
    rng: np.random.Generator, material: Bsdf | None = None, count: int = 4
) -> list[Part]:
    """The neck of a bottle, its bottom and up to four shards, as they came to lie; brown glass
    unless another `material` is named.
    """
    material = material or glass(BROWN)
    outer = curve(BOTTLE, smooth=2)
    parts = []
    for low, high, at, turn in (
        (0.098, 1, (0.0, -0.035), (90, 0, 58)),
        (-1, 0.040, (-0.052, 0.028), (38, 0, 20)),
    ):
        cut = outer[(outer[:, 1] >= low) & (outer[:, 1] <= high)]
        piece = lathe(
            shell(cut, 0.0026)
            if low < 0
            else np.concatenate([cut, cut[::-1] - [0.0026, 0], cut[:1]]),
            160,
        )
        around = np.arctan2(piece.v[:, 1], piece.v[:, 0])
        jag = (
            0.011 * tri(around * 3 / np.pi + 0.2)
            + 0.006 * tri(around * 7 / np.pi)
            + 0.002 * tri(around * 16 / np.pi)
        )
        v = piece.v.copy()
        near = (
            np.clip((0.135 - v[:, 2]) / 0.035, 0, 1)
            if low > 0
            else np.clip((v[:, 2] - 0.012) / 0.03, 0, 1)
        )
        v[:, 2] += jag * near
        v = (v - v.mean(0)) @ rotation(*turn).T
        parts.append(Part(replace(piece, v=v).moved(None, (*at, -v[:, 2].min())), material))
    for at, size, turn in (
        ((0.045, 0.03), 0.026, 20),
        ((0.005, 0.052), 0.019, 130),
        ((0.072, -0.012), 0.015, 70),
        ((0.02, 0.012), 0.012, 200),
    )[:count]:
        splinter = shard(rng, 0.028, size, 0.0026).moved(
            rotation(rng.uniform(-8, 8), rng.uniform(-8, 8), turn)
        )
        parts.append(Part(splinter.moved(None, (*at, -splinter.v[:, 2].min())), material))
    return parts
