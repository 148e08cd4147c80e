"""Cardboard and paper: box, sleeve, sheet of board; crumpled page, letter, cup."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.materials import coated, matte
from export.rendering.mesh import (
    Mesh,
    creases,
    crumpled,
    curve,
    joined,
    lathe,
    rotation,
    sheet,
)
from export.rendering.parts import Part, moved, warped
from export.rendering.texture import (
    cloud,
    done,
    kraft,
    letter,
    lined,
    parcel,
    plain,
    stained,
    written,
)
from export.rendering.things import board


def cardboard_box(rng: np.random.Generator) -> list[Part]:
    """A small shipping box, flaps half open, a strip of tape, one corner knocked in."""
    w, d, h, t = 0.135, 0.10, 0.07, 0.0035
    plain_side = done(kraft(300, 400, rng, 14))
    faces = [done(parcel(300, 420, rng, arrows)) for arrows in (True, False)]
    inside = done(kraft(300, 400, rng) * 0.92)
    parts: list[Part] = []
    for y, turn in ((-1, 0), (1, 180)):
        side = board(w, h, t, faces[0 if y < 0 else 1], inside)
        parts += moved(side, rotation(90, 0, turn), (0, y * d / 2, h / 2))
    for x in (-1, 1):
        parts += moved(
            board(d, h, t, faces[1], inside), rotation(90, 0, 90 * x), (x * w / 2, 0, h / 2)
        )
    parts += moved(board(w, d, t, inside, plain_side), rotation(), (0, 0, t / 2))
    for y, angle in ((-1, 9), (1, 38)):
        flap = moved(
            board(w - 0.004, d / 2, t, faces[0] if y < 0 else plain_side, inside),
            rotation(),
            (0, -y * d / 4, 0),
        )
        parts += moved(flap, rotation(-angle * y), (0, y * d / 2, h + 0.002))
    for x, angle in ((-1, 62), (1, 128)):
        flap = moved(board(0.04, d - 0.012, t, plain_side, inside), rotation(), (-x * 0.02, 0, 0))
        parts += moved(flap, rotation(0, angle * x), (x * w / 2, 0, h))
    tape = sheet(0.05, 0.052, 30, 30).moved(
        rotation(90), (0.012, -d / 2 - t / 2 - 0.0006, h - 0.026)
    )
    parts.append(Part(tape, coated((203, 170, 118), 0.12, 0.7)))

    def knocked(v: Array) -> Array:
        corner = np.exp(-np.sum((v - [w / 2, -d / 2, h]) ** 2, 1) / 0.022**2)[:, None]
        v -= corner * [0.010, -0.006, 0.008]
        v[:, 0] += 0.04 * v[:, 2]
        v[:, 1] += 0.0015 * np.sin(v[:, 0] * 60)
        return v

    return warped(parts, knocked)


def cardboard_sleeve(rng: np.random.Generator) -> list[Part]:
    """The printed sleeve of a ready meal: an open tube of thin board, pushed askew."""
    length, w, h = 0.125, 0.115, 0.056
    s = np.linspace(0, 1, 480, endpoint=False)
    corners = np.array([[-w / 2, 0], [w / 2, 0], [w / 2, h], [-w / 2, h], [-w / 2, 0]])
    run = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    s = np.append(s, 1.0)
    ring = np.stack([np.interp(s * run[-1], run, corners[:, k]) for k in (0, 1)], 1)
    tube = sheet(1, 1, len(s), 300)
    col = np.tile(np.arange(len(s)), 300)
    along = tube.uv[:, 1] - 0.5
    x, z = ring[col, 0], ring[col, 1]
    x = x + 0.55 * z
    z = z + 0.006 * np.cos(np.pi * ring[col, 0] / w) * np.sign(z - h / 2) * (
        1 - 0.5 * np.cos(2 * np.pi * along)
    )
    v = np.stack([x, along * length, z], 1)
    img = kraft(500, 960, rng)
    ink = (58, 44, 34)
    img[60:440, 190:450] = stained(img[60:440, 190:450], (64, 108, 62), np.full((380, 260), 0.88))
    for text, at, size in (
        ("oat", 0.36, 0.13),
        ("& barley", 0.55, 0.075),
        ("ready in 3 min", 0.74, 0.035),
    ):
        img = written(img, text, (1 / 3, at), size, (240, 232, 210), 3)
    img = written(img, "keep cool", (0.75, 0.5), 0.06, ink, 2)
    # the half-moon cut for the thumb, by which a sleeve is known
    cut = (np.hypot(along * length + length / 2, v[:, 0] - 0.55 * h) < 0.021) & (
        ring[col, 1] > 0.9 * h
    )
    uv = np.stack([1 - tube.uv[:, 0], tube.uv[:, 1]], 1)
    outside = Mesh(v, tube.f[~cut[tube.f].any(1)], uv)
    centre = v.mean(0)
    inside = Mesh(centre + (v - centre) * [0.985, 1.0, 0.96], outside.f, tube.uv)
    return [Part(outside, matte(done(img))), Part(inside, matte((176, 138, 98)))]


def cardboard_sheet(rng: np.random.Generator) -> list[Part]:
    """A torn sheet of corrugated board, bowed, with a corner peeled to its flutes."""
    w, d, t = 0.19, 0.135, 0.0045
    bare = kraft(480, 680, rng, 0)
    ridges = 16 * np.cos(2 * np.pi * np.arange(680) / 27)[None, :, None]
    y, x = np.mgrid[0:480, 0:680] / [[[480]], [[680]]]
    peeled = np.clip((x - 0.62 + 0.35 * (y - 0.5) + 0.05 * cloud(480, 680, 8, rng)) * 60, 0, 1)
    peeled = peeled * np.clip((0.62 - y + 0.04 * cloud(480, 680, 9, rng)) * 60, 0, 1)
    front = written(kraft(480, 680, rng, 0), "THIS SIDE UP", (0.33, 0.68), 0.07, (70, 52, 42), 3)
    front = front * (1 - peeled[..., None]) + (bare * 0.86 + ridges) * peeled[..., None]
    parts = board(w, d, t, done(front), done(bare))
    rag = rng.normal(size=(2, 40))

    def torn(v: Array) -> Array:
        edge = np.interp(v[:, 1], np.linspace(-d / 2, d / 2, 40), rag[0]) * 0.004
        v[:, 0] += edge * np.clip(v[:, 0] / (w / 2), 0, 1) ** 4
        v[:, 1] += 0.22 * v[:, 0] * np.clip(v[:, 1] / (d / 2), 0, 1) ** 2
        v[:, 2] += (
            0.9 * v[:, 0] ** 2 + 0.25 * np.maximum(v[:, 0] - 0.035, 0) + 0.5 * v[:, 0] * v[:, 1]
        )
        return v

    return warped(parts, torn)


def paper_crumpled(rng: np.random.Generator) -> list[Part]:
    """A lined page squeezed into a loose ball."""
    page = sheet(0.21, 0.28, 300, 380)
    ball = crumpled(page, rng, 0.056, 60)
    fine = np.stack([creases(page.v[:, :2], rng, 7, 0.035, 0.0045) for _ in range(3)], 1)
    return [Part(replace(ball, v=ball.v + fine), matte(done(lined(1000, 760, rng))))]


def paper_flat(rng: np.random.Generator) -> list[Part]:
    """A printed letter that was folded twice; its creases keep it off the floor."""
    page = sheet(0.135, 0.19, 90, 130)

    def folded(v: Array) -> Array:
        third = 0.19 / 3
        fold = np.abs((v[:, 1] / third + 0.5) % 2 - 1)
        v[:, 2] += 0.010 * (1 - fold) + 1.1 * np.maximum(np.abs(v[:, 0]) - 0.03, 0) ** 2
        v[:, 2] += (
            0.004 * np.sin(v[:, 0] * 38 + v[:, 1] * 22)
            + 1.6 * np.maximum(v[:, 0] + v[:, 1] - 0.105, 0) ** 1.5
        )
        return v

    return [Part(page.warped(folded), matte(done(letter(1060, 760, rng))))]


def paper_cup(rng: np.random.Generator) -> list[Part]:
    """A take-away cup, slightly squeezed, with a brown ring of coffee inside."""
    h, low, top = 0.105, 0.028, 0.043
    outer = lathe(curve([(low, 0.0), (low + 0.001, 0.004), (top, h)], smooth=1))
    inner = lathe(curve([(0.0, 0.008), (low - 0.001, 0.008), (top - 0.0008, h)], smooth=0))
    base = lathe(curve([(0.0, 0.006), (low - 0.0005, 0.006), (low, 0.0)], smooth=0))
    t = np.linspace(0, 2 * np.pi, 17)
    rim = lathe(np.stack([top + 0.002 * np.cos(t), h + 0.002 * np.sin(t)], 1))
    img = plain(420, 1000, (238, 234, 226))
    x = np.arange(1000)
    for k, ink in enumerate(((186, 92, 60), (222, 158, 92), (92, 128, 120))):
        line = (190 + 42 * k + 26 * np.sin(2 * np.pi * x / 250 + k)).astype(int)
        for dx, y in zip(x, line, strict=True):
            img[y : y + 24, dx] = ink
    img = written(img, "good coffee", (0.28, 0.2), 0.11, (92, 60, 44), 3)
    img = written(img, "good coffee", (0.78, 0.2), 0.11, (92, 60, 44), 3)
    wall = stained(
        plain(300, 600, (235, 229, 219)),
        (120, 78, 44),
        np.linspace(0, 0.9, 300)[:, None] ** 2 * np.ones((1, 600)),
    )
    wall[164:170] = (150, 104, 66)
    parts = [
        Part(outer, matte(done(img))),
        Part(inner, matte(done(wall))),
        Part(joined(base, rim), matte((240, 237, 230))),
    ]

    def squeezed(v: Array) -> Array:
        side = np.exp(-(((v[:, 2] - 0.075) / 0.03) ** 2))
        v[:, 1] *= 1 - 0.16 * side
        v[:, 0] *= 1 + 0.07 * side
        return v

    return moved(warped(parts, squeezed), rotation(88), (0, 0, 0))
