"""Cups: clear plastic ones, paper ones, and drinking glasses, which look alike to a network.

A random generator flows in, parts that stand on the floor flow out. The clear cup is a thin skin
with steps and a rolled rim, the paper cup an opaque cone with a white inside, the glass a thick
wall over a heavy base.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.materials import coated, matte
from export.rendering.mesh import curve, joined, lathe, rotation, shell
from export.rendering.parts import Part, Warp, warped
from export.rendering.studio.bottles import glass_tint
from export.rendering.studio.chance import Rng, chosen, colour, happens, near
from export.rendering.studio.clear import hazy, print_on_clear, solid_glass, thin_clear
from export.rendering.studio.prints import printed
from export.rendering.studio.warps import bent, buckled, flattened, squeezed, worn
from export.rendering.texture import cloud, done, kraft, plain, stained


def _ring(radius: float, at: float, thick: float) -> Array:
    """Profile of a rolled rim."""
    t = np.linspace(0, 2 * np.pi, 13)
    return np.stack([radius + thick * np.cos(t), at + thick * np.sin(t)], 1)


def _wear(rng: Rng, tall: float, top: float) -> list[Warp]:
    """How cups are found: whole, pressed, trodden on."""
    kind = chosen(rng, {"whole": 0.42, "oval": 0.28, "worn": 0.3})
    if kind == "oval":
        return [squeezed(rng, tall, 0.55)]
    if kind == "worn":
        return worn(rng, tall, top, {"dented": 0.4, "flat": 0.35, "buckled": 0.15, "bent": 0.1})
    return []


def _straw(rng: Rng, tall: float) -> Part:
    """A straw that stands in the cup."""
    high = tall * float(rng.uniform(1.15, 1.6))
    tube = lathe(np.array([[0.003, 0.004], [0.003, high]]), 20)
    turn = rotation(float(rng.uniform(3, 10)), 0, 0)
    rgb = colour(rng, (0, 1), (0.1, 1))
    return Part(tube.moved(turn, (0, 0.008, 0)), coated(rgb, 0.3))


def clear_cup(rng: Rng) -> list[Part]:
    """A cup of clear plastic: steps or ribs, rolled rim, perhaps print, dome lid, straw."""
    tall = float(rng.uniform(0.075, 0.16))
    top = float(rng.uniform(0.034, 0.049))
    low = top * float(rng.uniform(0.58, 0.82))
    step = float(rng.uniform(0.7, 0.95)) * tall
    ledge = float(rng.uniform(0, 0.0025))
    at = low + (top - low) * step / tall
    points = [
        (0, 0.004), (0.8 * low, 0.004), (0.86 * low, 0), (low, 0.001), (low, 0.006),
        (at, step), (at + ledge, step + 0.001), (top, tall),
    ]  # fmt: skip
    body = lathe(curve(points, 0.0015, smooth=1), 120)
    v = body.v.copy()
    zone = np.clip((v[:, 2] - 0.1 * tall) / 0.004, 0, 1) * np.clip((step - v[:, 2]) / 0.004, 0, 1)
    style = chosen(rng, {"plain": 0.4, "rings": 0.35, "flutes": 0.25})
    if style == "rings":
        wave = np.cos(2 * np.pi * v[:, 2] / rng.uniform(0.006, 0.02))
        v[:, :2] *= (1 + rng.uniform(0.005, 0.02) * zone * wave)[:, None]
    elif style == "flutes":
        wave = np.cos(int(rng.integers(12, 48)) * np.arctan2(v[:, 1], v[:, 0]))
        v[:, :2] *= (1 + rng.uniform(0.004, 0.015) * zone * wave)[:, None]
    tint = (0.985, 0.988, 0.99)
    if happens(rng, 0.12):
        red, green, blue = (0.6 + 0.4 * c / 255 for c in colour(rng, (0.2, 0.8), (1, 1)))
        tint = red, green, blue
    skin = thin_clear(tint)
    if happens(rng, 0.55):  # polypropylene is milky
        skin = hazy(tint, float(rng.uniform(0.02, 0.22)), (236, 238, 240))
    rim = lathe(_ring(top + 0.001, tall, float(rng.uniform(0.0012, 0.0022))), 120)
    parts = [Part(replace(body, v=v), skin), Part(rim, skin)]
    if happens(rng, 0.3):
        image = printed(200, 500, rng, (240, 240, 240))
        inked = (np.abs(image.astype(int) - 240).sum(axis=2) > 70) * 235
        inked_skin = print_on_clear(image, inked.astype(np.uint8))
        lo, hi = 0.25 * step, 0.9 * step
        wall = lathe(
            np.array(
                [[(low + (top - low) * z / tall) * 1.015, z] for z in np.linspace(lo, hi, 12)]
            ),
            120,
        )
        parts.append(Part(wall, inked_skin))
    if happens(rng, 0.2):
        flat = happens(rng, 0.4)
        rise = 0.006 if flat else top * float(rng.uniform(0.5, 0.85))
        hole = 0.004 if flat else float(rng.uniform(0.006, 0.014))
        dome = [
            (top + 0.003, tall - 0.004), (top + 0.003, tall + 0.003),
            (0.92 * top, tall + 0.5 * rise), (0.55 * top, tall + rise), (hole, tall + rise),
        ]  # fmt: skip
        parts.append(Part(lathe(curve(dome, 0.0015), 120), skin))
    if happens(rng, 0.15):
        parts.append(_straw(rng, tall))
    return warped(parts, *_wear(rng, tall, top))


def _coffee(rng: Rng) -> Array:
    """The inside of a used paper cup: white, a brown rest at the bottom, a ring where it stood."""
    h, w = 160, 320
    wall = plain(h, w, near(rng, (238, 234, 226), 6))
    if happens(rng, 0.6):
        deep = np.linspace(1, 0, h)[:, None] ** rng.uniform(1.5, 4) * np.ones((1, w))
        wall = stained(wall, (112, 74, 42), rng.uniform(0.3, 1) * deep + 0.04 * cloud(h, w, 6, rng))
        row = int(rng.uniform(0.3, 0.8) * h)
        wall[row : row + 3] *= 0.75
    return done(wall[::-1])


def paper_cup(rng: Rng) -> list[Part]:
    """A paper cup for coffee or a cold drink: white, brown or printed, with or without sleeve."""
    tall = float(rng.uniform(0.065, 0.155))
    top = float(rng.uniform(0.033, 0.047))
    low = top * float(rng.uniform(0.64, 0.78))
    style = chosen(rng, {"printed": 0.5, "white": 0.25, "kraft": 0.15, "colour": 0.1})
    if style == "kraft":
        image = done(kraft(200, 500, rng))
    elif style == "printed":
        white = near(rng, (236, 233, 226), 8) if happens(rng, 0.6) else None
        image = printed(260, 620, rng, white)
    else:
        rgb = (
            near(rng, (238, 236, 230), 6) if style == "white" else colour(rng, (0.2, 0.9), (0.3, 1))
        )
        image = done(plain(8, 8, rgb))
    seam = 0.06 * tall
    outer = lathe(np.array([[low, 0], [low + 0.0006, 0.003], [top, tall]]), 120)
    inner = lathe(
        curve([(0, seam), (low - 0.0012, seam), (top - 0.0008, tall)], 0.004, smooth=0), 120
    )
    base = lathe(np.array([[0, 0.9 * seam], [low - 0.0006, 0.9 * seam], [low, 0]]), 120)
    rim = lathe(_ring(top + 0.0006, tall, float(rng.uniform(0.0013, 0.0022))), 120)
    white = near(rng, (240, 237, 230), 5)
    sheen = coated(image, 0.4, 0.35) if happens(rng, 0.4) else matte(image)
    parts = [
        Part(outer, sheen), Part(inner, matte(_coffee(rng))), Part(joined(base, rim), matte(white)),
    ]  # fmt: skip
    if happens(rng, 0.25):
        lo, hi = rng.uniform(0.15, 0.35) * tall, rng.uniform(0.6, 0.8) * tall
        wall = [[(low + (top - low) * z / tall) + 0.0012, z] for z in (lo, hi)]
        board = done(kraft(120, 400, rng, int(rng.integers(0, 30))))
        parts.append(Part(lathe(np.array(wall), 120), matte(board)))
    if happens(rng, 0.2):
        rgb = (238, 238, 236) if happens(rng, 0.6) else (30, 30, 32)
        lid = [(top + 0.003, tall - 0.005), (top + 0.003, tall + 0.002), (0.9 * top, tall + 0.003),
               (0.88 * top, tall + 0.010), (0.7 * top, tall + 0.010), (0.68 * top, tall + 0.006),
               (0, tall + 0.006)]  # fmt: skip
        parts.append(Part(lathe(curve(lid, 0.002, smooth=1), 120), coated(rgb, 0.35)))
    # one helper for both cups would share weights that differ: paper folds, it does not buckle
    wear = chosen(rng, {"whole": 0.5, "oval": 0.25, "flat": 0.17, "buckled": 0.08})
    if wear == "oval":
        return warped(parts, squeezed(rng, tall, 0.6))
    if wear == "flat":
        return warped(parts, flattened(rng, 1.4 * tall, rng.uniform(0.4, 0.8)), bent(rng, tall, 40))
    return warped(parts, buckled(rng, tall, 0.8)) if wear == "buckled" else parts


def drinking_glass(rng: Rng) -> list[Part]:
    """A tumbler or a stemmed glass."""
    tint = glass_tint(rng, {"clear": 8, "green": 0.5, "blue": 0.7})
    wall = float(rng.uniform(0.0018, 0.0034))
    top = float(rng.uniform(0.03, 0.042))
    if happens(rng, 0.3):
        tall, stem = float(rng.uniform(0.14, 0.2)), float(rng.uniform(0.06, 0.09))
        bowl = top * float(rng.uniform(1.0, 1.25))
        foot = [(0, 0), (0.9 * top, 0), (0.9 * top, 0.002), (0.005, 0.007), (0.004, stem)]
        cup = [(0.012, stem + 0.006), (bowl, stem + 0.4 * (tall - stem)), (0.85 * top, tall)]
        inside = [
            (0.85 * top - wall, tall),
            (bowl - wall, stem + 0.4 * (tall - stem)),
            (0, stem + 0.011),
        ]
        return [Part(lathe(curve([*foot, *cup, *inside], 0.002), 112), solid_glass(tint))]
    tall, low = float(rng.uniform(0.08, 0.15)), top * float(rng.uniform(0.7, 1.0))
    heavy = float(rng.uniform(0.006, 0.016))
    points = [(0, 0.001), (0.9 * low, 0), (low, 0.003), (top, tall), (top - wall, tall),
              (low - wall, heavy + 0.004), (0.7 * low, heavy), (0, heavy)]  # fmt: skip
    body = lathe(curve(points, 0.002, smooth=1), 112)
    if happens(rng, 0.35):
        v = body.v.copy()
        outside = np.arange(len(v)) < len(v) // 2
        zone = np.clip(1 - v[:, 2] / (rng.uniform(0.4, 0.9) * tall), 0, 1) * outside
        flute = np.cos(int(rng.integers(6, 16)) * np.arctan2(v[:, 1], v[:, 0]))
        v[:, :2] *= (1 + 0.03 * zone * flute)[:, None]
        body = replace(body, v=v)
    return [Part(body, solid_glass(tint))]


def jar(rng: Rng) -> list[Part]:
    """A jar for jam or pickles, with or without lid and label."""
    tall, wide = float(rng.uniform(0.07, 0.15)), float(rng.uniform(0.028, 0.043))
    mouth, neck = wide * float(rng.uniform(0.72, 0.95)), tall - 0.016
    outer = curve(
        [
            (0, 0.002),
            (0.88 * wide, 0),
            (wide, 0.004),
            (wide, neck - 0.012),
            (mouth, neck),
            (mouth, tall),
        ]
    )
    clear = {"clear": 9.0, "green": 0.5, "brown": 0.5}
    parts = [
        Part(
            lathe(shell(outer, float(rng.uniform(0.0022, 0.0034))), 120),
            solid_glass(glass_tint(rng, clear)),
        )
    ]
    if happens(rng, 0.6):
        share = 1.0 if happens(rng, 0.5) else float(rng.uniform(0.3, 0.8))
        low, high = 0.15 * tall, float(rng.uniform(0.5, 0.8)) * (neck - 0.012)
        wall = lathe(np.array([[wide + 0.0004, z] for z in np.linspace(low, high, 8)]), 120)
        keep = wall.uv[wall.f].mean(1)[:, 0] < share
        parts.append(Part(replace(wall, f=wall.f[keep]), matte(printed(200, 560, rng))))
    if happens(rng, 0.4):
        r = mouth + 0.002
        lid = [
            (r - 0.001, tall - 0.012),
            (r, tall - 0.011),
            (r, tall),
            (r - 0.002, tall + 0.002),
            (0, tall + 0.002),
        ]
        rgb = colour(rng, (0, 1), (0.2, 1))
        parts.append(Part(lathe(curve(lid, smooth=1), 100), coated(rgb, 0.22, 0.6)))
    if happens(rng, 0.3):
        rest = [
            (0, 0.0034),
            (0.85 * wide, 0.0034),
            (0.9 * wide, 0.006 + 0.15 * tall * rng.random()),
        ]
        parts.append(
            Part(lathe(curve(rest, smooth=1)), coated(colour(rng, (0.4, 1), (0.1, 0.7)), 0.2))
        )
    return parts
