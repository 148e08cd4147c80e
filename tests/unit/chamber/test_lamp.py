"""A chamber with a lamp: drawn scenes that look different with the lamp on, and real Chambers."""

from __future__ import annotations

import numpy as np
import pytest
from chamber_scenes import HEIGHT, WIDTH, Scene, empty, with_can

from bin_daemon.chamber.crop import is_same
from bin_daemon.chamber.lamp import LampChamber
from bin_daemon.config.hardware import Light
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.messages import Frame, Observation, View

LINGER_S, WARMUP_S = 2.0, 0.3
LIGHT = Light(pin=17, when="looking", linger_s=LINGER_S, warmup_s=WARMUP_S)
NIGHT, DAY = 0.0, 0.25
HALF = (slice(None, None, 2), slice(None, None, 2))  # of the pixels: a quarter of the time
_NOISE = np.random.default_rng(1).normal(0, 2, (HEIGHT, WIDTH, 3)).astype(np.float32)


class Room:
    """A chamber under daylight from the left and a lamp in the middle, at 10 frames a second."""

    def __init__(self, day: float, start: bool = True) -> None:
        self.day = day
        self.lamp = True
        self.lit = 0  # how often the lamp was switched on
        self.busy = False
        self.now = 100.0
        self._random = np.random.default_rng(2)
        self._side = np.linspace(1.3, 0.7, WIDTH // 2, dtype=np.float32)[None, :, None]
        self.chamber = self.new_chamber()
        if start:
            self.see(empty(), 5.0)
            assert not self.lamp

    def new_chamber(self) -> LampChamber:
        self.lamp = True
        return LampChamber(ChamberSection(), LIGHT, self._switch, lambda: self.busy)

    def see(self, scene: Scene, seconds: float) -> list[Observation]:
        """What comes of a scene that lasts so long."""
        return [self._frame(scene) for _ in range(round(seconds * 10))]

    def _frame(self, scene: Scene) -> Observation:
        lit = scene[HALF] * (self.day * self._side + (1.0 if self.lamp else 0.0))
        y, x = self._random.integers(0, 200, 2)
        lit += _NOISE[y : y + HEIGHT // 2, x : x + WIDTH // 2]
        frame = Frame(np.clip(lit, 0, 255).astype(np.uint8), self.now, round(self.now * 10))
        self.now += 0.1
        return self.chamber.observe(frame)

    def _switch(self, on: bool) -> None:
        self.lit += on and not self.lamp
        self.lamp = on


def views(seen: list[Observation]) -> list[View]:
    """The views in their order, each run of equal ones once."""
    kinds = [observation.view for observation in seen]
    return [kind for i, kind in enumerate(kinds) if i == 0 or kinds[i - 1] is not kind]


@pytest.fixture
def night() -> Room:
    return Room(NIGHT)


@pytest.fixture(scope="module")
def settled_day() -> Room:
    room = Room(DAY, start=False)
    room.see(empty(), 12.0)
    return room


@pytest.fixture
def day(settled_day) -> Room:
    settled_day.see(empty(), 8.0)
    assert not settled_day.lamp
    return settled_day


def test_at_the_start_the_lit_view_is_learnt_then_the_lamp_goes_out(night):
    room = Room(NIGHT, start=False)
    seen = room.see(empty(), 1.0)
    assert views(seen) == [View.LEARNING, View.EMPTY]
    assert room.lamp
    assert views(room.see(empty(), 4.0)) == [View.EMPTY]
    assert not room.lamp


def test_without_daylight_the_dark_is_no_fault_for_as_long_as_it_lasts(night):
    assert views(night.see(with_can(empty()), 10.0)) == [View.EMPTY]
    assert not night.lamp


def test_a_sensor_wakes_the_lamp_and_the_lit_chamber_judges(night):
    night.busy = True
    seen = night.see(with_can(empty()), 0.3)
    night.busy = False
    seen += night.see(with_can(empty()), 2.0)

    assert night.lamp
    assert views(seen) == [View.MOVING, View.ITEM]
    coming_s = sum(observation.reason == "the lamp goes on" for observation in seen) / 10
    assert coming_s == pytest.approx(WARMUP_S, abs=0.11)
    assert is_same(seen[-2].item, seen[-1].item)


def test_the_lamp_lingers_after_the_item_has_gone_then_goes_out(night):
    night.busy = True
    night.see(with_can(empty()), 1.5)
    night.busy = False

    assert views(night.see(empty(), LINGER_S)) == [View.EMPTY]
    assert night.lamp
    night.see(empty(), 0.3)
    assert not night.lamp


def test_the_lamp_stays_on_while_something_is_there_or_the_chute_moves(night):
    night.busy = True
    night.see(empty(), 2 * LINGER_S)
    night.see(with_can(empty()), 0.5)
    night.busy = False
    night.see(with_can(empty()), 2 * LINGER_S)

    assert night.lamp
    assert night.lit == 1


def test_a_sensor_wakes_the_lamp_even_while_it_is_going_out(night):
    night.busy = True
    night.see(empty(), 0.1)
    night.busy = False
    while night.lamp:
        night.see(empty(), 0.1)
    night.busy = True
    (seen,) = night.see(empty(), 0.1)

    assert night.lamp
    assert seen.view is View.MOVING


def test_in_daylight_the_dark_view_is_learnt_and_looked_at_once_in_the_light():
    room = Room(DAY, start=False)

    seen = views(room.see(empty(), 15.0))

    assert seen[:4] == [View.LEARNING, View.EMPTY, View.LEARNING, View.MOVING]
    assert set(seen[4:]) == {View.EMPTY}
    assert room.lit == 1
    assert not room.lamp


def test_in_daylight_an_item_is_seen_without_any_sensor(day):
    assert views(day.see(empty(), 3.0)) == [View.EMPTY]
    seen = day.see(with_can(empty()), 3.0)

    assert day.lamp
    assert views(seen) == [View.MOVING, View.ITEM]
    assert not seen[0].item


def test_nothing_stirs_when_the_lamp_goes_out_in_daylight(day):
    day.see(with_can(empty()), 2.0)

    assert views(day.see(empty(), LINGER_S + 4.0)) == [View.EMPTY]
    assert not day.lamp


def test_an_item_that_was_thrown_in_while_the_dark_view_was_learnt_is_found(day):
    day.chamber.learn()
    day.see(empty(), 0.5)
    while day.lamp:
        day.see(empty(), 0.1)

    seen = day.see(with_can(empty()), 6.0)

    assert View.ITEM in views(seen)
    assert views(day.see(empty(), 15.0))[-1] is View.EMPTY
    assert views(day.see(with_can(empty()), 2.0)) == [View.MOVING, View.ITEM]


def test_a_dark_view_that_fits_no_more_costs_one_false_alarm_and_one_look(day):
    shaded = empty()
    shaded[100:300, 100:300] *= 0.4  # by the sun alone: the lamp shows nothing of it
    before = day.lit
    for _ in range(250):
        day.see(empty() if day.lamp else shaded, 0.1)

    assert day.lit - before == 2
    assert views(day.see(shaded, 5.0)) == [View.EMPTY]


def test_the_evening_and_the_morning_are_no_items(day):
    for level in (*np.linspace(DAY, 0, 20), *np.linspace(0, DAY, 20)):
        day.day = float(level)
        kinds = views(day.see(empty(), 1.0))
        assert View.ITEM not in kinds
        assert View.BLOCKED not in kinds
    day.see(empty(), 10.0)

    assert not day.lamp
    assert views(day.see(with_can(empty()), 3.0))[-1] is View.ITEM


def test_both_views_are_kept_for_the_next_start(day, tmp_path):
    path = tmp_path / "reference.npz"
    day.chamber.save(path)
    again = Room(DAY, start=False)
    again.chamber = again.new_chamber()

    assert again.chamber.load(path)
    assert {file.name for file in tmp_path.iterdir()} == {"reference.npz", "reference-dark.npz"}
    assert np.array_equal(again.chamber.reference, day.chamber.reference)
    assert views(again.see(empty(), LINGER_S + 3.0)) == [View.EMPTY]
    assert not again.lamp
    assert views(again.see(with_can(empty()), 3.0)) == [View.MOVING, View.ITEM]


def test_a_dark_view_that_was_never_seen_is_not_kept(night, tmp_path):
    night.chamber.save(tmp_path / "reference.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["reference.npz"]


def test_it_can_be_woken_and_falls_asleep_again(night):
    night.chamber.wake()
    assert night.lamp
    assert views(night.see(empty(), LINGER_S + 1.0)) == [View.MOVING, View.EMPTY]
    assert not night.lamp


def test_learning_again_begins_in_the_light(night):
    night.chamber.learn()
    assert night.lamp
    assert views(night.see(empty(), 2.0)) == [View.MOVING, View.LEARNING, View.EMPTY]
