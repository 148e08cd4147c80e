"""What belongs to no stream: crisp wrapper, used napkin, and a tray with the rest of a meal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.rendering.reel.materials import coated, matte, printed_metal
from export.rendering.reel.mesh import (
    Mesh,
    creases,
    crumpled,
    ellipsoid,
    hemmed,
    rotation,
    sheet,
    slab,
)
from export.rendering.reel.scene import Part
from export.rendering.reel.texture import cloud, crisps, done, plain, stained


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


def trash_napkin(rng: np.random.Generator) -> list[Part]:
    """A paper napkin, used on tomato and coffee, scrunched softly."""
    img = plain(700, 700, (226, 214, 192))
    img += (
        3
        * np.sin(np.arange(700) * 0.9)[None, :, None]
        * np.sin(np.arange(700) * 0.9)[:, None, None]
    )
    red = np.clip(1.6 * cloud(700, 700, 4, rng) - 1.5, 0, 0.9)
    brown = np.clip(1.5 * cloud(700, 700, 3, rng) - 1.1, 0, 0.75)
    img = stained(stained(img, (122, 84, 50), brown), (176, 62, 34), red)
    m = sheet(0.22, 0.22, 260, 260)
    v = hemmed(m, rng, (0.045, 0.072), 7).v
    v[:, 2] += creases(m.v[:, :2], rng, 5, 0.06, 0.016) + creases(m.v[:, :2], rng, 6, 0.022, 0.003)
    v[:, 2] += 0.02 * np.exp(-np.sum((v[:, :2] / 0.04) ** 2, 1))
    return [Part(replace(m, v=v), matte(done(img)))]


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
