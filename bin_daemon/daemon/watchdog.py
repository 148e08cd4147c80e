"""Whether every part of the daemon still makes progress, and what systemd is told of it.

The times at which the parts last gave a sign of life flow in, once for each pass of the main loop;
a `StalledError` flows out where one missed its deadline, else a message to systemd's watchdog. It
has no thread and no timer of its own, and restarts nothing: that is systemd's business.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

from bin_daemon.config.hardware import Light
from bin_daemon.config.sections import CameraSection
from bin_daemon.core.clock import Clock
from bin_daemon.core.errors import StalledError

# How long each part may be silent, in seconds: the chute ticks every 20 ms, the fill thread loops
# twice a second unless the pin library is slow, and a worn card may need many seconds for a write.
DEADLINES_S = {"chute": 1.0, "fill": 10.0, "telemetry": 60.0}
REOPEN_S = 16.0  # a camera is closed, opened and gives its first frame: by the bounds in `camera`


def longest_pass_s(camera: CameraSection, light: Light | None = None) -> float:
    """How long a pass of the main loop may take, in seconds.

    In the worst one a capture fails at its deadline and the camera is reopened once the lamp is
    steady, with a first frame and a last one of the warm-up that come just in time.
    """
    warmup_s = camera.warmup_s + (light.warmup_s if light else 0.0)
    return 3 * camera.deadline_s + 1 / camera.fps + REOPEN_S + warmup_s


class Supervisor:
    """Counts how long each part has been silent.

    deadlines_s: by part, seconds. clock: the one that the beats are stamped with.
    """

    def __init__(self, deadlines_s: Mapping[str, float], clock: Clock) -> None:
        self._deadlines_s, self._clock = deadlines_s, clock
        self._passed_at = clock.monotonic()
        self._heard: dict[str, tuple[float, float]] = {}  # last beat, and silent for how long since

    def check(self, beats: Mapping[str, float]) -> None:
        """One pass: every part that is up, with the monotonic time of its last beat.

        Raises StalledError for a part that has been silent for longer than its deadline. A pass
        that comes late counts for half of a deadline at most: a machine that stood still (swap, a
        stopped process) must not look like a part that does.
        """
        now = self._clock.monotonic()
        passed_s, self._passed_at = now - self._passed_at, now
        for part, beat in beats.items():
            deadline_s = self._deadlines_s[part]
            last, silent_s = self._heard.get(part, (None, 0.0))
            silent_s = silent_s + min(passed_s, deadline_s / 2) if beat == last else 0.0
            self._heard[part] = beat, silent_s
            if silent_s > deadline_s:
                raise StalledError(
                    f"the part '{part}' has given no sign of life for {silent_s:.1f} s "
                    f"(its deadline is {deadline_s:g} s); the daemon has to restart"
                )


def notify(message: str) -> None:
    """Send systemd a line such as "READY=1", where NOTIFY_SOCKET names its socket (sd_notify(3)).

    Never raises: a bin started by hand has nobody to tell.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as channel:
        channel.connect(address)
        channel.sendall(message.encode())


class Watchdog:
    """Tells systemd that the daemon makes progress, where the unit has a `WatchdogSec`.

    longest_pass_s: the longest time between two calls of `feed` that is still in order. Where the
    unit allows less, systemd is asked to allow that and a quarter (sd_notify(3), WATCHDOG_USEC).
    """

    def __init__(self, clock: Clock, longest_pass_s: float) -> None:
        self._clock = clock
        self._limit_s = self._due = self._pause_s = 0.0
        usec = os.environ.get("WATCHDOG_USEC", "")
        own = str(os.getpid())
        if usec.isdecimal() and os.environ.get("WATCHDOG_PID", own) == own:
            self._limit_s = int(usec) / 1e6
            if longest_pass_s > self._limit_s:
                self._limit_s = longest_pass_s * 1.25
                notify(f"WATCHDOG_USEC={int(self._limit_s * 1e6)}")
            # A longest pass may begin just before the next message is due.
            self._pause_s = min(self._limit_s / 4, self._limit_s - longest_pass_s)

    def feed(self, *, at_once: bool = False) -> None:
        """All is well: tells systemd at least four times within the time that it waits.

        at_once: tell it now, since the next step takes long.
        """
        now = self._clock.monotonic()
        if self._limit_s and (at_once or now >= self._due):
            self._due = now + self._pause_s
            notify("WATCHDOG=1")
