"""Which kinds of rubbish the studio makes, how often, and how they come to lie.

A seed and a number flow in, an `StudioItem` flows out: the same for the same two, whatever was made
before, so that pictures can be made in any order and by several processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from export.rendering.parts import Part
from export.rendering.studio import boards, bottles, cups, leaves, sundries, tins
from export.rendering.studio.chance import Rng, chosen

Builder = Callable[[Rng], list[Part]]

_TALL = {"lying": 0.72, "standing": 0.12, "leaning": 0.16}
_LOW = {"lying": 0.5, "standing": 0.36, "leaning": 0.08, "upturned": 0.06}
_FLAT = {"settled": 0.75, "as made": 0.15, "leaning": 0.1}
_BOXY = {"as made": 0.75, "leaning": 0.15, "upturned": 0.1}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of rubbish.

    share: how often, in parts of the whole. poses: by weight. clear: light goes through it.
    """

    label: str
    share: float
    build: Builder
    poses: dict[str, float]
    clear: bool = False


KINDS: dict[str, Kind] = {
    "pet_bottle": Kind("plastic", 16, bottles.pet_bottle, _TALL, True),
    "clear_cup": Kind("plastic", 6, cups.clear_cup, _LOW, True),
    "opaque_bottle": Kind("plastic", 4, bottles.opaque_bottle, _TALL),
    "tub": Kind("plastic", 3, sundries.tub, _LOW),
    "film": Kind("plastic", 3, sundries.film, _FLAT, True),
    "glass_bottle": Kind("glass", 10, bottles.glass_bottle, _TALL, True),
    "jar": Kind("glass", 4, cups.jar, _LOW, True),
    "drinking_glass": Kind("glass", 2.5, cups.drinking_glass, _LOW, True),
    "shards": Kind("glass", 1.5, sundries.shards, {"as made": 1.0}, True),
    "can": Kind("metal", 9, tins.can, _LOW),
    "tin": Kind("metal", 4, tins.tin, _LOW),
    "foil": Kind("metal", 1.8, tins.foil, _FLAT),
    "tray": Kind("metal", 1.2, tins.tray, _BOXY),
    "lid": Kind("metal", 0.8, tins.lid, {"settled": 0.8, "leaning": 0.2}),
    "spray_can": Kind("metal", 1.2, tins.spray_can, _TALL),
    "paper_cup": Kind("paper", 8, cups.paper_cup, _LOW),
    "crumpled_page": Kind("paper", 3.5, leaves.crumpled_page, {"settled": 1.0}),
    "flat_page": Kind("paper", 3, leaves.flat_page, _FLAT),
    "envelope": Kind("paper", 1.5, leaves.envelope, _FLAT),
    "paper_bag": Kind("paper", 2, leaves.bag, _FLAT),
    "box": Kind("cardboard", 3, boards.box, _BOXY),
    "carton": Kind("cardboard", 2, boards.carton, _BOXY),
    "flat_board": Kind("cardboard", 2, boards.flat_board, _BOXY),
    "roll": Kind("cardboard", 1.5, boards.roll, _TALL),
    "sleeve": Kind("cardboard", 0.7, boards.sleeve, _BOXY),
    "egg_box": Kind("cardboard", 0.5, boards.egg_box, _BOXY),
    "round_box": Kind("cardboard", 0.5, boards.tube, _LOW),
    "wrapper": Kind("trash", 2.5, sundries.wrapper, _FLAT),
    "napkin": Kind("trash", 2, sundries.napkin, _FLAT),
    "leftovers": Kind("trash", 1.5, sundries.leftovers, {"as made": 1.0}),
}


@dataclass(frozen=True, slots=True)
class StudioItem:
    """One thing to be made: its number, kind and pose."""

    number: int
    kind: str
    pose: str

    @property
    def label(self) -> str:
        """Its class."""
        return KINDS[self.kind].label

    @property
    def stem(self) -> str:
        """Where its picture lies in the set's folder, without the ending."""
        return f"{self.label}/{self.kind}_{self.number:05d}"


def generator(seed: int, number: int, attempt: int = 0) -> Rng:
    """The source of every random choice for one picture."""
    return np.random.default_rng([seed, number, attempt])


def studio_item(seed: int, number: int) -> StudioItem:
    """What the picture `number` of a seed shows."""
    rng = generator(seed, number)
    kind = chosen(rng, {name: kind.share for name, kind in KINDS.items()})
    return StudioItem(number, kind, chosen(rng, KINDS[kind].poses))
