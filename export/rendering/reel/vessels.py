"""Metal and plastic: can, crushed can, foil; bottle, tub and film."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.materials import (
    clear_film,
    coated,
    grey_map,
    metal,
)
from export.rendering.mesh import (
    band,
    creases,
    curve,
    hemmed,
    joined,
    lathe,
    sheet,
    tri,
)
from export.rendering.parts import Part, lying
from export.rendering.texture import Colour, cloud, done, label, plain, written
from export.rendering.things import drinks_can


def _can(
    rng: np.random.Generator, name: str, ground: Colour, border: Colour, ink: Colour
) -> list[Part]:
    """A drinks can of one of the reel's brands."""
    return drinks_can(lambda h, w: label(h, w, rng, name, ground, border, ink, 2))


def metal_can(rng: np.random.Generator) -> list[Part]:
    """A red drinks can, whole."""
    return lying(_can(rng, "Fizz", (190, 26, 34), (138, 14, 26), (250, 250, 250)), 132)


def metal_crushed(rng: np.random.Generator) -> list[Part]:
    """A blue can that was trodden on: buckled in diamonds, flattened and bent in the middle."""

    def crushed(v: Array) -> Array:
        z = v[:, 2]
        around = np.arctan2(v[:, 1], v[:, 0])
        mid = np.exp(-(((z - 0.054) / 0.032) ** 4))
        ring = (z - 0.054) / 0.034
        buckle = 0.5 + 0.5 * tri(around * 2.5 / np.pi + 0.5 * np.floor(ring + 0.5) + 0.1) * tri(
            ring
        )
        r = 1 - mid * (0.34 * buckle + 0.07 * tri(around * 5.3 / np.pi + z * 50))
        v[:, 0] *= r
        v[:, 1] *= r * (1 - 0.38 * mid)
        z = 0.054 + (z - 0.054) * (1 - 0.30 * mid)
        bend = np.radians(38) * (1 / (1 + np.exp(-(z - 0.054) / 0.006)) - 0.5)
        y, rise = v[:, 1].copy(), z - 0.054
        v[:, 1] = y * np.cos(bend) - rise * np.sin(bend)
        v[:, 2] = y * np.sin(bend) + rise * np.cos(bend)
        v[:, 0] += 0.18 * rise
        return v

    parts = _can(rng, "Polar", (28, 74, 150), (20, 40, 98), (246, 248, 250))
    return lying([Part(p.mesh.warped(crushed), p.bsdf) for p in parts], 80)


def metal_foil(rng: np.random.Generator) -> list[Part]:
    """Kitchen foil, used and half crumpled: the middle a sheet of creases, the rim turned in."""
    m = sheet(0.21, 0.18, 280, 240)
    v = hemmed(m, rng, (0.055, 0.078), 8).v
    v[:, 2] += creases(m.v[:, :2], rng, 7, 0.052, 0.012)
    v[:, :2] += 0.3 * np.stack([creases(m.v[:, :2], rng, 6, 0.03, 0.006) for _ in range(2)], 1)
    return [Part(replace(m, v=v, flat=True), metal(0.11))]


PET = [
    (0, 0.004),
    (0.016, 0.001),
    (0.026, 0.0),
    (0.0305, 0.008),
    (0.0305, 0.05),
    (0.0285, 0.056),
    (0.0305, 0.062),
    (0.0305, 0.105),
    (0.029, 0.112),
    (0.030, 0.122),
    (0.024, 0.143),
    (0.0135, 0.160),
    (0.0125, 0.163),
    (0.0125, 0.178),
]


