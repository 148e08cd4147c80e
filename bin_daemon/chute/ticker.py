"""The thread that ticks a chute in real time, once for each servo frame.

A replay under a simulated clock needs none of this and ticks by itself. The thread decides nothing:
what goes wrong in it is kept and raised to its owner by `check`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Self

from bin_daemon.core.errors import ChuteError
from bin_daemon.core.worker import Worker
from bin_daemon.gpio.factory import FRAME_S

if TYPE_CHECKING:
    from bin_daemon.chute.chute import Chute

_log = logging.getLogger(__name__)


class ChuteThread(Worker):
    """Ticks `chute` between `start` and `stop`; also a context manager.

    It does not own the chute: stop the thread first, then close the chute.
    """

    def __init__(self, chute: Chute) -> None:
        super().__init__("chute", self._tick, self._failed)
        self._chute = chute

    def check(self) -> None:
        """Raise ChuteError if a tick has failed; the thread has ended and the servos are silent."""
        if self.error is not None:
            raise ChuteError(f"the chute has stopped: {self.error}") from self.error

    def stop(self, deadline_s: float = 1.0) -> bool:
        """As `Worker.stop`; raises ChuteError where the thread does not end in time."""
        if super().stop(deadline_s):
            return True
        raise ChuteError(
            f"the chute's thread did not stop within {deadline_s:g} s: the pin library hangs"
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _tick(self) -> None:
        while not self.wait(FRAME_S):
            self._chute.tick()
            self.beat()

    def _failed(self, error: BaseException) -> None:
        _log.error("the chute has stopped", exc_info=error)
        self._chute.abort()
