"""A part that stalls is found, one that only seems to is left alone; systemd on a real socket."""

from __future__ import annotations

import dataclasses
import os
import socket

import pytest

from bin_daemon.config.hardware import Light
from bin_daemon.config.load import load_config
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.errors import StalledError
from bin_daemon.daemon.watchdog import Supervisor, Watchdog, longest_pass_s, notify


@pytest.fixture
def clock():
    return SimulatedClock()


def test_parts_that_beat_are_never_late(clock):
    supervisor = Supervisor({"chute": 1.0, "telemetry": 60.0}, clock)
    for _ in range(100):
        clock.sleep(0.1)
        supervisor.check({"chute": clock.monotonic(), "telemetry": clock.monotonic() - 0.5})


def test_a_part_that_stops_is_late_after_its_own_deadline(clock):
    supervisor = Supervisor({"chute": 1.0, "telemetry": 60.0}, clock)
    supervisor.check({"chute": 0.0, "telemetry": 0.0})
    for _ in range(9):
        clock.sleep(0.1)
        supervisor.check({"chute": 0.0, "telemetry": clock.monotonic()})
    with pytest.raises(StalledError, match="the part 'chute' has given no sign of life for 1.1 s"):
        for _ in range(3):
            clock.sleep(0.1)
            supervisor.check({"chute": 0.0, "telemetry": clock.monotonic()})


def test_a_part_that_beats_again_in_time_starts_again(clock):
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


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(os.fspath(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


def test_systemd_gets_the_message(manager, tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", os.fspath(tmp_path / "notify"))
    notify("READY=1")
    assert manager.recv(100) == b"READY=1"


def test_an_abstract_socket_is_understood(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0bin-daemon-test-{os.getpid()}")
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@bin-daemon-test-{os.getpid()}")
        notify("READY=1")
        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_nobody_listening_is_no_fault(address, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


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
