"""Turned things: glass jar, bottle and shards; metal can, crushed can and foil; plastic bottle, tub and film."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .materials import clear_film, coated, glass, grey_map, matte, metal, printed_metal
from .mesh import Mesh, creases, curve, ellipsoid, hemmed, joined, lathe, rotation, sheet, shell, tri
from .scene import Part
from .texture import cloud, done, label, plain, written

CLEAR = (0.97, 0.985, 0.98)
GREEN = (0.50, 0.80, 0.50)
BROWN = (0.80, 0.50, 0.20)


def _lying(parts: list[Part], roll_deg: float = 0) -> list[Part]:
    """Turn a standing vessel about its own axis, then lay it down along y."""
    turn = rotation(-90) @ rotation(0, 0, roll_deg)
    return [Part(p.mesh.moved(turn), p.bsdf) for p in parts]


def _band(radius: float, low: float, high: float, share: float = 1.0) -> Mesh:
    """A label: part of a cylinder wall; its texture stands upright."""
    band = lathe(np.array([[radius, low + k * (high - low) / 30] for k in range(31)]), 160)
    keep = band.uv[band.f].mean(1)[:, 0] < share
    return replace(band, f=band.f[keep], uv=band.uv / [share, 1.0])


def glass_jar(rng: np.random.Generator) -> list[Part]:
    """A jam jar with its screw lid and half of its label."""
    outer = curve([(0, 0), (0.030, 0), (0.0335, 0.003), (0.0335, 0.075), (0.033, 0.083), (0.027, 0.09), (0.027, 0.102)])
    body = lathe(shell(outer, 0.0026))
    lid = lathe(curve([(0.0285, 0.088), (0.0295, 0.0885), (0.0295, 0.102), (0.0285, 0.1035), (0, 0.1035)], smooth=1))
    v = lid.v.copy()
    ribs = 0.0004 * np.cos(60 * np.arctan2(v[:, 1], v[:, 0])) * (np.hypot(v[:, 0], v[:, 1]) > 0.0288)
    v[:, :2] *= (1 + ribs / 0.03)[:, None]
    paper = done(label(300, 700, rng, "plum jam", (240, 232, 214), (134, 44, 74), (104, 30, 60), 1))
    top = done(plain(8, 8, (176, 36, 40)))
    rest = lathe(curve([(0, 0.0032), (0.026, 0.0032), (0.0295, 0.007)], smooth=1))
    parts = [
        Part(body, glass(CLEAR)),
        Part(replace(lid, v=v), coated(top, 0.22, 0.6)),
        Part(_band(0.0338, 0.018, 0.066, 0.55), matte(paper)),
        Part(rest, coated((112, 24, 44), 0.15)),
    ]
    return _lying(parts, 168)


BOTTLE = [(0, 0.002), (0.022, 0), (0.0285, 0.002), (0.0285, 0.10), (0.0285, 0.118), (0.0135, 0.145), (0.0128, 0.170),
          (0.0140, 0.171), (0.0140, 0.176), (0.0125, 0.178)]  # fmt: skip


def glass_bottle(rng: np.random.Generator) -> list[Part]:
    """A small green beer bottle with a paper label."""
    body = lathe(shell(curve(BOTTLE, smooth=2), 0.0024))
    paper = done(label(320, 900, rng, "Lager", (236, 226, 196), (30, 84, 52), (150, 28, 30), 2))
    collar = done(label(60, 400, rng, "1898", (216, 190, 110), (30, 84, 52), (30, 60, 40), 3))
    parts = [
        Part(body, glass(GREEN)),
        Part(_band(0.0288, 0.030, 0.088), matte(paper)),
        Part(_band(0.0142, 0.148, 0.158), matte(collar)),
    ]
    return _lying(parts, 40)


def _shard(rng: np.random.Generator, radius: float, size: float, wall: float) -> Mesh:
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
    v = np.stack([r * np.sin(flat[:, 0] / radius), flat[:, 1], r * np.cos(flat[:, 0] / radius) - radius], 1)
    rows, faces = 2 * rings, []
    for k in range(rows - 1):
        a, b = k * n + np.arange(n), k * n + (np.arange(n) + 1) % n
        faces += [np.stack([a, b + n, b], 1), np.stack([a, a + n, b + n], 1)]
    return Mesh(v, np.concatenate(faces), np.zeros((len(v), 2)), flat=False)


def glass_broken(rng: np.random.Generator) -> list[Part]:
    """The neck of a brown bottle, its bottom and four shards, as they came to lie."""
    outer = curve(BOTTLE, smooth=2)
    parts = []
    for low, high, at, turn in ((0.098, 1, (0.0, -0.035), (90, 0, 58)), (-1, 0.040, (-0.052, 0.028), (38, 0, 20))):
        cut = outer[(outer[:, 1] >= low) & (outer[:, 1] <= high)]
        piece = lathe(shell(cut, 0.0026) if low < 0 else np.concatenate([cut, cut[::-1] - [0.0026, 0], cut[:1]]), 160)
        around = np.arctan2(piece.v[:, 1], piece.v[:, 0])
        jag = 0.011 * tri(around * 3 / np.pi + 0.2) + 0.006 * tri(around * 7 / np.pi) + 0.002 * tri(around * 16 / np.pi)
        v = piece.v.copy()
        near = np.clip((0.135 - v[:, 2]) / 0.035, 0, 1) if low > 0 else np.clip((v[:, 2] - 0.012) / 0.03, 0, 1)
        v[:, 2] += jag * near
        v = (v - v.mean(0)) @ rotation(*turn).T
        parts.append(Part(replace(piece, v=v + [*at, -v[:, 2].min()]), glass(BROWN)))
    for at, size, turn in (
        ((0.045, 0.03), 0.026, 20), ((0.005, 0.052), 0.019, 130), ((0.072, -0.012), 0.015, 70), ((0.02, 0.012), 0.012, 200),
    ):  # fmt: skip
        shard = _shard(rng, 0.028, size, 0.0026).moved(rotation(rng.uniform(-8, 8), rng.uniform(-8, 8), turn))
        parts.append(Part(shard.moved(None, (*at, -shard.v[:, 2].min())), glass(BROWN)))
    return parts


CAN = [(0, 0.006), (0.019, 0.005), (0.0235, 0.0), (0.026, 0.003), (0.032, 0.012), (0.033, 0.02), (0.033, 0.088),
       (0.0325, 0.096), (0.027, 0.106), (0.0268, 0.1085), (0.0255, 0.1085), (0.0245, 0.104), (0.023, 0.1035), (0, 0.1035)]  # fmt: skip


def _can(rng: np.random.Generator, name: str, ground, band, ink) -> list[Part]:
    """A drinks can: drawn body with a printed wall, bare ends, tab and mouth."""
    body = lathe(curve(CAN, 0.0009, smooth=2), 220)
    length = curve(CAN, 0.0009, smooth=2)
    run = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(length, axis=0), axis=1))])
    wall = [float(np.interp(z, length[: len(length) * 3 // 4, 1], run[: len(length) * 3 // 4] / run[-1])) for z in (0.012, 0.1)]
    img = plain(900, 1100, (225, 226, 230))
    rows = [int(900 * (1 - s)) for s in wall[::-1]]
    print_ = label(rows[1] - rows[0], 1100, rng, name, ground, band, ink, 2)
    img[rows[0] : rows[1]] = print_
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


def metal_can(rng: np.random.Generator) -> list[Part]:
    """A red drinks can, whole."""
    return _lying(_can(rng, "Fizz", (190, 26, 34), (138, 14, 26), (250, 250, 250)), 60)


def metal_crushed(rng: np.random.Generator) -> list[Part]:
    """A blue can that was trodden on: buckled in diamonds, flattened and bent in the middle."""

    def crushed(v: np.ndarray) -> np.ndarray:
        z = v[:, 2]
        around = np.arctan2(v[:, 1], v[:, 0])
        mid = np.exp(-(((z - 0.054) / 0.032) ** 4))
        ring = (z - 0.054) / 0.034
        buckle = 0.5 + 0.5 * tri(around * 2.5 / np.pi + 0.5 * np.floor(ring + 0.5) + 0.1) * tri(ring)
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
    return _lying([Part(p.mesh.warped(crushed), p.bsdf) for p in parts], 80)


def metal_foil(rng: np.random.Generator) -> list[Part]:
    """Kitchen foil, used and half crumpled: the middle a sheet of creases, the rim turned in."""
    m = sheet(0.21, 0.18, 280, 240)
    v = hemmed(m, rng, (0.055, 0.078), 8).v
    v[:, 2] += creases(m.v[:, :2], rng, 9, 0.035, 0.010)
    v[:, :2] += 0.4 * np.stack([creases(m.v[:, :2], rng, 6, 0.03, 0.006) for _ in range(2)], 1)
    return [Part(replace(m, v=v, flat=True), metal(0.22))]


PET = [(0, 0.004), (0.016, 0.001), (0.026, 0.0), (0.0305, 0.008), (0.0305, 0.05), (0.0285, 0.056), (0.0305, 0.062),
       (0.0305, 0.105), (0.029, 0.112), (0.030, 0.122), (0.024, 0.143), (0.0135, 0.160), (0.0125, 0.163), (0.0125, 0.178)]  # fmt: skip


def plastic_bottle(rng: np.random.Generator) -> list[Part]:
    """A PET water bottle with ribs, a label and its blue cap, pressed in at one side."""
    body = lathe(curve(PET, 0.0012, smooth=2), 160)
    v = body.v
    ribs = 0.0009 * np.cos(2 * np.pi * v[:, 2] / 0.009) * ((v[:, 2] > 0.012) & (v[:, 2] < 0.052))
    v[:, :2] *= (1 + ribs / 0.03)[:, None]
    paper = done(label(300, 900, rng, "aqua", (60, 140, 205), (240, 246, 250), (250, 250, 252), 2))
    cap = lathe(curve([(0.0148, 0.166), (0.0152, 0.167), (0.0152, 0.180), (0.014, 0.182), (0, 0.182)], smooth=1))
    w = cap.v
    w[:, :2] *= (1 + 0.02 * np.cos(40 * np.arctan2(w[:, 1], w[:, 0])) * (w[:, 2] < 0.181))[:, None]
    ring = _band(0.0150, 0.1605, 0.1645)

    def pressed(v: np.ndarray) -> np.ndarray:
        dent = np.exp(-(((v[:, 2] - 0.09) / 0.03) ** 2)) * np.maximum(v[:, 0] / 0.03, 0) ** 3
        v[:, 0] -= 0.010 * dent
        return v

    parts = [
        Part(body, clear_film(0.10)),
        Part(_band(0.0308, 0.066, 0.103), coated(paper, 0.3)),
        Part(joined(cap, ring), coated((30, 84, 190), 0.3)),
    ]
    return _lying([Part(p.mesh.warped(pressed), p.bsdf) for p in parts], 100)


def plastic_tub(rng: np.random.Generator) -> list[Part]:
    """A margarine tub without its lid: rounded rectangle, rim, print outside, a smear inside."""
    h, low, top = 0.05, 0.043, 0.052
    outer = lathe(curve([(0, 0), (low, 0), (low + 0.003, 0.003), (top, h), (top + 0.004, h + 0.0005), (top + 0.004, h - 0.003)]), 200)
    inner = lathe(curve([(0, 0.002), (low - 0.001, 0.002), (low + 0.002, 0.005), (top - 0.001, h)]), 200)
    img = plain(500, 1200, (238, 216, 120))
    img[30:260] = label(230, 1200, rng, "SUNNY", (246, 196, 40), (40, 130, 70), (190, 40, 40), 3)
    smear = np.clip(cloud(400, 800, 5, rng) - 0.2, 0, 1) * np.linspace(0, 1, 400)[:, None]
    inside = plain(400, 800, (208, 202, 184)) * (1 - smear[..., None]) + plain(400, 800, (232, 206, 110)) * smear[..., None]
    parts = [Part(outer, coated(done(img), 0.3)), Part(inner, coated(done(inside), 0.3))]

    def squared(v: np.ndarray) -> np.ndarray:
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
    return [Part(replace(m, v=v), {**clear_film(0), "weight": grey_map(inked), "b": coated(done(img), 0.22, 0.7)})]
