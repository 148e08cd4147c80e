"""What a sitting makes of keys that come at an awkward moment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bin_daemon.core.messages import Item, Observation, Prediction, View
from bin_daemon.teaching.session import LOOKS, Look, Sitting, Stage

SHARES = np.array([0.4, 0.6], np.float32)
LOOK = Look(np.zeros((8, 8, 3), np.uint8), Prediction(("glass", "metal"), SHARES, SHARES, {}))
ITEM = Item(LOOK.crop, (0, 0, 4, 4), np.ones((4, 4), bool), 0.1, (0.5, 0.5))


class Kept:
    """What a sitting keeps and forgets."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []

    def keep(self, looks: Sequence[Look], label: str) -> Sequence[str]:
        self.log.append(("keep", label))
        return [f"{label}{len(self.log)}"]

    def forget(self, ids: Sequence[str]) -> None:
        self.log.append(("forget", *ids))


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def sitting(kept: Kept) -> Sitting:
    return Sitting(("glass", "metal"), kept.keep, kept.forget)


def show(sitting: Sitting, frames: int) -> None:
    for _ in range(frames):
        if sitting.see(Observation(View.ITEM, 0.0, ITEM)):
            sitting.look(LOOK)


def take_out(sitting: Sitting) -> None:
    sitting.see(Observation(View.EMPTY, 0.0))


def test_an_item_is_kept_once_it_is_named_and_looked_at(sitting: Sitting, kept: Kept) -> None:
    show(sitting, LOOKS)
    sitting.press("2")
    assert kept.log == [("keep", "metal")]
    assert sitting.stage is Stage.REMOVAL


def test_a_wrong_key_can_be_taken_back_before_the_last_look(sitting: Sitting, kept: Kept) -> None:
    show(sitting, LOOKS)
    sitting.press("2")
    take_out(sitting)
    show(sitting, 1)
    sitting.press("1")
    sitting.press("u")
    assert sitting.said == "not kept; what is it?"
    show(sitting, LOOKS)
    sitting.press("2")
    assert kept.log == [("keep", "metal"), ("keep", "metal")]


def test_undo_after_an_item_is_kept_forgets_that_one(sitting: Sitting, kept: Kept) -> None:
    show(sitting, LOOKS)
    sitting.press("1")
    sitting.press("u")
    assert kept.log == [("keep", "glass"), ("forget", "glass1")]
    assert sitting.counts == {}
