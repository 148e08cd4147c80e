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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from bin_daemon.config.sections import StoreSection
from bin_daemon.core.clock import Clock, boot_id, clock_synced
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


@dataclasses.dataclass(frozen=True, slots=True)
class _Piece:
    """A write that waits; event: whether it brings a new one."""

    write: Callable[[Outbox], object]
    event: bool = False


# What SQLite says of values rather than of the disk.
_UNFIT = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError)


class WriteBuffer:
    """Keeps the events of one bin, on disk where that can be, else in memory.

    queue: whether there is a broker to deliver to. synced: whether the wall clock is set.
    session: this start's number, not used before even where the store cannot be written.
    """

    def __init__(
        self,
        path: Path,
        keep: StoreSection,
        clock: Clock,
        *,
        queue: bool,
        synced: Callable[[], bool] = clock_synced,
    ) -> None:
        self._path, self._keep, self._clock, self._queue = path, keep, clock, queue
        self._synced, self._boot_id = synced, boot_id()
        self._outbox: Outbox | None = None
        self._waiting: collections.deque[_Piece] = collections.deque()
        self._acked: dict[str, float] = {}  # delivered, and not yet recorded as such
        self._uncounted = 0  # dropped, and not yet recorded as such
        self._stats = StoreStats(depth=0, oldest_at=None, refused=0, dropped=0)
        self._fault = ""
        self._damaged: Path | None = None
        self._retry_at = self._prune_at = self._stamps_at = self._stats_at = 0.0
        self._session_recorded = False
        self._changed = True
        self.session = 0
        self._open()

    def _open(self) -> None:
        try:
            if self._outbox is None:
                self._outbox = Outbox(self._path, self._keep)
                if self._outbox.damaged:
                    self._damaged, self._session_recorded = self._outbox.damaged, False
                    log.error("event store %s was damaged; it is now %s", self._path, self._damaged)
            if not self._session_recorded:
                if not self.session:
                    last = self._outbox.last_session()
                    lost = self._damaged and not last  # the time is a new and greater number
                    self.session = int(self._clock.time()) if lost else last + 1
                self._outbox.open_session(at_least=self.session)
                self._session_recorded = True
                if count := self._outbox.interrupt_open(self.session):
                    log.warning("%d items of earlier sessions were interrupted", count)
        except StoreError as error:
            self.session = self.session or int(self._clock.time())
            self._failed(error)

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
        while len(self._waiting) > BUFFER_LIMIT:
            self._uncounted += self._waiting.popleft().event

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

    def tend(self) -> None:
        """Do what is due: write what waits, prune, correct stamps, count. Cheap when nothing is."""
        now = time.monotonic()
        if self._waiting or self._acked or self._uncounted or self._fault:
            self._write()
        self._attempt(lambda outbox: self._tend(outbox, now), None)

    def _tend(self, outbox: Outbox, now: float) -> None:
        wall = self._clock.time() if self._synced() else None
        if now >= self._stamps_at:
            self._stamps_at = now + STAMPS_INTERVAL_S
            if self._boot_id and wall is not None:
                offset = wall - self._clock.monotonic()
                if rows := outbox.correct_stamps(self._boot_id, offset, wall):
                    log.info("clock set: corrected the times of %d events", rows)
        if now >= self._prune_at:
            self._prune_at, self._changed = now + PRUNE_INTERVAL_S, True
            if dropped := outbox.prune(wall, queue=self._queue):
                log.error("event store %s is full: %d events dropped", self._path, dropped)
        if self._changed and now >= self._stats_at:
            self._stats_at, self._changed = now + STATS_INTERVAL_S, False
            self._stats = outbox.stats()

    def pending(self, limit: int, skip: set[str], *, refused: bool = False) -> list[SortEvent]:
        """What `Outbox.pending` offers; nothing while the store cannot be read."""
        skip = skip | self._acked.keys()
        return self._attempt(lambda outbox: outbox.pending(limit, skip, refused=refused), [])

    def delivered(self, event_id: str) -> None:
        """The broker has this event: it is not offered again; `tend` notes all of them at once."""
        self._acked[event_id] = self._clock.time()

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
        stats = self._stats
        if not self._queue:
            stats = dataclasses.replace(stats, depth=0, oldest_at=None, refused=0)
        unwritten = sum(piece.event for piece in self._waiting)
        dropped = stats.dropped + self._uncounted
        return dataclasses.replace(stats, dropped=dropped, unwritten=unwritten)

    def drained(self) -> bool:
        """Whether all is on disk and, with a broker, delivered; asks the store itself."""
        queued = self._attempt(lambda outbox: self._queue and outbox.stats().depth > 0, True)
        return not (self._waiting or self._acked or queued)

    def problems(self) -> Iterator[str]:
        """What the operator should know of the store."""
        if self._fault:
            yield f"{self._fault} ({self.stats().unwritten} events not written)"
        if self._damaged:
            yield f"the event store was damaged and begun anew; the old one: {self._damaged}"

    def close(self) -> None:
        """Write what waits, once more, and close."""
        self._retry_at = 0.0
        self._write()
        if self._waiting:
            log.error("%d events could not be stored and are lost", self.stats().unwritten)
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
