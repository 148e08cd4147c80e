"""How often the daemon has failed lately, counted across its restarts.

Starts, ends and minutes without trouble flow in; the count and the message of the last failure flow
out, and are kept in `failures.json` in the state directory. A power cut and a reboot are no
failures. It never fails itself: where it cannot write, it counts this start only.
"""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import Any

from bin_daemon.core.clock import Clock, boot_id
from bin_daemon.core.files import write_whole

log = logging.getLogger(__name__)

LIMIT = 5  # from this count on the daemon starts degraded
GOOD_S = 600.0  # after so long without one, the failures are forgotten
_FILE = "failures.json"
_UNSEEN = "it was killed, or ended without a message; 'journalctl -u bin-daemon' may say more"


class Failures:
    """The count of one bin.

    folder: the state directory. boot: the id of this boot. `parked`: whether the chute was left at
    the residual route in this boot, and not moved since.
    """

    def __init__(self, folder: Path, clock: Clock, boot: str | None = None) -> None:
        self._path, self._clock = folder / _FILE, clock
        self._boot = boot_id() if boot is None else boot
        self._good_since: float | None = None
        self.count, self.last, self.parked = 0, "", False

    def begin(self) -> None:
        """The daemon starts; an earlier start of this boot that never ended is a failure."""
        kept = _read(self._path)
        self.count, self.last = kept["count"], kept["last"]
        self.parked = kept["parked"] == self._boot
        if kept["running"] == self._boot:
            self._count(_UNSEEN)
        self._write(running=True)

    def end(self, error: BaseException | None = None) -> None:
        """The daemon ends: by an error that a restart may cure, or because it was asked to."""
        if error is not None:
            self._count(str(error) or type(error).__name__)
        self._write(running=False)

    def left_parked(self) -> None:
        """The chute stands at the residual route."""
        self.parked = True
        self._write(running=True)

    def good(self) -> bool:
        """The daemon sorts at this moment; returns whether that has just cleared the count."""
        now = self._clock.monotonic()
        if self._good_since is None:
            self._good_since = now
            if self.parked:  # it sorts again, so the chute moves
                self.parked = False
                self._write(running=True)
        if not self.count or now - self._good_since < GOOD_S:
            return False
        log.info("%d earlier failures are forgotten after %g s without one", self.count, GOOD_S)
        self.forget()
        self._write(running=True)
        return True

    def forget(self) -> None:
        """Count from zero again; written with the next change."""
        self.count, self.last = 0, ""

    def problems(self) -> tuple[str, ...]:
        """What the operator should know: that there were failures, and the last of them."""
        if not self.count:
            return ()
        times = "once" if self.count == 1 else f"{self.count} times"
        return (f"the daemon has failed {times} lately; the last time: {self.last}",)

    def _count(self, message: str) -> None:
        self.count += 1
        self.last = _short(message)
        log.warning("failure %d: %s", self.count, self.last)

    def _write(self, *, running: bool) -> None:
        kept = {
            "count": self.count,
            "last": self.last,
            "running": self._boot if running else None,
            "parked": self._boot if self.parked else None,
        }
        try:
            # Without a failure there is nothing that a power cut could take.
            write_whole(self._path, json.dumps(kept).encode(), synced=bool(self.count))
        except OSError as error:
            log.warning("%s: failures are not counted: %s", self._path, error)


def _short(message: str) -> str:
    """One line of bounded length, as the status of a service is."""
    return " ".join(message.split())[:300]


def recorded(folder: Path) -> tuple[int, str]:
    """Count and last message in a state directory; 0 and "" where none can be read there."""
    kept = _read(folder / _FILE)
    return kept["count"], kept["last"]


def _read(path: Path) -> dict[str, Any]:
    """The content of the file, with nothing for what is missing or makes no sense."""
    found: Any = None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_bytes())
    if not isinstance(found, dict):
        found = {}
    count = found.get("count")
    return {
        "count": count if type(count) is int and count > 0 else 0,
        "last": _short(str(found.get("last") or "")),
        "running": found.get("running"),
        "parked": found.get("parked"),
    }
