"""Tubs, pots and film of plastic, broken glass, wrappers, napkins, leftovers.

A random generator flows in, parts that lie or stand on the floor flow out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.rendering import things
from export.rendering.materials import coated, matte, printed_metal
from export.rendering.mesh import creases, crumpled, curve, hemmed, lathe, rotation, sheet
from export.rendering.parts import Part, warped
from export.rendering.studio.bottles import glass_tint
from export.rendering.studio.chance import Rng, chosen, colour, happens, near
from export.rendering.studio.clear import hazy, print_on_clear, solid_glass, thin_clear
from export.rendering.studio.prints import printed
from export.rendering.studio.warps import dented, squared, stretched, worn
from export.rendering.texture import cloud, done, plain, stained


def tub(rng: Rng) -> list[Part]:
    """A pot or tub of opaque plastic: yoghurt, margarine, salad; round or squared, printed."""
    tall, low = float(rng.uniform(0.04, 0.12)), float(rng.uniform(0.024, 0.045))
    top = low * float(rng.uniform(1.05, 1.35))
    lip = float(rng.uniform(0.002, 0.005))
    wall = [(0, 0.001), (low - 0.002, 0), (low, 0.003), (top, tall), (top + lip, tall + 0.0004),
            (top + lip, tall - 0.0025)]  # fmt: skip
    rgb = near(rng, (238, 237, 232), 8) if happens(rng, 0.5) else colour(rng, (0.1, 1), (0.15, 1))
    image = printed(240, 560, rng, rgb)[::1] if happens(rng, 0.7) else done(plain(4, 4, rgb))
    gloss = float(rng.uniform(0.15, 0.4))
    inside = [(0, 0.0025), (low - 0.002, 0.0025), (low - 0.0005, 0.005), (top - 0.0007, tall)]
    h, w = 160, 320
    ground = plain(h, w, rgb if happens(rng, 0.5) else (226, 224, 218))
    smear = np.clip(cloud(h, w, 5, rng) - rng.uniform(0, 1.2), 0, 1) * np.linspace(0, 1, h)[:, None]
    ground = stained(ground, colour(rng, (0.1, 0.7), (0.4, 1)), smear)
    parts = [
        Part(lathe(curve(wall, 0.0018, smooth=1), 140), coated(image, gloss)),
        Part(lathe(curve(inside, 0.003, smooth=1), 120), coated(done(ground), gloss)),
    ]
    if happens(rng, 0.25):
        lid = [(0, tall + 0.002), (top - 0.002, tall + 0.002), (top + lip, tall + 0.001),
               (top + lip, tall - 0.004)]  # fmt: skip
        parts.append(
            Part(lathe(curve(lid, 0.002, smooth=1), 120), coated(printed(200, 200, rng), gloss))
        )
    if happens(rng, 0.45):
        parts = warped(parts, squared(5, float(rng.uniform(1, 1.5)), float(rng.uniform(0.8, 1))))
    return warped(parts, *worn(rng, tall, top, {"intact": 0.6, "dented": 0.22, "oval": 0.18}))


def film(rng: Rng) -> list[Part]:
    """Clear or coloured film: a bag or a wrapping, crumpled flat or to a ball."""
    side = float(rng.uniform(0.14, 0.26))
    leaf = sheet(side, side * float(rng.uniform(0.7, 1)), 170, 150)
    ball = happens(rng, 0.25)
    if ball:
        soft = crumpled(leaf, rng, side * float(rng.uniform(0.18, 0.3)), 24, 0.003)
        v = soft.v
    else:
        v = hemmed(leaf, rng, (0.28 * side, 0.45 * side), int(rng.integers(3, 9))).v
        v[:, 2] += creases(leaf.v[:, :2], rng, 8, float(rng.uniform(0.03, 0.06)), 0.012)
    kind = chosen(rng, {"clear": 0.4, "milky": 0.25, "printed": 0.2, "opaque": 0.15})
    if kind == "opaque":
        rgb = (238, 238, 236) if happens(rng, 0.4) else colour(rng, (0.2, 1), (0.1, 1))
        return [Part(replace(leaf, v=v), coated(rgb, 0.25, 0.7))]
    skin = thin_clear((0.98, 0.98, 0.98))
    if kind == "milky":
        skin = hazy((0.96, 0.96, 0.96), float(rng.uniform(0.15, 0.6)), (234, 236, 238))
    elif kind == "printed":
        image = printed(300, 300, rng, (240, 240, 240), 1)
        inked = (np.abs(image.astype(int) - 240).sum(axis=2) > 70) * 225
        skin = print_on_clear(image, (inked + 25).astype(np.uint8))
    return [Part(replace(leaf, v=v), skin)]


def shards(rng: Rng) -> list[Part]:
    """A broken bottle, or some splinters of one or of a pane."""
    what = solid_glass(glass_tint(rng))
    if happens(rng, 0.5):
        parts = things.glass_broken(rng, what, int(rng.integers(0, 5)))
        return warped(parts[int(rng.integers(0, 2)) :], stretched(1.2, 1.2, 1.2))
    parts = []
    radius = 2.0 if happens(rng, 0.25) else float(rng.uniform(0.028, 0.045))
    for _ in range(int(rng.integers(2, 7))):
        piece = things.shard(
            rng, radius, float(rng.uniform(0.015, 0.05)), float(rng.uniform(0.0024, 0.004))
        )
        x_deg, y_deg = rng.uniform(-12, 12, 2)
        turn = rotation(x_deg, y_deg, rng.uniform(0, 360))
        at = (*rng.uniform(-0.07, 0.07, 2), 0)
        piece = piece.moved(turn, at)
        parts.append(Part(piece.moved(None, (0, 0, 0.0005 - piece.v[:, 2].min())), what))
    return parts


def wrapper(rng: Rng) -> list[Part]:
    """A packet of crisps, a chocolate bar's wrapper, a sachet: shiny, crimped, empty."""
    front, back = things.trash_wrapper(rng)
    wide, high = float(rng.uniform(0.4, 1.3)), float(rng.uniform(0.7, 1.3))
    image = printed(420, 320, rng, colour(rng, (0.3, 1), (0.2, 1)), 1)
    ink = float(rng.uniform(0.65, 0.95))
    parts = [Part(front.mesh, printed_metal(image, ink, 0.2)), back]
    return warped(parts, stretched(wide, high, float(rng.uniform(0.8, 1.8))))


