"""Threads of the daemon: one kind for work that goes on, and a bound for calls that may hang.

A function flows in; what becomes of it - its beat, its error, whether it ended in time - flows out
to whoever asks. All threads are daemon threads: Python cannot end one that hangs in a driver, so
it is left behind, and must not keep the process alive.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from bin_daemon.core.errors import OverdueError

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class Worker:
    """A thread that does `work` once; `work` returns when it finds `stopping` true.

    name: of the thread, also in messages. on_error: called in the thread with the exception that
    ended it; by default it is logged.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], object],
        on_error: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.name = name
        self.error: BaseException | None = None
        self.beat_at = time.monotonic()
        self._work, self._on_error = work, on_error or self._log
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; once in the life of the object."""
        self.beat()
        self._thread.start()

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._thread.ident is not None

    @property
    def stopping(self) -> bool:
        """Whether the work is to end."""
        return self._stop.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep in `work`, but no longer than until `stop`; whether the work is to end."""
        return self._stop.wait(seconds)

    def beat(self) -> None:
        """Give a sign of life: `beat_at` is when, in `time.monotonic` seconds."""
        self.beat_at = time.monotonic()

    def stop(self, deadline_s: float = 0.0) -> bool:
        """Ask the work to end, wait at most `deadline_s` seconds; whether nothing runs any more.

        May be called again, before `start`, and by the thread itself, which is not waited for.
        """
        self._stop.set()
        if not self.started or self._thread is threading.current_thread():
            return True
        self._thread.join(max(0.0, deadline_s))
        return not self._thread.is_alive()

    def check(self) -> None:
        """Raise what ended the work, if it failed."""
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error
            self._on_error(error)

    def _log(self, error: BaseException) -> None:
        log.error("the thread '%s' has failed", self.name, exc_info=error)


def within(deadline_s: float, call: Callable[[], _Result], name: str) -> _Result:
    """What `call` returns or raises, if it comes back within `deadline_s` seconds.

    name: of its thread, which is left behind where it does not. Raises OverdueError then.
    """
    answers: list[_Result] = []
    worker = Worker(name, lambda: answers.append(call()), on_error=lambda _: None)
    worker.start()
    if not worker.stop(deadline_s):
        raise OverdueError(f"{name}: no answer within {deadline_s:g} s")
    worker.check()
    return answers[0]
