"""One pass of the cycle: actions carried out in order, with parts that only take notes."""

from __future__ import annotations

import numpy as np
import pytest

from bin_daemon.chute.chute import ChuteState
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.errors import PictureError
from bin_daemon.core.messages import (
    Frame,
    Item,
    Observation,
    Outcome,
    Prediction,
    Readings,
    View,
)
from bin_daemon.daemon.cycle import Cycle, Machine
from bin_daemon.sorting.decision import Policy
from bin_daemon.sorting.sorter import Sorter, State

IMAGE = np.zeros((4, 4, 3), np.uint8)
ITEM = Item(IMAGE, (0, 0, 4, 4), np.ones((2, 2), np.bool_), 0.5, (0.5, 0.5))
LABELS = ("metal", "paper")
LOOKS = 3


class Parts:
    """Chamber, classifier, chute, sensors and outputs: what they were asked to do, in order."""

    def __init__(self) -> None:
        self.id = "m@1"
        self.calls: list[object] = []
        self.view = View.ITEM
        self.state = ChuteState.RESTING
        self.damaged = False
        self.looks = 0

    def observe(self, frame):
        item = ITEM if self.view is View.ITEM else None
        return Observation(self.view, frame.captured_at, item)

    def classify(self, image):
        if self.damaged:
            raise PictureError("no picture")
        self.looks += 1
        sure = np.float32([1 - self.looks / 10, self.looks / 10])
        return Prediction(LABELS, sure, np.zeros(0, np.float32), {"invoke": 2.0})

    def start(self, route, *, gentle):
        self.calls.append(("start", route, gentle))

    def read(self):
        return Readings()

    def show(self, mode):
        pass

    def beep(self, times):
        pass

    def decided(self, event):
        self.calls.append(("decided", event.label, event.looks))

    def completed(self, event_id, outcome, finished_at, timings_ms):
        self.calls.append(("completed", outcome))

    def on_state(self, state):
        self.calls.append(state)

    def on_decision(self, event, decision, item, prediction):
        self.calls.append(("on_decision", item, prediction.confidence))


HALF = np.full(2, 0.5, np.float32)
POLICY = Policy(LABELS, ("bin",), 0, (0, 0), np.zeros((2, 1), np.float32), HALF)


@pytest.fixture
def parts():
    return Parts()


@pytest.fixture
def cycle(parts):
    clock = SimulatedClock()
    machine = Machine(parts, parts, parts, parts, parts, clock)
    sorter = Sorter(POLICY, lambda a, b: True, looks=LOOKS)
    return Cycle(sorter, machine, parts, 1, parts.on_state, parts.on_decision)


def step(cycle, times=1):
    for number in range(times):
        cycle.step(Frame(IMAGE, number / 10, number))


def test_the_look_that_decides_is_followed_by_event_and_motion_in_the_same_pass(cycle, parts):
    step(cycle, LOOKS)

    assert parts.calls == [
        State.LOOKING,
        ("decided", "metal", LOOKS),
        ("on_decision", ITEM, pytest.approx(0.7)),  # the last of the looks
        ("start", "bin", False),
        State.SORTING,
    ]


def test_a_crop_that_cannot_be_used_costs_one_look_and_nothing_else(cycle, parts):
    step(cycle, LOOKS - 1)
    parts.damaged = True
    step(cycle, 5)
    before = list(parts.calls)
    parts.damaged = False
    step(cycle)

    assert before == [State.LOOKING]
    assert parts.calls[1] == ("decided", "metal", LOOKS)


def test_an_item_under_way_ends_as_interrupted_once(cycle, parts):
    step(cycle, LOOKS)
    cycle.interrupt()
    cycle.interrupt()

    assert parts.calls.count(("completed", Outcome.INTERRUPTED)) == 1
    assert cycle.counts == {"metal": 1}


def test_an_item_that_left_is_completed_and_the_next_one_decided_by_its_own_looks(cycle, parts):
    step(cycle, LOOKS + 1)
    parts.view = View.EMPTY
    step(cycle)
    parts.view = View.ITEM
    step(cycle, LOOKS)

    assert ("completed", Outcome.SORTED) in parts.calls
    confidences = [call[2] for call in parts.calls if call[0] == "on_decision"]
    assert confidences == [pytest.approx(0.7), pytest.approx(0.6)]
