"""Every picture of the reel: what is in the chamber and how it is lit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.mesh import rotation
from export.rendering.parts import Part
from export.rendering.reel import hand
from export.rendering.reel.items import BY_NAME, ITEMS, ReelItem
from export.rendering.reel.scene import BRIGHT, DIM, NORMAL, OFF, LampLevels

DIMMED = ("plastic_bottle", "cardboard_sheet")
TWO = (("metal_can", (-0.105, 0.03), 20.0), ("paper_crumpled", (0.10, -0.01), 80.0))


@dataclass(frozen=True, slots=True)
class Still:
    """A picture: what to build, in which light, and the items whose truth is told.

    name: file stem under the reel's folder.
    """

    name: str
    lamp: LampLevels
    build: Callable[[], list[Part]]
    shown: tuple[ReelItem, ...] = ()
    masked: tuple[Callable[[], list[Part]], ...] = ()

    @property
    def effort(self) -> int:
        """How many times the usual samples it takes.

        Glass takes more, and so do the references that all are compared with.
        """
        if any(item.clear for item in self.shown):
            return 3
        return 2 if self.build is _nothing and self.lamp is not OFF else 1


def _nothing() -> list[Part]:
    return []


def _held(item: ReelItem, centre: tuple[float, float, float], turn: Array) -> list[Part]:
    """An item in the hand's frame, its middle at `centre`."""
    parts = item.build(np.random.default_rng(item.seed))
    points = np.concatenate([p.mesh.v for p in parts])
    middle = (points.min(0) + points.max(0)) / 2
    return [Part(p.mesh.moved(None, -middle).moved(turn, centre), p.bsdf) for p in parts]


def _can_in_hand() -> list[Part]:
    return _held(BY_NAME["metal_can"], (0.006, 0.088, -0.047), rotation(0, 0, 82))


def _page_in_hand() -> list[Part]:
    return _held(BY_NAME["paper_crumpled"], (0.0, 0.105, -0.055), rotation(20, 0, 30))


def _hands() -> list[Still]:
    """In with a can, in with a page, and out again."""
    can, page = BY_NAME["metal_can"], BY_NAME["paper_crumpled"]
    return [
        Still("hand_1", NORMAL, lambda: hand.arm(hand.OPEN, (0.015, 0.185, 0.17))),
        Still(
            "hand_2",
            NORMAL,
            lambda: hand.arm(hand.GRIP, (0.035, 0.125, 0.165), held=_can_in_hand()),
        ),
        Still(
            "hand_3", NORMAL, lambda: hand.arm(hand.GRIP, (0.02, 0.07, 0.135), held=_can_in_hand())
        ),
        Still(
            "hand_4",
            NORMAL,
            lambda: hand.arm(hand.GRIP, (-0.03, 0.085, 0.15), held=_page_in_hand(), turn_deg=-8),
        ),
        Still(
            "hand_5",
            NORMAL,
            lambda: [*hand.arm(hand.OPEN, (0.025, 0.125, 0.16), turn_deg=5), *can.parts()],
        ),
        Still(
            "hand_6",
            NORMAL,
            lambda: [*hand.arm(hand.RELAXED, (-0.02, 0.15, 0.165), turn_deg=-8), *page.parts()],
        ),
    ]


def _two() -> Still:
    builds = tuple(functools.partial(BY_NAME[n].parts, at, t) for n, at, t in TWO)
    return Still(
        "two_items",
        NORMAL,
        lambda: [p for b in builds for p in b()],
        tuple(BY_NAME[n] for n, _, _ in TWO),
        builds,
    )


def stills() -> list[Still]:
    """All pictures, in the order in which they are rendered."""
    out = [
        Still("empty", NORMAL, _nothing),
        Still("empty_dim", DIM, _nothing),
        Still("empty_bright", BRIGHT, _nothing),
        Still("empty_dark", OFF, _nothing),
        Still("covered", OFF, _nothing),
    ]
    out += [Still(f"items/{i.name}", NORMAL, i.parts, (i,), (i.parts,)) for i in ITEMS]
    out += [
        Still(f"items/dim_{n}", DIM, BY_NAME[n].parts, (BY_NAME[n],), (BY_NAME[n].parts,))
        for n in DIMMED
    ]
    return [*out, _two(), *_hands()]
