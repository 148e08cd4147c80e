"""Bottles of any size: PET above all, opaque plastic, and glass, from one family of profiles.

A random generator flows in, parts that stand on the floor flow out. What tells the materials apart
is built in: PET is a thin ribbed skin that gives way, glass a thick smooth wall over a heavy base.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.rendering.materials import coated, matte, metal, printed_metal
from export.rendering.mesh import Mesh, band, curve, lathe, shell
from export.rendering.parts import Part, warped
from export.rendering.studio.chance import Rgb, Rng, chosen, colour, happens, near
from export.rendering.studio.clear import hazy, print_on_clear, solid_glass, thin_clear
from export.rendering.studio.prints import printed
from export.rendering.studio.warps import squared, worn

Points = list[tuple[float, float]]


def _pet_tint(rng: Rng) -> tuple[float, float, float]:
    kind = chosen(rng, {"clear": 0.6, "blue": 0.2, "green": 0.12, "brown": 0.05, "any": 0.03})
    deep = rng.uniform(0.1, 1.0)
    full = {
        "clear": (0.99, 0.99, 0.99), "blue": (0.62, 0.80, 0.94), "green": (0.45, 0.82, 0.50),
        "brown": (0.62, 0.42, 0.22), "any": tuple(c / 255 for c in colour(rng, (0.3, 0.9), (1, 1))),
    }[kind]  # fmt: skip
    red, green, blue = (1 - deep * (1 - c) for c in full)
    return red, green, blue


def _pet_profile(rng: Rng, tall: float, wide: float) -> tuple[Points, float]:
    """Corner points (radius, z) of a PET bottle, and where its shoulder begins."""
    neck = float(rng.uniform(0.0115, 0.0145))
    throat = tall - 0.02
    shoulder = float(rng.uniform(0.55, 0.74)) * tall
    waist = float(rng.uniform(0.3, 0.55)) * tall
    slim = wide * float(rng.uniform(0.8, 0.97)) if happens(rng, 0.5) else wide
    bulge = float(rng.uniform(0.35, 0.9))
    steep = shoulder + bulge * (throat - shoulder)
    points = [
        (0, 0.12 * wide), (0.45 * wide, 0.05 * wide), (0.75 * wide, 0), (0.93 * wide, 0.004),
        (wide, 0.03 * tall), (wide, waist - 0.06 * tall), (slim, waist),
        (wide, waist + 0.06 * tall),
        (wide, shoulder), (wide * float(rng.uniform(0.75, 0.98)), (shoulder + steep) / 2),
        (neck + (wide - neck) * (1 - bulge) * 0.8, steep), (neck + 0.002, throat - 0.005),
        (neck, throat), (neck + 0.003, throat + 0.002), (neck + 0.003, throat + 0.004),
        (neck, throat + 0.005), (neck, tall),
    ]  # fmt: skip
    return points, shoulder


def _ribbed(body: Mesh, rng: Rng, tall: float, wide: float, shoulder: float) -> Mesh:
    """The mould's relief: rings, deep grooves, flutes or a spiral; feet under the base."""
    v = body.v.copy()
    around, z = np.arctan2(v[:, 1], v[:, 0]), v[:, 2]
    style = chosen(
        rng, {"rings": 0.34, "grooves": 0.26, "flutes": 0.12, "spiral": 0.1, "plain": 0.18}
    )
    low, high = 0.06 * tall, shoulder * float(rng.uniform(0.5, 1.05))
    zone = np.clip((z - low) / 0.006, 0, 1) * np.clip((high - z) / 0.006, 0, 1)
    depth = rng.uniform(0.012, 0.05)
    if style == "rings":
        v[:, :2] *= (1 + depth * zone * np.cos(2 * np.pi * z / rng.uniform(0.006, 0.014)))[:, None]
    elif style == "grooves":
        groove = np.cos(2 * np.pi * z / rng.uniform(0.016, 0.032)) ** 8
        v[:, :2] *= (1 - 1.6 * depth * zone * groove)[:, None]
    elif style != "plain":
        lean = 0.0 if style == "flutes" else rng.uniform(20, 60)
        flute = np.cos(int(rng.integers(6, 20)) * around + lean * z)
        v[:, :2] *= (1 + depth * zone * flute)[:, None]
    if happens(rng, 0.7):
        foot = np.clip(1 - z / (0.45 * wide), 0, 1) * np.clip(
            np.hypot(v[:, 0], v[:, 1]) / wide, 0, 1
        )
        v[:, 2] += 0.16 * wide * foot * (0.5 - 0.5 * np.cos(5 * around))
    return replace(body, v=v)