def napkin(rng: Rng) -> list[Part]:
    """A used napkin or tissue, scrunched, stained with food."""
    h = w = 320
    rgb = near(rng, (232, 226, 214), 8) if happens(rng, 0.75) else colour(rng, (0.2, 0.8), (0.4, 1))
    img = plain(h, w, rgb)
    for _ in range(int(rng.integers(1, 4))):
        spot = np.clip(
            1.6 * cloud(h, w, int(rng.integers(2, 6)), rng) - rng.uniform(0.8, 1.8), 0, 0.9
        )
        img = stained(img, colour(rng, (0.4, 0.9), (0.2, 0.7)), spot)
    side = float(rng.uniform(0.14, 0.24))
    leaf = sheet(side, side, 170, 170)
    if happens(rng, 0.4):
        ball = crumpled(
            leaf, rng, side * float(rng.uniform(0.16, 0.28)), int(rng.integers(10, 26)), 0.003
        )
        return [Part(ball, matte(done(img)))]
    v = hemmed(leaf, rng, (0.2 * side, 0.36 * side), int(rng.integers(4, 9))).v
    v[:, 2] += creases(leaf.v[:, :2], rng, 5, 0.06, 0.014) + creases(
        leaf.v[:, :2], rng, 6, 0.022, 0.003
    )
    return [Part(replace(leaf, v=v), matte(done(img)))]


def leftovers(rng: Rng) -> list[Part]:
    """A foam tray with the rest of a meal, or the rest without the tray."""
    parts = things.trash_mixed(rng)
    if happens(rng, 0.35):
        parts = parts[2:]
    size = float(rng.uniform(0.75, 1.15))
    parts = warped(parts, stretched(size, size * float(rng.uniform(0.85, 1.1)), size))
    return warped(parts, dented(rng, 0.05, 0.08, int(rng.integers(0, 3)), 0.2))