def plastic_bottle(rng: np.random.Generator) -> list[Part]:
    """A PET water bottle with ribs, a label and its blue cap, pressed in at one side."""
    body = lathe(curve(PET, 0.0012, smooth=2), 160)
    v = body.v
    ribs = 0.0009 * np.cos(2 * np.pi * v[:, 2] / 0.009) * ((v[:, 2] > 0.012) & (v[:, 2] < 0.052))
    v[:, :2] *= (1 + ribs / 0.03)[:, None]
    paper = done(label(300, 900, rng, "aqua", (60, 140, 205), (240, 246, 250), (250, 250, 252), 2))
    cap = lathe(
        curve(
            [(0.0148, 0.166), (0.0152, 0.167), (0.0152, 0.180), (0.014, 0.182), (0, 0.182)],
            smooth=1,
        )
    )
    w = cap.v
    w[:, :2] *= (1 + 0.02 * np.cos(40 * np.arctan2(w[:, 1], w[:, 0])) * (w[:, 2] < 0.181))[:, None]
    ring = band(0.0150, 0.1605, 0.1645)

    def pressed(v: Array) -> Array:
        dent = (
            np.exp(-(((v[:, 2] - 0.09) / 0.03) ** 2))
            * np.maximum(v[:, 0] / (np.hypot(v[:, 0], v[:, 1]) + 1e-9), 0) ** 3
        )
        v[:, 0] -= 0.010 * dent
        return v

    parts = [
        Part(body, clear_film(0.10)),
        Part(band(0.0308, 0.066, 0.103), coated(paper, 0.3)),
        Part(joined(cap, ring), coated((30, 84, 190), 0.3)),
    ]
    return lying([Part(p.mesh.warped(pressed), p.bsdf) for p in parts], 172)


def plastic_tub(rng: np.random.Generator) -> list[Part]:
    """A margarine tub without its lid: rounded rectangle, rim, print outside, a smear inside."""
    h, low, top = 0.05, 0.043, 0.052
    outer = lathe(
        curve(
            [
                (0, 0),
                (low, 0),
                (low + 0.003, 0.003),
                (top, h),
                (top + 0.004, h + 0.0005),
                (top + 0.004, h - 0.003),
            ]
        ),
        200,
    )
    inner = lathe(
        curve([(0, 0.002), (low - 0.001, 0.002), (low + 0.002, 0.005), (top - 0.001, h)]), 200
    )
    img = plain(500, 1200, (238, 216, 120))
    img[30:260] = label(230, 1200, rng, "SUNNY", (246, 196, 40), (40, 130, 70), (190, 40, 40), 3)
    smear = np.clip(cloud(400, 800, 5, rng) - 0.2, 0, 1) * np.linspace(0, 1, 400)[:, None]
    inside = (
        plain(400, 800, (208, 202, 184)) * (1 - smear[..., None])
        + plain(400, 800, (232, 206, 110)) * smear[..., None]
    )
    parts = [Part(outer, coated(done(img), 0.3)), Part(inner, coated(done(inside), 0.3))]

    def squared(v: Array) -> Array:
        a = np.arctan2(v[:, 1], v[:, 0])
        out = (np.abs(np.cos(a)) ** 4 + np.abs(np.sin(a)) ** 4) ** -0.25
        v[:, 0] *= out * 1.22
        v[:, 1] *= out * 0.86
        return v

    return [Part(p.mesh.warped(squared), p.bsdf) for p in parts]


def plastic_film(rng: np.random.Generator) -> list[Part]:
    """Clear film, a carrier bag's worth, crumpled flat, with a bit of print."""
    m = sheet(0.21, 0.19, 230, 210)
    v = hemmed(m, rng, (0.062, 0.085), 7).v
    v[:, 2] += creases(m.v[:, :2], rng, 8, 0.045, 0.012)
    img = plain(500, 560, (226, 232, 238))
    img = written(img, "SALAD", (0.5, 0.45), 0.13, (36, 140, 70), 8)
    inked = np.where((img[..., 0] < 150), 235, 58).astype(np.uint8)
    return [
        Part(
            replace(m, v=v),
            {**clear_film(0), "weight": grey_map(inked), "b": coated(done(img), 0.22, 0.7)},
        )
    ]