def _cap(rng: Rng, neck: float, top: float, rgb: Rgb) -> Part:
    """A screw cap with its knurls, of plastic."""
    tall = float(rng.uniform(0.010, 0.019))
    r = neck + 0.0022
    cap = lathe(
        curve(
            [(r - 0.0004, top - tall), (r, top - tall + 0.001), (r, top),
             (r - 0.0012, top + 0.0018), (0, top + 0.0018)],
            smooth=1,
        ),
        96,
    )  # fmt: skip
    v = cap.v.copy()
    knurl = np.cos(40 * np.arctan2(v[:, 1], v[:, 0])) * (v[:, 2] < top)
    v[:, :2] *= (1 + 0.02 * knurl)[:, None]
    return Part(replace(cap, v=v), coated(rgb, 0.3))


def pet_bottle(rng: Rng) -> list[Part]:
    """A PET bottle: 0.25 to 1.5 litres, ribbed, with or without label and cap, in any shape."""
    size = chosen(rng, {"small": 0.2, "half": 0.45, "large": 0.35})
    tall = float(
        rng.uniform(*{"small": (0.13, 0.18), "half": (0.19, 0.25), "large": (0.27, 0.34)}[size])
    )
    wide = tall * float(rng.uniform(0.125, 0.175))
    points, shoulder = _pet_profile(rng, tall, wide)
    body = _ribbed(lathe(curve(points, 0.0016), 120), rng, tall, wide, shoulder)
    tint = _pet_tint(rng)
    worn_skin = hazy(tint, float(rng.uniform(0.03, 0.1)), (235, 240, 245))
    parts = [Part(body, worn_skin if happens(rng, 0.85) else thin_clear(tint))]
    if happens(rng, 0.6):
        low = float(rng.uniform(0.15, 0.45)) * tall
        high = min(low + float(rng.uniform(0.14, 0.42)) * tall, shoulder)
        share = 1.0 if happens(rng, 0.8) else float(rng.uniform(0.4, 0.9))
        image = printed(200, 560, rng)
        skin = coated(image, float(rng.uniform(0.15, 0.4)))
        if happens(rng, 0.2):  # printed on clear film
            lit = np.abs(image.astype(int) - np.median(image, axis=(0, 1))).sum(axis=2) > 60
            skin = print_on_clear(image, (lit * 240).astype(np.uint8))
        parts.append(Part(band(wide * 1.012, low, high, share), skin))
    neck = points[-1][0]
    rgb = (240, 240, 240) if happens(rng, 0.3) else colour(rng, (0.5, 1), (0.3, 1))
    capped = happens(rng, 0.65)
    if capped:
        parts.append(_cap(rng, neck, tall, rgb))
    if capped or happens(rng, 0.4):
        parts.append(Part(band(neck + 0.002, tall - 0.0185, tall - 0.0155), coated(rgb, 0.3)))
    shape = {
        "intact": 0.34,
        "dented": 0.24,
        "flat": 0.2,
        "twisted": 0.1,
        "buckled": 0.07,
        "bent": 0.05,
    }
    return warped(parts, *worn(rng, tall, wide, shape))


def opaque_bottle(rng: Rng) -> list[Part]:
    """A bottle of opaque plastic: shampoo, detergent, milk, with its label and closure."""
    tall, slim = float(rng.uniform(0.12, 0.28)), float(rng.uniform(0.14, 0.24))
    wide, neck = tall * slim, float(rng.uniform(0.009, 0.018))
    shoulder = float(rng.uniform(0.6, 0.85)) * tall
    round_ = float(rng.uniform(0.2, 0.8))
    points = [
        (0, 0.004), (0.8 * wide, 0.0), (wide, 0.006), (wide, 0.02),
        (wide * float(rng.uniform(0.88, 1.05)), 0.5 * shoulder), (wide, shoulder),
        (neck + round_ * (wide - neck), shoulder + 0.6 * (tall - shoulder) * round_),
        (neck, tall - 0.012), (neck, tall),
    ]  # fmt: skip
    rgb = near(rng, (236, 236, 232), 10) if happens(rng, 0.45) else colour(rng, (0.1, 1), (0.15, 1))
    gloss = float(rng.uniform(0.15, 0.45))
    parts = [Part(lathe(curve(points, 0.002), 120), coated(rgb, gloss))]
    if happens(rng, 0.85):
        low = float(rng.uniform(0.1, 0.25)) * tall
        image = printed(240, 560, rng, rgb if happens(rng, 0.3) else None)
        wall = band(wide * 1.012, low, low + float(rng.uniform(0.4, 0.95)) * (shoulder - low))
        parts.append(Part(wall, coated(image, gloss)))
    flat = float(rng.uniform(0.5, 1.0))
    shape = squared(float(rng.uniform(2, 5)), 1.0, flat)
    parts = warped(parts, shape)
    top = rgb if happens(rng, 0.3) else colour(rng, (0, 1), (0.1, 1))
    if happens(rng, 0.8):
        parts.append(_cap(rng, neck * 0.8 + 0.004, tall + float(rng.uniform(0.002, 0.012)), top))
    wear = {"intact": 0.5, "dented": 0.28, "flat": 0.14, "bent": 0.08}
    return warped(parts, *worn(rng, tall, wide, wear))


