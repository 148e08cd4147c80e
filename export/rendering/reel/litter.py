"""What belongs to no stream: crisp wrapper, used napkin, and a tray with the rest of a meal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.rendering.materials import matte
from export.rendering.mesh import (
    creases,
    hemmed,
    sheet,
)
from export.rendering.parts import Part
from export.rendering.texture import cloud, done, plain, stained


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
