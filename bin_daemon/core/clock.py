"""Time, and the identifiers made from it.

Everything that measures an interval or stamps an event takes a `Clock`. `SystemClock` is the real
one; `SimulatedClock` is moved by its owner, so that a replay runs as fast as the processor allows
and a test says what time it is. Neither ever goes backwards in `monotonic()`.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SYNCHRONIZED = Path("/run/systemd/timesync/synchronized")


class Clock(Protocol):
    """The three things anybody asks of time."""

    def monotonic(self) -> float:
        """Seconds since some start; never goes backwards."""

    def time(self) -> float:
        """Wall clock, Unix seconds."""

    def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed on this clock."""


class SystemClock:
    """The clock of the machine."""

    def monotonic(self) -> float:
        """Seconds since boot, less those that the machine slept."""
        return time.monotonic()

    def time(self) -> float:
        """As the machine has it: wrong after boot until it is set, see `clock_synced`."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait; a negative time is no time."""
        time.sleep(max(0.0, seconds))


class SimulatedClock:
    """A clock that stands still until it is moved: `sleep` moves it by what was asked.

    It moves in steps of at most STEP_S and calls every `watchers` function after each, so that
    what happens in between on a real machine (the chute's motion) happens here too.
    """

    STEP_S = 0.02  # one period of a servo

    def __init__(self, start: float = 0.0, wall: float | None = None) -> None:
        self._now = start
        self._wall_offset = (time.time() if wall is None else wall) - start
        self.watchers: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        """Seconds that this clock has been moved, from `start`."""
        return self._now

    def time(self) -> float:
        """Wall clock at the start, plus what has passed on this clock."""
        return self._now + self._wall_offset

    def sleep(self, seconds: float) -> None:
        """Move the clock on by `seconds`, at once."""
        until = self._now + max(0.0, seconds)
        while self._now < until:
            # The last step lands on the mark, free of what adding up steps would round.
            left = until - self._now
            self._now = until if left <= self.STEP_S else self._now + self.STEP_S
            for watcher in self.watchers:
                watcher()


def uuid7(unix_s: float) -> str:
    """A UUID version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, 74 random bits."""
    value = (int(unix_s * 1000) & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def boot_id() -> str:
    """The kernel's id of this boot; empty where the kernel tells none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def clock_synced() -> bool:
    """Whether the wall clock has been set from the network since boot.

    A Pi has no clock battery: before systemd-timesyncd touches its flag file the wall clock may be
    months old. A machine without timesyncd (chrony, a container) is taken at its word.
    """
    return _SYNCHRONIZED.exists() or not _SYNCHRONIZED.parent.exists()
