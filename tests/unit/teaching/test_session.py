"""What a session makes of keys that come at an awkward moment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bin_daemon.core.messages import Item, Observation, Prediction, View
from bin_daemon.teaching.session import SHOTS, Shot, Stage, TeachingSession

SHARES = np.array([0.4, 0.6], np.float32)
SHOT = Shot(np.zeros((8, 8, 3), np.uint8), Prediction(("glass", "metal"), SHARES, SHARES, {}))
ITEM = Item(SHOT.crop, (0, 0, 4, 4), np.ones((4, 4), bool), 0.1, (0.5, 0.5))


class Kept:
    """What a session keeps and forgets."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []

    def keep(self, looks: Sequence[Shot], label: str) -> Sequence[str]:
        self.log.append(("keep", label))
        return [f"{label}{len(self.log)}"]

    def forget(self, ids: Sequence[str]) -> None:
        self.log.append(("forget", *ids))


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def session(kept: Kept) -> TeachingSession:
    return TeachingSession(("glass", "metal"), kept)


def show(session: TeachingSession, frames: int) -> None:
    for _ in range(frames):
        if session.see(Observation(View.ITEM, 0.0, ITEM)):
            session.take(SHOT)


def take_out(session: TeachingSession) -> None:
    session.see(Observation(View.EMPTY, 0.0))


def test_an_item_is_kept_once_it_is_named_and_looked_at(
    session: TeachingSession, kept: Kept
) -> None:
    show(session, SHOTS)
    session.press("2")
    assert kept.log == [("keep", "metal")]
    assert session.stage is Stage.REMOVAL


def test_a_wrong_key_can_be_taken_back_before_the_last_look(
    session: TeachingSession, kept: Kept
) -> None:
    show(session, SHOTS)
    session.press("2")
    take_out(session)
    show(session, 1)
    session.press("1")
    session.press("u")
    assert session.said == "not kept; what is it?"
    show(session, SHOTS)
    session.press("2")
    assert kept.log == [("keep", "metal"), ("keep", "metal")]


def test_undo_after_an_item_is_kept_forgets_that_one(session: TeachingSession, kept: Kept) -> None:
    show(session, SHOTS)
    session.press("1")
    session.press("u")
    assert kept.log == [("keep", "glass"), ("forget", "glass1")]
    assert session.counts == {}
