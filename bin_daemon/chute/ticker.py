"""The thread that ticks a chute in real time, once for each servo frame.

A replay under a simulated clock needs none of this and ticks by itself. The thread decides nothing:
what goes wrong in it is kept and raised to its owner by `check`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Self

from bin_daemon.core.errors import ChuteError
from bin_daemon.core.worker import Worker

if TYPE_CHECKING:
    from bin_daemon.chute.chute import Chute

# Servos take one pulse every 20 ms; more angles than pulses would go nowhere.
TICK_S = 0.020

_log = logging.getLogger(__name__)


class ChuteThread:
    """Ticks `chute` every `interval_s` seconds between `start` and `stop`; also a context manager.

    It does not own the chute: stop the thread first, then close the chute.
    """

    def __init__(self, chute: Chute, interval_s: float = TICK_S) -> None:
        self._chute = chute
        self._interval_s = interval_s
        self._worker = Worker("chute", self._run, self._failed)

    @property
    def beat_at(self) -> float:
        """When the last tick was finished, in `time.monotonic` seconds; for the supervisor."""
        return self._worker.beat_at

    def start(self) -> None:
        """Begin to tick; once in the life of the object."""
        self._worker.start()

    def check(self) -> None:
        """Raise ChuteError if a tick has failed; the thread has ended and the servos are silent."""
        if error := self._worker.error:
            raise ChuteError(f"the chute has stopped: {error}") from error

    def stop(self, deadline_s: float = 1.0) -> None:
        """Stop ticking; may be called again, and before `start`.

        Raises ChuteError where the thread does not end within `deadline_s` seconds.
        """
        if not self._worker.stop(deadline_s):
            raise ChuteError(
                f"the chute's thread did not stop within {deadline_s:g} s: the pin library hangs"
            )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._worker.wait(self._interval_s):
            self._chute.tick()
            self._worker.beat()

    def _failed(self, error: BaseException) -> None:
        _log.error("the chute has stopped", exc_info=error)
        self._chute.abort()
