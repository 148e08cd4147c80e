"""Figures of the machine, and the word to systemd on a real socket."""

import os
import socket

import pytest

from bin_daemon.core.clock import SimulatedClock
from bin_daemon.daemon.health import (
    Monitor,
    Watchdog,
    disk_free_mb,
    notify,
    temperature_c,
    throttle_bits,
    throttle_words,
)


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(os.fspath(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def test_systemd_gets_the_message(manager, tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", os.fspath(tmp_path / "notify"))
    assert notify("READY=1")
    assert manager.recv(100) == b"READY=1"


def test_an_abstract_socket_is_understood(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0bin-daemon-test-{os.getpid()}")
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@bin-daemon-test-{os.getpid()}")
        assert notify("READY=1")
        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_nobody_listening_is_no_fault(address, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify("READY=1")


@pytest.fixture
def watchdog(manager, tmp_path, monkeypatch):
    """Makes a watchdog under a manager that waits 8 s; gives it and what the manager hears."""
    monkeypatch.setenv("NOTIFY_SOCKET", os.fspath(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "8000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    manager.settimeout(0)

    def heard() -> list[bytes]:
        found = []
        while True:
            try:
                found.append(manager.recv(100))
            except BlockingIOError:
                return found

    return lambda clock, longest_s: Watchdog(clock, longest_s), heard


def test_the_watchdog_is_fed_four_times_in_its_time(watchdog):
    make, heard = watchdog
    clock = SimulatedClock()
    dog = make(clock, 5.0)
    for _ in range(100):
        dog.feed()
        clock.sleep(0.1)
    assert heard() == [b"WATCHDOG=1"] * 5  # at 0, 2, 4, 6 and 8 s


def test_an_impatient_watchdog_is_told_how_long_a_pass_may_take(watchdog):
    make, heard = watchdog
    make(SimulatedClock(), 12.0)
    assert heard() == [b"WATCHDOG_USEC=15000000"]


@pytest.mark.parametrize("longest_s", [5.0, 7.5, 12.0])
def test_a_longest_pass_right_after_an_unheard_feeding_is_still_in_time(watchdog, longest_s):
    make, heard = watchdog
    clock = SimulatedClock()
    dog = make(clock, longest_s)
    limit_s = max(8.0, 1.25 * longest_s)
    heard()
    dog.feed()
    told_at = clock.monotonic()
    while True:
        clock.sleep(0.1)
        heard()
        dog.feed()
        if heard():
            break
        unheard_at = clock.monotonic()
        assert unheard_at - told_at + longest_s <= limit_s


@pytest.mark.parametrize(
    ("name", "value"), [("WATCHDOG_USEC", ""), ("WATCHDOG_USEC", "x"), ("WATCHDOG_PID", "1")]
)
def test_a_watchdog_of_nobody_or_of_another_process_is_not_fed(watchdog, monkeypatch, name, value):
    make, heard = watchdog
    monkeypatch.setenv(name, value)
    make(SimulatedClock(), 12.0).feed()
    assert heard() == []


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


def test_free_space_is_told_where_there_is_a_disk(tmp_path):
    assert disk_free_mb(tmp_path) > 0
    assert disk_free_mb(tmp_path / "none") is None


def test_the_pace_and_age_of_frames_are_counted(tmp_path):
    clock = SimulatedClock()
    monitor = Monitor(tmp_path, clock)
    assert monitor.fps == 0
    for _ in range(11):
        clock.sleep(0.1)
        monitor.frame(clock.monotonic())
    clock.sleep(0.5)
    found = monitor.health(("a problem",), outbox_depth=2, outbox_oldest_s=3.0, events_dropped=4)
    assert found.camera_fps == pytest.approx(10)
    assert found.frame_age_s == pytest.approx(0.5)
    assert found.uptime_s == pytest.approx(1.6)
    assert (found.outbox_depth, found.events_dropped, found.problems) == (2, 4, ("a problem",))
