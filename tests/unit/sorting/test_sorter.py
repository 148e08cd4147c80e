"""The sort cycle, told frame by frame."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bin_daemon.core.messages import (
    Item,
    Observation,
    Outcome,
    Prediction,
    Readings,
    View,
)
from bin_daemon.sorting.actions import Decide, Finish, Freeze, Look, Move, Raise, Resolve, Thaw
from bin_daemon.sorting.decision import Policy
from bin_daemon.sorting.sorter import Sorter, State

LABELS = ("glass", "paper")
CROP = np.zeros((8, 8, 3), dtype=np.uint8)
MASK = np.ones((4, 4), dtype=bool)
SHUT = Readings()
OPEN_LID = Readings(lid_open=True)
BROKEN_BEAM = Readings(beam_broken=True)


def item(x: int = 10) -> Item:
    return Item(CROP, (x, 10, 50, 50), MASK, 0.1, (0.5, 0.5))


def policy(threshold: float) -> Policy:
    cost = np.array([[0, 1], [4, 0]], np.float32)
    thresholds = np.full(2, threshold, np.float32)
    return Policy(LABELS, ("glass", "residual"), 1, (0, 1), cost, thresholds)


class Bin:
    """A sorter with a chute that takes two frames for a route, driven frame by frame."""

    def __init__(self, looks: int = 2, rejected: bool = False, **options) -> None:
        self.sorter = Sorter(
            policy(0.95 if rejected else 0.5),
            is_same=lambda a, b: a.box == b.box,
            looks=looks,
            clear_s=0.3,
            **options,
        )
        self.now = 0.0
        self.moving = 0
        self.log: list = []

    def see(self, *views, readings: Readings = SHUT, what: Item | None = None) -> list:
        """Feed one frame for each view; returns the actions of all of them."""
        happened = []
        for view in views:
            self.now += 0.1
            thing = (what or item()) if view in (View.ITEM, View.ITEMS) else None
            frozen = self.sorter.frozen
            self.moving = max(0, self.moving - (0 if frozen else 1))
            idle = self.moving == 0
            actions = self.sorter.step(Observation(view, self.now, thing), readings, idle)
            for action in list(actions):
                if isinstance(action, Look):
                    answer = Prediction(LABELS, np.array([0.9, 0.1], np.float32), CROP, {})
                    actions += self.sorter.looked(answer, readings, idle, self.now)
            for action in actions:
                if isinstance(action, Move):
                    self.moving = 2
            happened += actions
        self.log += happened
        return happened

    def kinds(self, of: list) -> list[str]:
        return [type(action).__name__ for action in of]


@pytest.fixture
def waiting() -> Bin:
    one = Bin()
    one.see(View.LEARNING, View.EMPTY, View.EMPTY)
    return one


def test_an_idle_bin_never_looks(waiting):
    assert waiting.see(*[View.EMPTY] * 50) == []
    assert waiting.sorter.state is State.WAITING


def test_one_item_is_one_decision_one_move_and_one_finish(waiting):
    happened = waiting.see(
        View.MOVING, View.MOVING, View.ITEM, View.ITEM, View.ITEM, View.MOVING, View.EMPTY
    )
    assert waiting.kinds(happened) == ["Look", "Look", "Decide", "Move", "Finish"]
    assert happened[-1].outcome is Outcome.SORTED
    assert waiting.sorter.state is State.WAITING


def test_the_decision_is_stored_before_anything_moves(waiting):
    happened = waiting.see(View.MOVING, View.ITEM, View.ITEM)
    assert waiting.kinds(happened)[-2:] == ["Decide", "Move"]


def test_the_time_to_settle_and_to_look_is_reported(waiting):
    happened = waiting.see(View.MOVING, View.MOVING, View.ITEM, View.ITEM)
    decision = next(a for a in happened if isinstance(a, Decide))
    assert decision.timings_ms["settle"] == pytest.approx(200)
    assert decision.timings_ms["look"] == pytest.approx(100)


def test_an_item_that_moves_again_is_looked_at_afresh(waiting):
    happened = waiting.see(View.ITEM, View.MOVING, View.ITEM)
    assert waiting.kinds(happened) == ["Look", "Look"]
    assert waiting.sorter.state is State.LOOKING


def test_an_item_taken_out_again_leaves_no_event(waiting):
    waiting.see(View.MOVING, View.ITEM, View.EMPTY)
    assert not any(isinstance(a, Decide) for a in waiting.log)
    assert waiting.sorter.state is State.WAITING


def test_two_items_are_told_to_the_decision(waiting):
    happened = waiting.see(View.ITEMS, View.ITEM)
    assert next(a for a in happened if isinstance(a, Move)).route == "residual"


def test_a_rejected_item_ends_as_rejected():
    one = Bin(rejected=True)
    happened = one.see(View.ITEM, View.ITEM, View.EMPTY, View.EMPTY, View.EMPTY)
    assert happened[-1] == Finish(Outcome.REJECTED, happened[-1].timings_ms)


def test_a_hand_before_the_decision_means_no_look_and_no_move(waiting):
    happened = waiting.see(View.MOVING, View.ITEM, View.HAND, View.HAND)
    assert waiting.kinds(happened) == ["Look", "Freeze"]
    assert waiting.kinds(waiting.see(View.EMPTY)) == ["Thaw"]


def test_a_hand_during_the_move_freezes_it_and_no_jam_is_reported(waiting):
    waiting.see(View.ITEM, View.ITEM)
    happened = waiting.see(*[View.HAND] * 30)
    assert waiting.kinds(happened) == ["Freeze"]
    assert waiting.sorter.state is State.SORTING
    happened = waiting.see(View.ITEM, View.ITEM, View.EMPTY, View.EMPTY)
    assert waiting.kinds(happened) == ["Thaw", "Finish"]


def test_an_open_lid_while_the_item_should_leave_is_no_jam(waiting):
    waiting.see(View.ITEM, View.ITEM, View.MOVING, View.MOVING)
    assert waiting.sorter.state is State.CLEARING
    happened = waiting.see(*[View.ITEM] * 30, readings=OPEN_LID)
    assert waiting.kinds(happened) == ["Freeze"]


def test_nothing_is_decided_while_the_lid_is_open(waiting):
    happened = waiting.see(*[View.ITEM] * 10, readings=OPEN_LID)
    assert happened == [Freeze("the lid is open")]
    assert waiting.sorter.state is State.WAITING


def test_a_broken_beam_holds_motion_until_it_is_free(waiting):
    waiting.see(View.ITEM, View.ITEM)
    happened = waiting.see(*[View.ITEM] * 20, readings=BROKEN_BEAM)
    assert happened == [Freeze("something reaches through the opening")]
    assert waiting.sorter.state is State.SORTING
    happened = waiting.see(View.ITEM, View.EMPTY, View.EMPTY)
    assert waiting.kinds(happened) == ["Thaw", "Finish"]


def test_a_lid_that_stays_open_is_reported_once_and_resolved(waiting):
    happened = waiting.see(*[View.EMPTY] * 1300, readings=OPEN_LID)
    assert [a.kind for a in happened if isinstance(a, Raise)] == ["held"]
    assert waiting.see(View.EMPTY) == [Thaw(), Resolve("held")]


def test_a_stuck_item_is_tried_once_more_gently_then_reported(waiting):
    waiting.see(View.ITEM, View.ITEM)
    happened = waiting.see(*[View.ITEM] * 30)
    assert [a for a in happened if isinstance(a, Move)] == [Move("glass", gentle=True)]
    assert [a.outcome for a in happened if isinstance(a, Finish)] == [Outcome.JAMMED]
    assert [a.kind for a in happened if isinstance(a, Raise)] == ["jam"]
    assert waiting.sorter.state is State.JAMMED


def test_a_jammed_bin_does_nothing_until_the_item_is_taken_out(waiting):
    waiting.see(*[View.ITEM] * 40)
    assert waiting.see(*[View.ITEM] * 20, View.MOVING) == []
    assert waiting.see(View.EMPTY) == [Resolve("jam")]
    assert waiting.sorter.state is State.WAITING


def test_an_operator_can_clear_a_jam(waiting):
    waiting.see(*[View.ITEM] * 40)
    assert waiting.sorter.clear() == [Resolve("jam")]
    assert waiting.sorter.clear() == []


def test_the_next_item_right_behind_is_not_a_jam(waiting):
    waiting.see(View.ITEM, View.ITEM, View.MOVING, View.MOVING)
    happened = waiting.see(*[View.ITEM] * 8, what=item(200))
    assert waiting.kinds(happened)[:1] == ["Finish"]
    assert sum(isinstance(a, Decide) for a in waiting.log) == 2
    assert not any(isinstance(a, Raise) for a in waiting.log)


def test_a_blocked_view_is_reported_only_when_it_stays(waiting):
    assert waiting.see(*[View.BLOCKED] * 20) == []
    assert waiting.sorter.state is State.BLOCKED
    happened = waiting.see(*[View.BLOCKED] * 60)
    assert [a.kind for a in happened] == ["blocked"]
    assert waiting.see(*[View.EMPTY] * 7) == [Resolve("blocked")]
    assert waiting.sorter.state is State.WAITING


def test_a_view_that_flickers_stays_blocked(waiting):
    waiting.see(View.BLOCKED)
    for _ in range(10):
        assert waiting.see(View.EMPTY, View.ITEM, View.BLOCKED) == []
        assert waiting.sorter.state is State.BLOCKED


def test_a_view_that_goes_dark_after_the_move_ends_as_interrupted(waiting):
    waiting.see(View.ITEM, View.ITEM, View.MOVING, View.MOVING)
    happened = waiting.see(*[View.BLOCKED] * 60)
    assert [a.outcome for a in happened if isinstance(a, Finish)] == [Outcome.INTERRUPTED]


def test_something_that_never_rests_is_reported_once_and_resolved(waiting):
    happened = waiting.see(*[View.MOVING] * 1300)
    assert [a.kind for a in happened if isinstance(a, Raise)] == ["unrest"]
    assert waiting.see(View.EMPTY) == [Resolve("unrest")]


def test_unrest_after_the_move_ends_as_interrupted(waiting):
    waiting.see(View.ITEM, View.ITEM, View.MOVING, View.MOVING)
    happened = waiting.see(*[View.MOVING] * 700)
    assert [a.outcome for a in happened if isinstance(a, Finish)] == [Outcome.INTERRUPTED]
    assert waiting.sorter.state is State.SETTLING


def test_pausing_finishes_the_item_under_way_first(waiting):
    waiting.see(View.ITEM, View.ITEM)
    waiting.sorter.pause()
    happened = waiting.see(View.MOVING, View.MOVING, View.EMPTY)
    assert waiting.kinds(happened) == ["Finish"]
    assert waiting.sorter.state is State.PAUSED
    assert waiting.see(*[View.ITEM] * 10) == []
    waiting.sorter.resume()
    assert waiting.kinds(waiting.see(View.ITEM)) == ["Look"]


def test_a_chute_that_is_still_homing_gets_its_item_later(waiting):
    waiting.moving = 6
    happened = waiting.see(*[View.ITEM] * 4)
    assert waiting.kinds(happened) == ["Look"] * 4
    happened = waiting.see(*[View.ITEM] * 3)
    assert "Move" in waiting.kinds(happened)
    assert next(a for a in happened if isinstance(a, Decide)).looks == 2


def test_a_chute_in_view_is_not_taken_for_a_hand():
    one = Bin(chute_in_view=True)
    one.see(View.ITEM, View.ITEM)
    assert one.see(View.HAND) == []
    one.see(View.EMPTY, View.EMPTY)
    assert one.see(View.HAND) == [Freeze("a hand is in view")]


views = st.lists(st.tuples(st.sampled_from(list(View)), st.booleans()), min_size=1, max_size=120)


@settings(deadline=None)
@given(views, st.integers(1, 4))
def test_whatever_happens_the_books_balance(sequence, looks):
    one = Bin(looks=looks)
    frozen = False
    open_events = 0
    for view, lid in sequence:
        for action in one.see(view, readings=OPEN_LID if lid else Readings()):
            match action:
                case Freeze():
                    assert not frozen
                    frozen = True
                case Thaw():
                    assert frozen
                    frozen = False
                case Decide():
                    assert open_events == 0
                    open_events = 1
                case Finish():
                    assert open_events == 1
                    open_events = 0
                case Move():
                    assert not frozen
                    assert open_events == 1
        if lid:
            assert frozen
    moves = sum(isinstance(a, Move) for a in one.log)
    decisions = sum(isinstance(a, Decide) for a in one.log)
    assert decisions <= moves <= 2 * decisions
