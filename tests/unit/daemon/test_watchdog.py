"""Whether a part that stalls is found, and one that only seems to is left alone."""

from __future__ import annotations

import dataclasses

import pytest

from bin_daemon.config.load import load_config
from bin_daemon.config.sections import Light
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.errors import StalledError
from bin_daemon.daemon.watchdog import Supervisor, longest_pass_s


@pytest.fixture
def clock():
    return SimulatedClock()


def test_parts_that_beat_are_never_late(clock):
    supervisor = Supervisor({"chute": 1.0, "mailman": 60.0}, clock)
    for _ in range(100):
        clock.sleep(0.1)
        supervisor.check({"chute": clock.monotonic(), "mailman": clock.monotonic() - 0.5})


def test_a_part_that_stops_is_late_after_its_own_deadline(clock):
    supervisor = Supervisor({"chute": 1.0, "mailman": 60.0}, clock)
    supervisor.check({"chute": 0.0, "mailman": 0.0})
    for _ in range(9):
        clock.sleep(0.1)
        supervisor.check({"chute": 0.0, "mailman": clock.monotonic()})
    with pytest.raises(StalledError, match="the part 'chute' has given no sign of life for 1.1 s"):
        for _ in range(3):
            clock.sleep(0.1)
            supervisor.check({"chute": 0.0, "mailman": clock.monotonic()})


def test_a_part_that_beats_again_in_time_starts_anew(clock):
    supervisor = Supervisor({"chute": 1.0}, clock)
    for beat in (0.0, 0.9, 1.8, 2.7):
        supervisor.check({"chute": beat})
        clock.sleep(0.9)


def test_a_machine_that_stood_still_is_no_stalled_part(clock):
    supervisor = Supervisor({"chute": 1.0}, clock)
    supervisor.check({"chute": 0.0})
    clock.sleep(500)
    supervisor.check({"chute": 0.0})
    clock.sleep(0.1)
    supervisor.check({"chute": 500.05})


def test_slow_passes_find_a_stalled_part_all_the_same(clock):
    supervisor = Supervisor({"chute": 1.0}, clock)
    supervisor.check({"chute": 0.0})
    with pytest.raises(StalledError):
        for _ in range(3):
            clock.sleep(5)
            supervisor.check({"chute": 0.0})


def test_the_longest_pass_follows_the_camera():
    camera = load_config("simulator").camera
    assert longest_pass_s(camera) == pytest.approx(3 * 2 + 0.1 + 16 + 2)
    assert longest_pass_s(dataclasses.replace(camera, deadline_s=60)) > 190


def test_the_longest_pass_waits_for_the_lamp_too():
    camera = load_config("simulator").camera
    lamp = Light(pin=17, warmup_s=10)
    assert longest_pass_s(camera, lamp) == pytest.approx(longest_pass_s(camera) + 10)
