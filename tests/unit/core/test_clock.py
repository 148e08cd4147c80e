"""Time that is moved by hand, and the identifiers made from time."""

import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bin_daemon.core.clock import SimulatedClock, SystemClock, boot_id, uuid7


def test_a_simulated_clock_moves_only_when_it_is_slept_on():
    clock = SimulatedClock(10.0, wall=1000.0)
    clock.sleep(0.25)
    assert clock.monotonic() == 10.25
    assert clock.time() == 1000.25


def test_watchers_are_called_once_for_each_period_of_a_servo():
    clock, seen = SimulatedClock(), []
    clock.watchers.append(lambda: seen.append(clock.monotonic()))
    clock.sleep(0.1)
    assert seen == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])


@given(st.lists(st.floats(-1, 5), max_size=20))
def test_a_simulated_clock_never_goes_backwards_and_adds_up(naps):
    clock = SimulatedClock()
    before = 0.0
    for nap in naps:
        clock.sleep(nap)
        assert clock.monotonic() >= before
        before = clock.monotonic()
    assert before == pytest.approx(sum(nap for nap in naps if nap > 0))


def test_the_system_clock_sleeps_as_long_as_it_says():
    clock = SystemClock()
    before = clock.monotonic()
    clock.sleep(0.02)
    clock.sleep(-1)
    assert clock.monotonic() - before >= 0.02
    assert abs(clock.time() - time.time()) < 1


def test_ids_are_version_7_and_sort_by_time():
    earlier, later = uuid7(1000.0), uuid7(1000.002)
    assert uuid.UUID(earlier).version == 7
    assert uuid.UUID(earlier).variant == uuid.RFC_4122
    assert earlier < later
    assert len({uuid7(1000.0) for _ in range(1000)}) == 1000


def test_the_boot_has_an_id():
    assert uuid.UUID(boot_id())
