"""Rubbish that both the reel and the studio show: board, can, broken glass, wrapper, leftovers.

A random generator, and where they differ what they are made of, flow in; parts flow out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.materials import Bsdf, coated, glass, matte, metal, printed_metal
from export.rendering.mesh import (
    Mesh,
    creases,
    crumpled,
    curve,
    ellipsoid,
    lathe,
    rotation,
    sheet,
    shell,
    slab,
    tri,
)
from export.rendering.parts import Part
from export.rendering.texture import cloud, crisps, done, plain, stained

INNER = (150, 110, 70)
BROWN = (0.80, 0.50, 0.20)
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

CAN = [
    (0, 0.006),
    (0.019, 0.005),
    (0.0235, 0.0),
    (0.026, 0.003),
    (0.032, 0.012),
    (0.033, 0.02),
    (0.033, 0.088),
    (0.0325, 0.096),
    (0.027, 0.106),
    (0.0268, 0.1085),
    (0.0255, 0.1085),
    (0.0245, 0.104),
    (0.023, 0.1035),
    (0, 0.1035),
]


def board(width: float, height: float, thick: float, front: Array, back: Array) -> list[Part]:
    """Corrugated board in the xy plane: two liners, and the wave that shows at its edges."""
    n = max(40, int(width / 0.0011))
    wave = sheet(width, height, n, 2)
    wave.v[:, 2] = 0.42 * thick * np.sin(2 * np.pi * wave.v[:, 0] / 0.0075)
    top = sheet(width, height, 60, 60).moved(None, (0, 0, thick / 2))
    under = sheet(width, height, 60, 60).moved(None, (0, 0, -thick / 2))
    return [Part(top, matte(front)), Part(under, matte(back)), Part(wave, matte(INNER))]


def drinks_can(wall_print: Callable[[int, int], Array]) -> list[Part]:
    """A drinks can that stands: drawn body, bare ends, tab and mouth.

    wall_print: draws what stands on its wall, sRGB (h, w, 3), for a height and width in pixels.
    """
    body = lathe(curve(CAN, 0.0009, smooth=2), 220)
    length = curve(CAN, 0.0009, smooth=2)
    run = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(length, axis=0), axis=1))])
    wall = [
        float(
            np.interp(z, length[: len(length) * 3 // 4, 1], run[: len(length) * 3 // 4] / run[-1])
        )
        for z in (0.012, 0.1)
    ]
    img = plain(900, 1100, (225, 226, 230))
    rows = [int(900 * (1 - s)) for s in wall[::-1]]
    img[rows[0] : rows[1]] = wall_print(rows[1] - rows[0], 1100)
    inked = np.zeros((900, 1100), np.uint8)
    inked[rows[0] : rows[1]] = 228
    inked[rows[0] + 14 : rows[0] + 22] = inked[rows[1] - 22 : rows[1] - 14] = 0
    tab = ellipsoid((0.0075, 0.0115, 0.0008), 24).moved(rotation(4), (0, -0.003, 0.1052))
    mouth = ellipsoid((0.008, 0.0085, 0.0006), 24).moved(None, (0, 0.0125, 0.1037))
    return [
        Part(body, printed_metal(done(img), inked)),
        Part(tab, metal(0.12)),
        Part(mouth, matte((22, 22, 24))),
    ]


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
    """The neck of a bottle, its bottom and up to four shards, as they came to lie.

    material: brown glass unless another is named.
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
    for at, size, turn_deg in (
        ((0.045, 0.03), 0.026, 20),
        ((0.005, 0.052), 0.019, 130),
        ((0.072, -0.012), 0.015, 70),
        ((0.02, 0.012), 0.012, 200),
    )[:count]:
        splinter = shard(rng, 0.028, size, 0.0026).moved(
            rotation(rng.uniform(-8, 8), rng.uniform(-8, 8), turn_deg)
        )
        parts.append(Part(splinter.moved(None, (*at, -splinter.v[:, 2].min())), material))
    return parts


def trash_wrapper(rng: np.random.Generator) -> list[Part]:
    """An empty crisp packet: a flat pillow with crimped ends, creased all over, shiny."""
    w, h = 0.125, 0.165
    front = sheet(w, h, 200, 260)
    x, y = front.v[:, 0] / (w / 2), front.v[:, 1] / (h / 2)
    full = np.clip(1 - np.abs(x) ** 3, 0, 1) * np.clip(1 - (np.abs(y) / 0.9) ** 4, 0, 1)
    rough = creases(front.v[:, :2], rng, 9, 0.034, 0.007)
    crimp = (np.abs(y) > 0.92) * 0.0008 * np.cos(x * 140)
    shrink = 1 - 0.07 * np.cos(np.pi * np.clip(y, -1, 1) / 2)
    curl = 0.010 * np.maximum(np.abs(y) - 0.5, 0) * (1 + x)
    v = np.stack(
        [
            front.v[:, 0] * shrink,
            front.v[:, 1],
            0.011 * full + rough * (0.25 + 0.75 * full) + crimp + curl,
        ],
        1,
    )
    back = np.stack(
        [v[:, 0], v[:, 1], -0.006 * full + 0.4 * rough * (0.4 + full) + crimp + curl], 1
    )
    shiny = printed_metal(done(crisps(900, 680, rng)), 0.72, 0.2)
    return [
        Part(replace(front, v=v), shiny),
        Part(replace(front, v=back), printed_metal((190, 190, 194), 0.2, 0.25)),
    ]


