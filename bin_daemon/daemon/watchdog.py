"""Whether every part of the daemon still makes progress.

The times at which the parts last gave a sign of life flow in, once for each pass of the main loop;
a `StalledError` flows out where one missed its deadline. It has no thread and no timer of its own,
and restarts nothing: that is systemd's business.
"""

from __future__ import annotations

from collections.abc import Mapping

from bin_daemon.config.sections import CameraSection, Light
from bin_daemon.core.clock import Clock
from bin_daemon.core.errors import StalledError

# How long each part may be silent, in seconds: the chute ticks every 20 ms, the fill thread comes
# round twice a second but for the pin library, and a worn card may take many seconds for a write.
DEADLINES_S = {"chute": 1.0, "fill": 10.0, "mailman": 60.0}

# Closing a camera, opening it and waiting for its first frame, by the bounds in `camera`.
REOPEN_S = 16.0


def longest_pass_s(camera: CameraSection, light: Light | None = None) -> float:
    """How long a pass of the main loop may take, in seconds.

    In the worst one a capture fails at its deadline and the camera is opened anew, once the lamp
    is steady, with a first frame and a last one of the warm-up that come just in time.
    """
    warmup_s = camera.warmup_s + (light.warmup_s if light else 0.0)
    return 3 * camera.deadline_s + 1 / camera.fps + REOPEN_S + warmup_s


class Supervisor:
    """Counts how long each part has been silent.

    deadlines_s: by part, seconds. clock: the one that the beats are stamped with.
    """

    def __init__(self, deadlines_s: Mapping[str, float], clock: Clock) -> None:
        self._deadlines_s = deadlines_s
        self._clock = clock
        self._passed_at = clock.monotonic()
        self._beats: dict[str, float] = {}
        self._silent_s: dict[str, float] = {}

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
            if self._beats.get(part) == beat:
                self._silent_s[part] += min(passed_s, deadline_s / 2)
            else:
                self._beats[part], self._silent_s[part] = beat, 0.0
            if self._silent_s[part] > deadline_s:
                raise StalledError(
                    f"the part '{part}' has given no sign of life for {self._silent_s[part]:.1f} s "
                    f"(its deadline is {deadline_s:g} s); the daemon has to start anew"
                )
