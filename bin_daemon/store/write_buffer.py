"""The event store behind a memory buffer: what makes a full disk bearable.

What the daemon tells of its items flows in, what is to be delivered flows out. While the disk does
not take a write, it waits here in order, bounded and counted, and is tried again; the caller never
sees an exception. One thread uses it (the constructor may run in another).
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from bin_daemon.config.sections import StoreSection
from bin_daemon.core import clock as clock_module
from bin_daemon.core.clock import Clock
from bin_daemon.core.errors import StoreError
from bin_daemon.core.messages import Outcome, SortEvent
from bin_daemon.store.database import StoreDamagedError
from bin_daemon.store.history import StoreStats
from bin_daemon.store.outbox import Outbox

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

BATCH = 100  # pieces written in one transaction
BUFFER_LIMIT = 2000  # about 2 MB of events: days of a bin whose disk is full
RETRY_S = 5.0
PRUNE_INTERVAL_S = 60.0
STAMPS_INTERVAL_S = 10.0
STATS_INTERVAL_S = 0.5  # at most so often, and only after a change

_NOTHING = StoreStats(depth=0, oldest_at=None, refused=0, rows=0, dropped=0, size_bytes=0)


@dataclasses.dataclass(frozen=True, slots=True)
class _Piece:
    """A write that waits; event: whether it brings a new one."""

    write: Callable[[Outbox], object]
    event: bool = False


# What SQLite says of values rather than of the disk.
_UNFIT = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError)


class WriteBuffer:
    """Keeps the events of one bin, on disk where that can be, else in memory.

    queue: whether there is a broker to deliver to. synced, boot_id: whether the wall clock is set,
    and of which boot. `session` is this start's number; where the store cannot be written it is
    one that was not used before all the same.
    """

    def __init__(
        self,
        path: Path,
        keep: StoreSection,
        clock: Clock,
        *,
        queue: bool,
        synced: Callable[[], bool] = clock_module.clock_synced,
        boot_id: str | None = None,
    ) -> None:
        self._path, self._keep, self._clock, self._queue = path, keep, clock, queue
        self._synced = synced
        self._boot_id = clock_module.boot_id() if boot_id is None else boot_id
        self._outbox: Outbox | None = None
        self._waiting: collections.deque[_Piece] = collections.deque()
        self._acked: dict[str, float] = {}  # delivered, and not yet recorded as such
        self._uncounted = 0  # dropped, and not yet recorded as such
        self._stats = _NOTHING
        self._fault = ""
        self._damaged: Path | None = None
        self._retry_at = self._prune_at = self._stamps_at = self._stats_at = 0.0
        self._session_recorded = False
        self._changed = True
        self.session = 0
        self._open()

    def _open(self) -> None:
        """Open the store and count the session; a failure is kept for `problems`."""
        try:
            if self._outbox is None:
                self._outbox = Outbox(self._path, self._keep)
                if self._outbox.damaged:
                    self._damaged = self._outbox.damaged
                    self._session_recorded = False
                    log.error("event store %s was damaged; it is now %s", self._path, self._damaged)
            if not self._session_recorded:
                self.session = self.session or self._next_session(self._outbox)
                self._outbox.open_session(at_least=self.session)
                self._session_recorded = True
                if count := self._outbox.interrupt_open(self.session):
                    log.warning("%d items of earlier sessions were interrupted", count)
        except StoreError as error:
            self.session = self.session or int(self._clock.time())
            self._failed(error)

    def _next_session(self, outbox: Outbox) -> int:
        """One more than the last; where that is lost, the time makes a new and greater number."""
        last = outbox.last_session()
        return int(self._clock.time()) if outbox.damaged and not last else last + 1

    def _failed(self, error: StoreError) -> None:
        if str(error) != self._fault:
            log.error("%s", error)
        self._fault = str(error)
        self._retry_at = time.monotonic() + RETRY_S
        if isinstance(error, StoreDamagedError) and self._outbox is not None:
            self._outbox.close()
            self._outbox = None

    def decided(self, event: SortEvent) -> None:
        """Keep an event from the moment its route is decided; `tend` brings it to the disk."""
        self._waiting.append(_Piece(functools.partial(Outbox.decide, event=event), event=True))

    def completed(
        self, event_id: str, outcome: Outcome, finished_at: float, timings_ms: Mapping[str, float]
    ) -> None:
        """Add the outcome to an event; `tend` brings it to the disk."""
        complete = functools.partial(
            Outbox.complete, event_id=event_id, outcome=outcome, finished_at=finished_at,
            timings_ms=timings_ms,
        )  # fmt: skip
        self._waiting.append(_Piece(complete))

    def _write(self) -> None:
        self._changed = True
        if not self._fault or time.monotonic() >= self._retry_at:
            if self._outbox is None or not self._session_recorded:
                self._open()
            if self._session_recorded:
                self._attempt(self._write_through, None)
        self._bound()

    def _write_through(self, outbox: Outbox) -> None:
        """Write what waits, oldest first; each piece leaves the buffer when it is on disk."""
        if self._fault:
            outbox.make_room()
        while self._waiting:
            batch = list(itertools.islice(self._waiting, BATCH))
            with outbox.transaction():
                misfits = [piece for piece in batch if not _write_piece(outbox, piece)]
            for _ in batch:
                self._waiting.popleft()
            self._uncounted += sum(piece.event for piece in misfits)
        if self._acked:
            outbox.delivered(self._acked)
            self._acked.clear()
        if self._uncounted or self._fault:
            # After a fault also the number 0: it changes nothing, and proves that a write succeeds.
            outbox.drop_counted(self._uncounted)
            self._uncounted = 0
        if self._fault:
            log.info("event store %s is written again", self._path)
            self._fault = ""

    def _bound(self) -> None:
        while len(self._waiting) > BUFFER_LIMIT:
            self._uncounted += self._waiting.popleft().event

    def tend(self) -> None:
        """Do what is due: write what waits, prune, correct stamps, count. Cheap when nothing is."""
        now = time.monotonic()
        if self._waiting or self._acked or self._uncounted or self._fault:
            self._write()
        self._attempt(lambda outbox: self._tend(outbox, now), None)

    def _tend(self, outbox: Outbox, now: float) -> None:
        if now >= self._stamps_at:
            self._stamps_at = now + STAMPS_INTERVAL_S
            wall = self._right_time()
            if self._boot_id and wall is not None:
                offset = wall - self._clock.monotonic()
                if rows := outbox.correct_stamps(self._boot_id, offset, wall):
                    log.info("clock set: corrected the times of %d events", rows)
        if now >= self._prune_at:
            self._prune_at = now + PRUNE_INTERVAL_S
            if dropped := outbox.prune(self._right_time(), queue=self._queue):
                log.error("event store %s is full: %d events dropped", self._path, dropped)
            self._changed = True
        if self._changed and now >= self._stats_at:
            self._changed = False
            self._stats_at = now + STATS_INTERVAL_S
            self._stats = outbox.stats()

    def _right_time(self) -> float | None:
        """The wall clock; None while it is not set."""
        return self._clock.time() if self._synced() else None

    def pending(
        self, limit: int, skip: Collection[str], *, refused: bool = False
    ) -> list[SortEvent]:
        """What `Outbox.pending` offers; nothing while the store cannot be read."""
        skip = {*skip, *self._acked}
        return self._attempt(lambda outbox: outbox.pending(limit, skip, refused=refused), [])

    def delivered(self, event_ids: Iterable[str]) -> None:
        """The broker has these events. They are not offered again even while it cannot be noted."""
        self._acked.update(dict.fromkeys(event_ids, self._clock.time()))
        self._write()

    def refused(self, event_id: str, reason: str) -> None:
        """The broker does not take this event."""
        self._changed = True
        self._attempt(lambda outbox: outbox.refused(event_id, reason, self._clock.time()), None)

    def alerts(self) -> list[str]:
        """Kinds of alerts of earlier sessions that the broker may still hold."""
        return self._attempt(Outbox.alerts, [])

    def remember_alert(self, kind: str) -> None:
        """An alert of this kind is about to be published."""
        if self._queue:
            self._attempt(lambda outbox: outbox.remember_alert(kind), None)

    def forget_alert(self, kind: str) -> None:
        """The broker holds no alert of this kind any more."""
        self._attempt(lambda outbox: outbox.forget_alert(kind), None)

    def _attempt(self, action: Callable[[Outbox], _Result], otherwise: _Result) -> _Result:
        """What the action returns; `otherwise`, and the fault is kept, where the store fails."""
        if self._outbox is not None:
            try:
                return action(self._outbox)
            except StoreError as error:
                self._failed(error)
        return otherwise

    def stats(self) -> StoreStats:
        """The figures as of the last `tend`; what is dropped from memory counts as well."""
        depth = self._stats.depth if self._queue else 0
        dropped = self._stats.dropped + self._uncounted
        return dataclasses.replace(self._stats, depth=depth, dropped=dropped)

    def drained(self) -> bool:
        """Whether all is on disk and, with a broker, delivered; asks the store itself."""
        if self._waiting or self._acked or self._outbox is None:
            return False
        depth = self._attempt(lambda outbox: outbox.stats().depth, None)
        return depth == 0 or (depth is not None and not self._queue)

    @property
    def unwritten(self) -> int:
        """Events that are in memory only."""
        return sum(piece.event for piece in self._waiting)

    def problems(self) -> tuple[str, ...]:
        """What the operator should know of the store."""
        found = []
        if self._fault:
            found.append(f"{self._fault} ({self.unwritten} events not written)")
        if self._damaged:
            found.append(
                f"the event store was damaged and begun anew; the old one: {self._damaged}"
            )
        return tuple(found)

    def close(self) -> None:
        """Write what waits, once more, and close."""
        self._retry_at = 0.0
        self._write()
        if self._waiting:
            log.error("%d events could not be stored and are lost", self.unwritten)
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None


def _write_piece(outbox: Outbox, piece: _Piece) -> bool:
    """Whether the piece is in the store now. Raises StoreError where the disk is to blame."""
    try:
        piece.write(outbox)
    except (StoreError, TypeError, ValueError) as error:
        if isinstance(error, StoreError) and not isinstance(error.__cause__, _UNFIT):
            raise
        # Trying again would not help, and everything behind it would wait for ever.
        log.exception("an event does not fit the store and is dropped: %r", piece)
        return False
    return True
