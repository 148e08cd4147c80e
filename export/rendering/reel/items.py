"""The eighteen items: which builder makes each, where it lies and how it is turned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from export.rendering import things
from export.rendering.parts import Part, laid
from export.rendering.reel import fibre, glassware, litter, vessels

Builder = Callable[[np.random.Generator], list[Part]]


@dataclass(frozen=True, slots=True)
class ReelItem:
    """One piece of rubbish, and how it lies.

    what: words for people. at: place, (x, y) in metres. turn_deg: about the vertical.
    """

    label: str
    what: str
    build: Builder
    at: tuple[float, float] = (0.0, 0.0)
    turn_deg: float = 0.0
    seed: int = 1
    settle: bool = True
    clear: bool = False  # light through it is found by chance only, so it takes more samples

    @property
    def name(self) -> str:
        """File stem, `<class>_<name>`: the builder's own."""
        return self.build.__name__

    def parts(
        self, at: tuple[float, float] | None = None, turn_deg: float | None = None
    ) -> list[Part]:
        """The item on the chamber floor, here or at another place."""
        made = self.build(np.random.default_rng(self.seed))
        turn = self.turn_deg if turn_deg is None else turn_deg
        return laid(made, at or self.at, turn, self.settle)


ITEMS = (
    ReelItem(
        "cardboard",
        "small shipping box, flaps half open",
        fibre.cardboard_box,
        (0.0, 0.0),
        24,
        settle=False,
    ),
    ReelItem(
        "glass", "jam jar with lid and label", glassware.glass_jar, (-0.03, 0.01), -62, clear=True
    ),
    ReelItem("metal", "drinks can", vessels.metal_can, (0.02, 0.0), 68),
    ReelItem("paper", "crumpled lined page", fibre.paper_crumpled, (-0.04, -0.01), 15),
    ReelItem(
        "plastic",
        "PET water bottle with cap",
        vessels.plastic_bottle,
        (0.0, 0.005),
        -70,
        clear=True,
    ),
    ReelItem("trash", "crisp packet", things.trash_wrapper, (0.03, 0.0), 32),
    ReelItem("cardboard", "sleeve of a ready meal", fibre.cardboard_sleeve, (-0.01, 0.03), -16),
    ReelItem("glass", "green beer bottle", glassware.glass_bottle, (0.01, 0.0), 62, clear=True),
    ReelItem("metal", "crushed drinks can", vessels.metal_crushed, (-0.03, 0.015), -35),
    ReelItem("paper", "printed letter, unfolded", fibre.paper_flat, (0.01, 0.0), 58),
    ReelItem("plastic", "margarine tub", vessels.plastic_tub, (0.03, 0.05), -20, settle=False),
    ReelItem("trash", "used napkin", litter.trash_napkin, (-0.02, 0.0), 10),
    ReelItem(
        "cardboard",
        "torn sheet of corrugated board",
        fibre.cardboard_sheet,
        (0.0, 0.0),
        18,
        settle=False,
    ),
    ReelItem(
        "glass",
        "broken brown bottle",
        things.glass_broken,
        (0.0, 0.0),
        8,
        settle=False,
        clear=True,
    ),
    ReelItem("metal", "used kitchen foil", vessels.metal_foil, (0.02, 0.0), 40),
    ReelItem("paper", "take-away paper cup", fibre.paper_cup, (-0.02, 0.03), 250),
    ReelItem(
        "plastic",
        "crumpled clear film with print",
        vessels.plastic_film,
        (-0.01, 0.0),
        12,
        clear=True,
    ),
    ReelItem(
        "trash", "foam tray with food remains", things.trash_mixed, (0.0, 0.0), -14, settle=False
    ),
)
BY_NAME = {item.name: item for item in ITEMS}
