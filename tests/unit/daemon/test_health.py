"""Figures of the machine and the frame rate."""

import pytest

from bin_daemon.core.clock import SimulatedClock
from bin_daemon.daemon.health import (
    Monitor,
    disk_free_mb,
    temperature_c,
    throttle_bits,
    throttle_words,
)
from bin_daemon.store.history import StoreStats


def test_the_temperature_is_read_in_degrees(tmp_path):
    (tmp_path / "temp").write_text("48312\n")
    assert temperature_c(tmp_path / "temp") == pytest.approx(48.312)
    assert temperature_c(tmp_path / "none") is None


@pytest.mark.parametrize(("text", "bits"), [("0\n", 0), ("50005", 0x50005), ("no number", None)])
def test_throttling_is_read_as_bits(tmp_path, text, bits):
    (tmp_path / "throttled").write_text(text)
    assert throttle_bits(tmp_path / "throttled") == bits


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0, ""),
        (
            0x50005,
            "under-voltage, throttled, under-voltage has occurred, throttling has occurred",
        ),
    ],
)
def test_throttling_has_words_for_people(bits, words):
    assert throttle_words(bits) == words


def test_free_space_is_reported_where_there_is_a_disk(tmp_path):
    assert disk_free_mb(tmp_path) > 0
    assert disk_free_mb(tmp_path / "none") is None


def test_the_pace_and_age_of_frames_are_counted(tmp_path):
    clock = SimulatedClock(wall=1.8e9)
    monitor = Monitor(tmp_path, clock)
    assert monitor.fps == 0
    for _ in range(11):
        clock.sleep(0.1)
        monitor.frame(clock.monotonic())
    clock.sleep(0.5)
    found = monitor.health(
        StoreStats(depth=2, oldest_at=1.8e9 - 3, refused=0, dropped=4), ("a problem",)
    )
    assert found.camera_fps == pytest.approx(10)
    assert found.frame_age_s == pytest.approx(0.5)
    assert found.uptime_s == pytest.approx(1.6)
    assert (found.outbox_depth, found.events_dropped, found.problems) == (2, 4, ("a problem",))
    assert found.outbox_oldest_s == pytest.approx(4.6)