def _blob(rng: np.random.Generator, radii: tuple[float, float, float], bumps: float) -> Mesh:
    """A lump of food: an ellipsoid with a bumpy skin."""
    m = ellipsoid((1, 1, 1), 60)
    d = np.zeros(len(m.v))
    for k in range(9):
        n = rng.normal(size=3)
        d += np.sin(m.v @ n * (2 + k) + rng.uniform(0, 6)) / (1 + k)
    return replace(m, v=m.v * (1 + bumps * d)[:, None] * radii)


def trash_mixed(rng: np.random.Generator) -> list[Part]:
    """A foam tray with sauce, a chicken bone, chips, a scrunched napkin and a sauce sachet."""
    n = 140
    tray = sheet(0.165, 0.12, n, n)
    x, y = tray.v[:, 0] / 0.0825, tray.v[:, 1] / 0.06
    edge = np.maximum(np.abs(x) ** 5, np.abs(y) ** 4)
    rise = 0.020 * np.clip((edge - 0.25) / 0.5, 0, 1)
    v = tray.v + np.stack([0 * x, 0 * x, rise], 1)
    v[:, :2] *= (1 - 0.06 * (np.abs(x * y) ** 3))[:, None]
    img = plain(600, 800, (236, 234, 226)) + 3 * cloud(600, 800, 40, rng)[..., None]
    spread = np.exp(
        -(
            ((np.mgrid[0:600, 0:800][1] - 400) / 330) ** 4
            + ((np.mgrid[0:600, 0:800][0] - 300) / 250) ** 4
        )
    )
    img = stained(
        img, (158, 52, 24), np.clip(2.2 * cloud(600, 800, 4, rng) * spread - 0.1, 0, 0.92)
    )
    img = stained(img, (120, 86, 40), np.clip(1.6 * cloud(600, 800, 6, rng) * spread - 0.9, 0, 0.8))
    parts = [Part(replace(tray, v=v), coated(done(img), 0.5, 0.3))]
    under = replace(tray, v=v - [0, 0, 0.0025])
    parts.append(Part(under, coated((232, 230, 222), 0.5, 0.3)))
    bone = done(
        np.clip(plain(64, 64, (204, 160, 104)) + 16 * cloud(64, 64, 4, rng)[..., None], 0, 255)
    )
    lift = 0.006
    for at, radii, turn in (
        ((-0.028, 0.006, 0.010), (0.026, 0.017, 0.011), 25),
        ((-0.002, 0.018, 0.008), (0.026, 0.006, 0.006), 28),
        ((0.021, 0.031, 0.009), (0.008, 0.009, 0.007), 0),
    ):
        blob = _blob(rng, radii, 0.07).moved(
            rotation(0, 0, turn), (at[0], at[1], at[2] + lift - 0.002)
        )
        parts.append(Part(blob, coated(bone, 0.35, 0.6)))
    for _ in range(6):
        at = (
            rng.uniform(-0.01, 0.06),
            rng.uniform(-0.042, -0.005),
            rng.uniform(0.002, 0.007) + lift - 0.004,
        )
        chip = slab(rng.uniform(0.03, 0.05), 0.009, 0.009).moved(
            rotation(rng.uniform(-9, 9), rng.uniform(-9, 9), rng.uniform(0, 180)), at
        )
        parts.append(Part(chip, coated((222, 178, 84), 0.45, 0.4)))
    cloth = crumpled(sheet(0.12, 0.12, 130, 130), rng, 0.026, 12, 0.0025)
    parts.append(Part(cloth.moved(None, (0.052, 0.028, 0.030)), matte((224, 216, 204))))
    sachet = sheet(0.05, 0.034, 60, 40)
    s = sachet.v.copy()
    s[:, 2] += creases(s[:, :2], rng, 5, 0.02, 0.003) + 0.022
    red = done(
        stained(
            plain(80, 120, (200, 28, 30)),
            (248, 240, 220),
            (np.abs(np.mgrid[0:80, 0:120][0] - 40) < 12) * 1.0,
        )
    )
    parts.append(
        Part(
            replace(sachet, v=s).moved(rotation(0, 6, 120), (-0.055, -0.03, 0)),
            printed_metal(red, 0.85, 0.2),
        )
    )
    return parts