_GLASS = {
    "clear": (0.97, 0.985, 0.98), "green": (0.50, 0.80, 0.50), "olive": (0.62, 0.70, 0.34),
    "brown": (0.80, 0.50, 0.20), "blue": (0.55, 0.75, 0.95),
}  # fmt: skip


def glass_tint(rng: Rng, weights: dict[str, float] | None = None) -> tuple[float, float, float]:
    """What one passage through a surface leaves of white light, for a common colour of glass."""
    kind = chosen(rng, weights or {"clear": 4, "green": 3, "olive": 1.2, "brown": 2.5, "blue": 0.3})
    deep = rng.uniform(0.6, 1.25)
    red, green, blue = (float(np.clip(1 - deep * (1 - c), 0.08, 1)) for c in _GLASS[kind])
    return red, green, blue


def _glass_profile(rng: Rng) -> tuple[Points, float, float, float]:
    """Corner points of a glass bottle; its height, radius, and where its shoulder begins."""
    kind = chosen(rng, {"beer": 0.38, "wine": 0.22, "slope": 0.14, "spirit": 0.12, "soda": 0.14})
    tall = float(
        rng.uniform(
            *{"beer": (0.19, 0.26), "wine": (0.28, 0.32), "slope": (0.27, 0.31),
              "spirit": (0.16, 0.28), "soda": (0.16, 0.22)}[kind]
        )
    )  # fmt: skip
    slim = {"beer": (0.125, 0.16), "wine": (0.115, 0.13), "slope": (0.13, 0.15),
            "spirit": (0.16, 0.22), "soda": (0.135, 0.165)}[kind]  # fmt: skip
    wide, neck = tall * float(rng.uniform(*slim)), float(rng.uniform(0.0115, 0.0145))
    low, high = {"beer": (0.56, 0.74), "wine": (0.60, 0.68), "slope": (0.36, 0.46),
                 "spirit": (0.66, 0.76), "soda": (0.45, 0.6)}[kind]  # fmt: skip
    shoulder = tall * float(rng.uniform(low, high))
    throat = {"beer": 0.80, "wine": 0.78, "slope": 0.82, "spirit": 0.84, "soda": 0.86}[kind] * tall
    belly = wide * (float(rng.uniform(0.86, 0.98)) if kind == "soda" else 1.0)
    points = [
        (0, 0.18 * wide), (0.6 * wide, 0.03 * wide), (0.85 * wide, 0), (wide, 0.003), (wide, 0.012),
        (belly, 0.55 * shoulder), (wide, shoulder),
        (neck + 0.25 * (wide - neck), throat - 0.1 * (throat - shoulder)),
        (neck + 0.001, throat), (neck, tall - 0.016), (neck, tall - 0.010),
        (neck + 0.0016, tall - 0.009), (neck + 0.0016, tall - 0.003), (neck - 0.0005, tall),
    ]  # fmt: skip
    return points, tall, wide, shoulder


def glass_bottle(rng: Rng) -> list[Part]:
    """A bottle of thick glass for beer, wine, spirits or soda, with what is left of its labels."""
    points, tall, wide, shoulder = _glass_profile(rng)
    wall = float(rng.uniform(0.0024, 0.004))
    body = lathe(shell(curve(points, 0.0018), wall), 112)
    parts = [Part(body, solid_glass(glass_tint(rng)))]
    if happens(rng, 0.68):
        low = float(rng.uniform(0.12, 0.3)) * tall
        high = min(low + float(rng.uniform(0.15, 0.4)) * tall, shoulder - 0.004)
        share = 1.0 if happens(rng, 0.4) else float(rng.uniform(0.3, 0.75))
        ground = near(rng, (236, 226, 200), 16) if happens(rng, 0.5) else None
        image = printed(220, 560, rng, ground, 2 if share > 0.8 else 1)
        if high > low + 0.01:
            parts.append(Part(band(wide + 0.0004, low, high, share), matte(image)))
    neck = points[-5][0]
    if happens(rng, 0.35):
        image = printed(60, 300, rng)
        skin = printed_metal(image, 0.7) if happens(rng, 0.5) else matte(image)
        parts.append(Part(band(neck + 0.0022, tall * 0.86, tall - 0.011), skin))
    if happens(rng, 0.25):
        r = neck + 0.0026
        crown = lathe(
            curve([(r, tall - 0.005), (r - 0.0008, tall), (0, tall + 0.001)], smooth=1), 84
        )
        what = metal(0.2) if happens(rng, 0.3) else printed_metal(colour(rng), 0.8)
        parts.append(Part(crown, what))
    return warped(parts, squared(6.0)) if wide / tall > 0.19 and happens(rng, 0.4) else parts
