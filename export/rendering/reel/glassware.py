"""Glass: a jar, a bottle, and a bottle that broke."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.rendering.materials import coated, glass, matte
from export.rendering.mesh import band, curve, lathe, shell
from export.rendering.parts import Part, lying
from export.rendering.texture import done, label, plain
from export.rendering.things import BOTTLE

CLEAR = (0.97, 0.985, 0.98)
GREEN = (0.50, 0.80, 0.50)


def glass_jar(rng: np.random.Generator) -> list[Part]:
    """A jam jar with its screw lid and half of its label."""
    outer = curve(
        [
            (0, 0),
            (0.030, 0),
            (0.0335, 0.003),
            (0.0335, 0.075),
            (0.033, 0.083),
            (0.027, 0.09),
            (0.027, 0.102),
        ]
    )
    body = lathe(shell(outer, 0.0026))
    lid = lathe(
        curve(
            [(0.0285, 0.088), (0.0295, 0.0885), (0.0295, 0.102), (0.0285, 0.1035), (0, 0.1035)],
            smooth=1,
        )
    )
    v = lid.v.copy()
    ribs = (
        0.0004 * np.cos(60 * np.arctan2(v[:, 1], v[:, 0])) * (np.hypot(v[:, 0], v[:, 1]) > 0.0288)
    )
    v[:, :2] *= (1 + ribs / 0.03)[:, None]
    paper = done(label(300, 700, rng, "plum jam", (240, 232, 214), (134, 44, 74), (104, 30, 60), 1))
    top = done(plain(8, 8, (176, 36, 40)))
    rest = lathe(curve([(0, 0.0032), (0.026, 0.0032), (0.0295, 0.007)], smooth=1))
    parts = [
        Part(body, glass(CLEAR)),
        Part(replace(lid, v=v), coated(top, 0.22, 0.6)),
        Part(band(0.0338, 0.018, 0.066, 0.55), matte(paper)),
        Part(rest, coated((112, 24, 44), 0.15)),
    ]
    return lying(parts, 168)


def glass_bottle(rng: np.random.Generator) -> list[Part]:
    """A small green beer bottle with a paper label."""
    body = lathe(shell(curve(BOTTLE, smooth=2), 0.0024))
    paper = done(label(320, 900, rng, "Lager", (236, 226, 196), (30, 84, 52), (150, 28, 30), 2))
    collar = done(label(60, 400, rng, "1898", (216, 190, 110), (30, 84, 52), (30, 60, 40), 3))
    parts = [
        Part(body, glass(GREEN)),
        Part(band(0.0288, 0.030, 0.088), matte(paper)),
        Part(band(0.0142, 0.148, 0.158), matte(collar)),
    ]
    return lying(parts, 70)
