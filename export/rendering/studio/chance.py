"""Random choices that the studio's builders share: colours, made-up names, weighted picks.

A numpy generator flows in, a plain value flows out; nothing here keeps a state of its own, so a
seed alone decides every picture.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

Rng = np.random.Generator
Rgb = tuple[float, float, float]
Name = TypeVar("Name", bound=str)

_CONSONANTS = "bcdfghjklmnprstvz"
_VOWELS = "aeiou"


def chosen(rng: Rng, weights: Mapping[Name, float]) -> Name:
    """One of the names, as often as its weight says (they need not add up to 1)."""
    names = list(weights)
    shares = np.array([weights[n] for n in names], float)
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def happens(rng: Rng, share: float) -> bool:
    """Whether a thing of probability `share` happens."""
    return bool(rng.random() < share)


def colour(
    rng: Rng,
    saturation: tuple[float, float] = (0.0, 1.0),
    value: tuple[float, float] = (0.1, 1.0),
) -> Rgb:
    """An sRGB colour in bytes, any hue, its HSV saturation and value within the bounds."""
    hsv = (rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    red, green, blue = colorsys.hsv_to_rgb(*hsv)
    return 255 * red, 255 * green, 255 * blue


def near(rng: Rng, rgb: Rgb, spread: float = 12.0) -> Rgb:
    """A colour about `spread` grey levels from `rgb`."""
    red, green, blue = np.clip(np.asarray(rgb) + rng.normal(0, spread, 3), 0, 255)
    return float(red), float(green), float(blue)


def word(rng: Rng) -> str:
    """A made-up name of two or three syllables: print without anybody's brand."""
    syllables = [
        _CONSONANTS[rng.integers(len(_CONSONANTS))] + _VOWELS[rng.integers(len(_VOWELS))]
        for _ in range(rng.integers(2, 4))
    ]
    text = "".join(syllables)
    return text.upper() if happens(rng, 0.5) else text.capitalize()
