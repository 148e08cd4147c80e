"""How the bin is: figures of the machine and the frame rate of the camera.

Frames and readings of the system flow in, `Health` messages flow out. Nothing here restarts or
decides anything.
"""

from __future__ import annotations

import shutil
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from bin_daemon.core.clock import Clock, clock_synced
from bin_daemon.core.messages import Health

if TYPE_CHECKING:
    from bin_daemon.store.history import StoreStats

_THERMAL = Path("/sys/class/thermal/thermal_zone0/temp")
_THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")

# Bits of the firmware's get_throttled (Raspberry Pi documentation, "vcgencmd"): now, since boot.
THROTTLED_NOW = 0b111  # what slows the processor now, but for its warmth
_THROTTLE_BITS = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
    16: "under-voltage has occurred",
    17: "frequency capping has occurred",
    18: "throttling has occurred",
    19: "soft temperature limit has occurred",
}


def temperature_c(source: Path = _THERMAL) -> float | None:
    """Temperature of the processor in degrees Celsius, or None where the kernel gives none."""
    try:
        return int(source.read_text()) / 1000
    except (OSError, ValueError):
        return None


def throttle_bits(source: Path = _THROTTLED) -> int | None:
    """The `get_throttled` bits of the Pi's firmware; 0 when all is well, None without a Pi."""
    try:
        return int(source.read_text(), 16)
    except (OSError, ValueError):
        return None


def throttle_words(bits: int) -> str:
    """What `throttle_bits` says, for people; "" when all is well."""
    return ", ".join(words for bit, words in _THROTTLE_BITS.items() if bits >> bit & 1)


def disk_free_mb(folder: Path) -> float | None:
    """Free space of the disk that holds `folder`, in megabytes (10^6 bytes)."""
    try:
        return shutil.disk_usage(folder).free / 1e6
    except OSError:
        return None


class Monitor:
    """Counts frames and puts a `Health` together.

    folder: on the disk to watch. clock: the time that the frames are stamped with.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self._started = clock.monotonic()
        self._frames: deque[float] = deque(maxlen=30)

    def frame(self, captured_at: float) -> None:
        """A frame has arrived."""
        self._frames.append(captured_at)

    @property
    def fps(self) -> float:
        """Frames a second over the last frames; 0 before there are two."""
        if len(self._frames) < 2 or self._frames[-1] <= self._frames[0]:
            return 0.0
        return (len(self._frames) - 1) / (self._frames[-1] - self._frames[0])

    def health(self, stats: StoreStats, problems: tuple[str, ...]) -> Health:
        """The figures now, with those of the store and the problems that others found."""
        now, bits, oldest = self._clock.monotonic(), throttle_bits(), stats.oldest_at
        return Health(
            uptime_s=now - self._started,
            camera_fps=self.fps,
            frame_age_s=now - self._frames[-1] if self._frames else float("inf"),
            temperature_c=temperature_c(),
            throttled=None if bits is None else throttle_words(bits),
            disk_free_mb=disk_free_mb(self._folder),
            outbox_depth=stats.depth,
            outbox_oldest_s=0.0 if oldest is None else max(0.0, self._clock.time() - oldest),
            events_dropped=stats.dropped,
            clock_synced=clock_synced(),
            problems=problems,
        )
