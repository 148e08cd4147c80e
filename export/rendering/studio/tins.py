"""Metal: drinks cans, food tins, foil, trays and lids.

A random generator flows in, parts flow out: cans and tins standing on the floor, foil, trays and
lids lying on it.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from export.rendering.materials import coated, matte, metal, printed_metal
from export.rendering.mesh import creases, crumpled, curve, hemmed, lathe, rotation, sheet
from export.rendering.parts import Part, warped
from export.rendering.studio.chance import Rng, chosen, colour, happens, near
from export.rendering.studio.prints import printed
from export.rendering.studio.warps import buckled, dented, flattened, squared, stretched, worn
from export.rendering.things import drinks_can

_CAN_TALL = 0.1085


def can(rng: Rng) -> list[Part]:
    """A drinks can: any print, slim to large, whole, dented or trodden flat."""
    ground = colour(rng, (0, 0.1), (0.7, 0.85)) if happens(rng, 0.2) else None
    image = printed(300, 560, rng, ground)
    parts = drinks_can(lambda h, w: cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR))
    wide = float(rng.uniform(0.82, 1.04))
    tall = float(rng.uniform(0.75, 1.5))
    parts = warped(parts, stretched(wide, wide, tall))
    high, radius = tall * _CAN_TALL, 0.033 * wide
    kind = chosen(rng, {"whole": 0.42, "dented": 0.2, "buckled": 0.24, "flat": 0.14})
    if kind == "dented":
        return warped(parts, dented(rng, high, radius, int(rng.integers(1, 4)), 0.8))
    if kind == "buckled":
        return warped(parts, buckled(rng, high, float(rng.uniform(0.6, 1.1))))
    if kind == "flat":
        pressed = flattened(rng, 1.3 * high, float(rng.uniform(0.4, 0.8)))
        return warped(parts, buckled(rng, high, float(rng.uniform(0.3, 0.9))), pressed)
    return parts


def tin(rng: Rng) -> list[Part]:
    """A food tin: beaded wall, bare or with its paper label, closed, open, or its lid bent up."""
    wide = float(rng.uniform(0.03, 0.045))
    tall = float(rng.uniform(0.03, 0.055) if happens(rng, 0.3) else rng.uniform(0.075, 0.125))
    lip = 0.0016
    side = [(wide, z) for z in np.linspace(0.003, tall - 0.003, 90)]
    profile = np.array([(0, 0.002), (wide - 0.003, 0.002), (wide - 0.002, 0), (wide + lip, 0),
                        (wide + lip, 0.0025), *side, (wide + lip, tall - 0.0025),
                        (wide + lip, tall), (wide - 0.001, tall)])  # fmt: skip
    beads = np.clip(
        np.minimum(profile[:, 1] - 0.2 * tall, 0.85 * tall - profile[:, 1]) / 0.004, 0, 1
    )
    bead = rng.uniform(0.0004, 0.0009) * beads
    profile[:, 0] += bead * np.cos(2 * np.pi * profile[:, 1] / rng.uniform(0.005, 0.009))
    tint = near(rng, (226, 224, 216), 8) if happens(rng, 0.7) else (214, 184, 120)
    bare = metal(float(rng.uniform(0.08, 0.25)), tint)
    parts = [Part(lathe(profile, 140), bare)]
    if happens(rng, 0.6):
        paper = lathe(np.array([[wide + 0.0012, 0.05 * tall], [wide + 0.0012, 0.95 * tall]]), 140)
        share = 1.0 if happens(rng, 0.7) else float(rng.uniform(0.3, 0.8))
        keep = paper.uv[paper.f].mean(1)[:, 0] < share
        image = printed(220, 620, rng)
        skin = printed_metal(image, 0.9) if happens(rng, 0.3) else coated(image, 0.4, 0.3)
        parts.append(Part(replace(paper, f=paper.f[keep]), skin))
    rings = np.linspace(0, wide - 0.001, 60)
    relief = 0.0006 * np.sign(np.cos(rings / wide * 16)) * (rings < 0.9 * wide)
    lid = lathe(np.stack([rings, relief], 1), 100)
    if happens(rng, 0.45):
        parts.append(Part(lid.moved(None, (0, 0, tall - 0.003)), bare))
    else:
        inside = lathe(np.array([[0, 0.004], [wide - 0.002, 0.004], [wide - 0.0012, tall]]), 120)
        rest = (
            metal(0.2, (236, 230, 206))
            if happens(rng, 0.6)
            else coated(colour(rng, (0.4, 0.9), (0.2, 0.8)), 0.3)
        )
        parts.append(Part(inside, rest))
        if happens(rng, 0.6):
            hinge = rotation(-float(rng.uniform(30, 110)))
            raised = lid.moved(None, (0, wide, 0)).moved(hinge, (0, -wide, tall))
            parts.append(Part(raised, bare))
    wear = {"intact": 0.65, "dented": 0.25, "oval": 0.1}
    return warped(parts, *worn(rng, tall, wide, wear))


def foil(rng: Rng) -> list[Part]:
    """Kitchen foil: a creased sheet with its border turned in, or a ball."""
    shine = metal(float(rng.uniform(0.06, 0.22)), near(rng, (245, 245, 245), 6))
    if happens(rng, 0.4):
        side = float(rng.uniform(0.15, 0.3))
        page = sheet(side, side * float(rng.uniform(0.7, 1)), 190, 170)
        ball = crumpled(page, rng, side * float(rng.uniform(0.13, 0.24)), int(rng.integers(30, 60)))
        fine = np.stack([creases(page.v[:, :2], rng, 6, 0.03, 0.003) for _ in range(3)], 1)
        return [Part(replace(ball, v=ball.v + fine), shine)]
    wide, deep = rng.uniform(0.12, 0.26, 2)
    page = sheet(float(wide), float(deep), 190, 170)
    reach = 0.5 * min(wide, deep)
    v = hemmed(page, rng, (0.55 * reach, 0.95 * reach), int(rng.integers(3, 9))).v
    size = float(rng.uniform(0.03, 0.06))
    v[:, 2] += creases(page.v[:, :2], rng, 7, size, 0.22 * size)
    v[:, :2] += 0.3 * np.stack([creases(page.v[:, :2], rng, 5, 0.03, 0.006) for _ in range(2)], 1)
    return [Part(replace(page, v=v, flat=True), shine)]


def tray(rng: Rng) -> list[Part]:
    """A tray of wrinkled foil with a rim, as for ready meals and cakes."""
    low, top = float(rng.uniform(0.035, 0.07)), float(rng.uniform(0.006, 0.016))
    tall = float(rng.uniform(0.02, 0.045))
    rim = low + top
    points = [(0, 0.0005), (low - 0.002, 0.0005), (low, 0.002), (rim, tall),
              (rim + 0.006, tall + 0.0005), (rim + 0.007, tall - 0.001)]  # fmt: skip
    body = lathe(curve(points, 0.0012, smooth=1), 260)
    v = body.v.copy()
    wall = np.clip((v[:, 2] - 0.003) / 0.004, 0, 1) * np.clip((tall - v[:, 2]) / 0.004, 0, 1)
    folds = np.cos(int(rng.integers(40, 100)) * np.arctan2(v[:, 1], v[:, 0]))
    v[:, :2] *= (1 + 0.012 * wall * folds)[:, None]
    v[:, 2] += creases(v[:, :2], rng, 5, 0.05, 0.0025)
    long = float(rng.uniform(1, 1.7))
    parts = [Part(replace(body, v=v), metal(float(rng.uniform(0.08, 0.22))))]
    if happens(rng, 0.3):
        rest = lathe(curve([(0, 0.004), (0.8 * low, 0.004), (0.9 * low, 0.002)], smooth=1), 120)
        parts.append(Part(rest, coated(colour(rng, (0.5, 0.9), (0.3, 0.8)), 0.3)))
    round_ = happens(rng, 0.4)
    parts = warped(parts, stretched(1, 1, 1) if round_ else squared(6, long, 1))
    wear = {"intact": 0.5, "dented": 0.3, "bent": 0.2}
    return warped(parts, *worn(rng, 3 * tall, rim, wear))


def lid(rng: Rng) -> list[Part]:
    """The screw lid of a jar or the peeled lid of a tin, either side up."""
    wide = float(rng.uniform(0.025, 0.05))
    if happens(rng, 0.5):
        tall = float(rng.uniform(0.008, 0.016))
        points = [(0, tall), (0.85 * wide, tall), (0.9 * wide, tall - 0.001), (wide, tall - 0.0015),
                  (wide, 0.001), (wide - 0.001, 0)]  # fmt: skip
        outer = Part(
            lathe(curve(points, 0.0012, smooth=1), 120), printed_metal(printed(200, 200, rng), 0.85)
        )
        inner = [(0, tall - 0.001), (wide - 0.0014, tall - 0.002), (wide - 0.0014, 0)]
        liner = matte(near(rng, (226, 220, 196), 10))
        parts = [outer, Part(lathe(np.array(inner), 120), liner)]
    else:
        rings = np.linspace(0, wide, 80)
        relief = (
            0.0008 * np.sign(np.cos(rings / wide * rng.uniform(10, 24))) * (rings < 0.93 * wide)
        )
        disc = lathe(np.stack([rings, relief + 0.001], 1), 120)
        parts = [Part(disc, metal(float(rng.uniform(0.08, 0.25))))]
    parts = warped(parts, dented(rng, 0.02, wide, int(rng.integers(0, 3)), 0.3))
    if happens(rng, 0.5):
        parts = [Part(p.mesh.moved(rotation(180)), p.bsdf) for p in parts]
    return parts


def spray_can(rng: Rng) -> list[Part]:
    """An aerosol can with its valve or its plastic cap."""
    tall, wide = float(rng.uniform(0.13, 0.22)), float(rng.uniform(0.022, 0.033))
    points = [(0, 0.006), (0.8 * wide, 0.003), (wide, 0), (wide, 0.004), (wide, tall - 0.02),
              (0.96 * wide, tall - 0.014), (0.5 * wide, tall - 0.003), (0.48 * wide, tall),
              (0, tall)]  # fmt: skip
    parts = [Part(lathe(curve(points, 0.0014, smooth=1), 130), metal(0.15))]
    wall = lathe(np.array([[wide * 1.008, 0.006], [wide * 1.008, tall - 0.022]]), 130)
    parts.append(Part(wall, printed_metal(printed(320, 420, rng), float(rng.uniform(0.75, 1)))))
    high = 0.035 if happens(rng, 0.5) else 0.014
    r = wide * 0.97 if high > 0.02 else 0.008
    base = tall - 0.018 if high > 0.02 else tall
    cap = [(r, base), (r, base + high), (0.9 * r, base + high + 0.002), (0, base + high + 0.002)]
    parts.append(
        Part(lathe(curve(cap, 0.0015, smooth=1), 80), coated(colour(rng, (0, 1), (0.1, 1)), 0.3))
    )
    return warped(parts, *worn(rng, tall, wide, {"intact": 0.7, "dented": 0.3}))
