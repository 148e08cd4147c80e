"""Cardboard: boxes, flattened boxes, sheets, sleeves, rolls, egg boxes.

A random generator flows in, parts that lie or stand on the floor flow out.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.materials import coated, matte
from export.rendering.mesh import creases, curve, lathe, rotation, sheet, slab
from export.rendering.parts import Part, Warp, warped
from export.rendering.studio.chance import Rng, happens, near, word
from export.rendering.studio.prints import printed
from export.rendering.studio.warps import bent, dented, flattened, squeezed, stretched
from export.rendering.texture import cloud, done, kraft, plain, stained, written
from export.rendering.things import board


def _face(rng: Rng, plain_share: float = 0.4) -> Array:
    """The outside of a box, uint8 (h, w, 3): kraft, with a few words, tape or a full print."""
    h, w = 220, 300
    if happens(rng, 0.18):
        return printed(h, w, rng, repeat=1)
    img = kraft(h, w, rng, int(rng.integers(0, 22)))
    if happens(rng, 0.15):
        img = img * 0.25 + np.asarray(near(rng, (222, 218, 208), 8)) * 0.75
    if not happens(rng, plain_share):
        ink = near(rng, (70, 54, 44), 16)
        at = (rng.uniform(0.35, 0.65), rng.uniform(0.3, 0.7))
        img = written(img, word(rng).upper(), at, rng.uniform(0.08, 0.22), ink, 3)
    if happens(rng, 0.3):
        x = int(rng.uniform(0.1, 0.6) * w)
        cv2.rectangle(img, (x, int(0.2 * h)), (x + w // 4, int(0.5 * h)), (236, 236, 232), -1)
        for row in range(3):
            y = int((0.27 + 0.07 * row) * h)
            cv2.line(img, (x + 6, y), (x + w // 6, y), (60, 60, 60), 2)
    return done(img)


def _rumpled(rng: Rng, size: float) -> Warp:
    """A box out of square: sheared, with a corner knocked in."""
    lean = rng.normal(0, 0.12, 2)
    corner = rng.uniform(-0.5, 0.5, 3) * size
    push, reach = rng.normal(0, 0.08, 3) * size, 0.25 * size

    def change(v: Array) -> Array:
        near_corner = np.exp(-np.sum((v - corner) ** 2, 1) / reach**2)[:, None]
        v = v + near_corner * push
        v[:, 0] += lean[0] * v[:, 2]
        v[:, 1] += lean[1] * v[:, 2]
        return v

    return change


def box(rng: Rng) -> list[Part]:
    """A box of corrugated board, its flaps open at any angle, or missing."""
    w, d = float(rng.uniform(0.09, 0.22)), float(rng.uniform(0.07, 0.16))
    h, t = float(rng.uniform(0.03, 0.12)), float(rng.uniform(0.0018, 0.004))
    inside = done(kraft(160, 220, rng) * rng.uniform(0.85, 1.0))
    front, side = _face(rng), _face(rng, 0.8)

    def panel(wide: float, high: float, image: Array) -> list[Part]:
        return board(wide, high, t, image, inside)

    def placed(parts: list[Part], turn: Array, at: tuple[float, float, float]) -> list[Part]:
        return [Part(p.mesh.moved(turn, at), p.bsdf) for p in parts]

    parts: list[Part] = []
    for y, turn in ((-1, 0), (1, 180)):
        parts += placed(panel(w, h, front), rotation(90, 0, turn), (0, y * d / 2, h / 2))
    for x in (-1, 1):
        parts += placed(panel(d, h, side), rotation(90, 0, 90 * x), (x * w / 2, 0, h / 2))
    parts += placed(panel(w, d, inside), rotation(), (0, 0, t / 2))[:1]
    shut = happens(rng, 0.3)
    for y in (-1, 1):
        angle = float(rng.uniform(0, 6) if shut else rng.uniform(10, 220))
        flap = placed(panel(w - 0.004, d / 2, side)[:2], rotation(), (0, -y * d / 4, 0))
        parts += placed(flap, rotation(-angle * y), (0, y * d / 2, h + 0.002))
    for x in (-1, 1):
        if not shut and happens(rng, 0.7):
            flap = placed(panel(0.3 * w, d - 0.012, side)[:2], rotation(), (-x * 0.15 * w, 0, 0))
            parts += placed(flap, rotation(0, float(rng.uniform(30, 200)) * x), (x * w / 2, 0, h))
    if happens(rng, 0.3):
        tape = sheet(0.05, h, 10, 10).moved(rotation(90), (0.02, -d / 2 - t / 2 - 0.0008, h / 2))
        parts.append(Part(tape, coated((203, 170, 118), 0.15, 0.7)))
    return warped(parts, _rumpled(rng, w))


def carton(rng: Rng) -> list[Part]:
    """A folding box of thin board: cereals, tea, toothpaste; printed, whole or pressed flat."""
    w, d, h = (float(rng.uniform(*b)) for b in ((0.05, 0.19), (0.04, 0.14), (0.02, 0.07)))
    image = printed(300, 300, rng, repeat=1) if happens(rng, 0.75) else _face(rng)
    body = replace(slab(w, d, h), flat=False)
    block = [Part(replace(body, flat=True), coated(image, float(rng.uniform(0.25, 0.5)), 0.35))]
    inside = matte(near(rng, (172, 150, 122), 8))
    flap = sheet(w, 0.6 * h + 0.015, 8, 8)
    for side in (-1, 1):
        if happens(rng, 0.6):
            turn = rotation(float(rng.uniform(10, 70)), 0, 0 if side > 0 else 180)
            y = side * (d / 2 + 0.3 * h)
            block.append(Part(flap.moved(turn, (0, y, 0.6 * h)), inside))
    if happens(rng, 0.3):
        return warped(block, stretched(1.1, 1.1, 0.25))
    return warped(block, _rumpled(rng, w))


def flat_board(rng: Rng) -> list[Part]:
    """A torn or cut sheet of corrugated board, bowed or kinked, with slots of a former box."""
    w, d = float(rng.uniform(0.10, 0.26)), float(rng.uniform(0.08, 0.2))
    t = float(rng.uniform(0.002, 0.0055))
    bare = kraft(300, 420, rng, int(rng.integers(0, 20)))
    front = cv2.resize(_face(rng), (420, 300)).astype(np.float32)
    if happens(rng, 0.4):
        ridges = 16 * np.cos(2 * np.pi * np.arange(420) / 18)[None, :, None]
        peeled = np.clip((cloud(300, 420, 2, rng) - rng.uniform(0.2, 1.2)) * 12, 0, 1)[..., None]
        front = front * (1 - peeled) + (bare * 0.86 + ridges) * peeled
    if happens(rng, 0.25):
        front = stained(front, (96, 66, 40), 0.6 * np.clip(cloud(300, 420, 3, rng) - 0.9, 0, 1))
    parts = board(w, d, t, done(front), done(bare))
    rag = rng.normal(size=(2, 40))
    bow, twist, kink, at = (
        rng.normal(0, 0.7),
        rng.normal(0, 0.4),
        rng.uniform(0, 0.6),
        rng.uniform(-0.3, 0.3),
    )

    def torn(v: Array) -> Array:
        edge = np.interp(v[:, 1], np.linspace(-d / 2, d / 2, 40), rag[0]) * 0.004
        v[:, 0] += edge * np.clip(v[:, 0] / (w / 2), 0, 1) ** 4
        v[:, 1] += rng_lean * v[:, 0] * np.clip(v[:, 1] / (d / 2), 0, 1) ** 2
        v[:, 2] += bow * v[:, 0] ** 2 + twist * v[:, 0] * v[:, 1]
        v[:, 2] += kink * np.maximum(v[:, 0] - at * w, 0)
        return v

    rng_lean = float(rng.normal(0, 0.2))
    return warped(parts, torn)


def roll(rng: Rng) -> list[Part]:
    """The core of a toilet or kitchen roll: a spiral seam, open ends, round or pressed."""
    radius = float(rng.uniform(0.018, 0.024))
    tall = float(rng.uniform(0.09, 0.11) if happens(rng, 0.7) else rng.uniform(0.2, 0.27))
    h, w = 240, 320
    img = kraft(h, w, rng) * rng.uniform(0.85, 1.05) * np.array([0.98, 1.0, 1.04])
    for k in range(-3, 6):
        cv2.line(img, (0, k * 80), (w, k * 80 - 160), (126, 96, 66), 1, cv2.LINE_AA)
    rings = np.linspace(0, tall, 60)
    outside = lathe(np.stack([np.full(60, radius), rings], 1), 100)
    inside = lathe(np.stack([np.full(60, radius - 0.0008), rings], 1), 100)
    parts = [Part(outside, matte(done(img))), Part(inside, matte(done(img * 0.92)))]
    if happens(rng, 0.5):
        return warped(parts, squeezed(rng, tall, 0.5))
    if happens(rng, 0.5):
        pressed = flattened(rng, 1.5 * tall, float(rng.uniform(0.5, 0.9)))
        return warped(parts, pressed, bent(rng, tall, 40))
    return warped(parts, dented(rng, tall, radius, 1, 0.5))


def sleeve(rng: Rng) -> list[Part]:
    """A sleeve or a cup's ring: an open tube of thin board, sheared, printed or bare."""
    w, h, length = (
        float(rng.uniform(0.07, 0.13)),
        float(rng.uniform(0.02, 0.07)),
        float(rng.uniform(0.05, 0.15)),
    )
    corners = np.array([[-w / 2, 0], [w / 2, 0], [w / 2, h], [-w / 2, h], [-w / 2, 0]])
    run = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    s = np.linspace(0, run[-1], 241)
    tube = sheet(1, 1, 241, 60)
    ring = np.stack([np.interp(s, run, corners[:, k]) for k in (0, 1)], 1)[
        np.tile(np.arange(241), 60)
    ]
    shear = float(rng.uniform(-0.8, 0.8))
    v = np.stack([ring[:, 0] + shear * ring[:, 1], (tube.uv[:, 1] - 0.5) * length, ring[:, 1]], 1)
    image = printed(260, 520, rng, near(rng, (184, 142, 98), 12) if happens(rng, 0.5) else None)
    middle = v.mean(0)
    inside = replace(tube, v=middle + (v - middle) * [0.985, 1.0, 0.96])
    return [Part(replace(tube, v=v), coated(image, 0.5, 0.25)), Part(inside, matte((176, 138, 98)))]


def egg_box(rng: Rng) -> list[Part]:
    """The tray of an egg box: moulded pulp with cups and cones."""
    columns, rows, pitch = int(rng.integers(2, 6)), int(rng.integers(2, 4)), 0.045
    w, d = columns * pitch, rows * pitch
    leaf = sheet(w + 0.014, d + 0.014, 60 * columns, 60 * rows)
    x, y = leaf.v[:, 0] / pitch + columns / 2, leaf.v[:, 1] / pitch + rows / 2
    inside = (np.abs(leaf.v[:, 0]) < w / 2) & (np.abs(leaf.v[:, 1]) < d / 2)
    cup = np.sin(np.pi * x) ** 2 * np.sin(np.pi * y) ** 2
    cone = np.cos(np.pi * x) ** 6 * np.cos(np.pi * y) ** 6
    rise = np.where(inside, 0.03 - 0.032 * np.clip(1.5 * cup, 0, 1) + 0.018 * cone, 0.03)
    rise += creases(leaf.v[:, :2], rng, 4, 0.05, 0.002)
    grey = near(rng, (146, 140, 130), 10) if happens(rng, 0.7) else near(rng, (150, 160, 140), 14)
    pulp = plain(200, 300, grey) + 6 * cloud(200, 300, 12, rng)[..., None]
    pulp += 5 * rng.normal(size=(200, 300, 1))
    tray = replace(leaf, v=leaf.v + np.stack([0 * x, 0 * x, rise + 0.003], 1))
    parts = [Part(tray, matte(done(pulp)))]
    if happens(rng, 0.4):
        hinge = rotation(float(rng.uniform(70, 170)))
        dome = sheet(w + 0.014, d + 0.014, 80, 80)
        u, k = dome.v[:, 0] / (w / 2), dome.v[:, 1] / (d / 2)
        dome.v[:, 2] = 0.03 * np.clip(1.6 * (1 - np.maximum(np.abs(u), np.abs(k)) ** 6), 0, 1)
        cover = dome.moved(None, (0, -d / 2, 0)).moved(hinge, (0, d / 2, 0.035))
        parts.append(Part(cover, matte(done(pulp))))
    return parts


def tube(rng: Rng) -> list[Part]:
    """A round box of board with a metal or plastic lid: crisps, cocoa."""
    radius, tall = float(rng.uniform(0.033, 0.042)), float(rng.uniform(0.1, 0.24))
    wall = lathe(curve([(0, 0.001), (radius, 0), (radius, tall)], 0.002, smooth=0), 110)
    rim = lathe(np.array([[radius + 0.001, tall - 0.006], [radius + 0.001, tall], [0, tall]]), 90)
    return [
        Part(wall, coated(printed(280, 460, rng), 0.35, 0.4)),
        Part(rim, coated(near(rng, (230, 230, 228), 8), 0.35)),
    ]
