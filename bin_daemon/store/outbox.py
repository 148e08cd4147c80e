"""The event store as the daemon writes it: a queue towards the fleet that becomes the history.

Events flow in when they are decided and again when their outcome is known; completed ones flow out
to be delivered, and stay as history once they are. Every write is on disk when its method returns
(WAL, synchronous=FULL). One thread uses it at a time. It never talks to the network and never
deletes an undelivered event silently.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

from bin_daemon.config.sections import StoreSection
from bin_daemon.core.messages import Outcome, SortEvent, to_json
from bin_daemon.store.database import StoreDamagedError, connect
from bin_daemon.store.history import COLUMNS, FIELDS, QUEUED, SCHEMA, History, event_of

_DAY_S = 86_400.0
_CHUNK = 500  # rows deleted between two looks at the size
_DAMAGED_KEPT = 2  # a failing card must not fill itself with the remains of its stores
_SUFFIXES = ("", "-wal", "-shm")  # the files of a database


class Outbox(History):
    """The store of one bin.

    path: the SQLite file; made where there is none. A damaged one is moved aside as
    `<path>.damaged-<time>` and a new one begun; `damaged` then says where the old one is.
    Raises StoreError where the file cannot be opened or was written by a newer version.
    """

    def __init__(self, path: Path, keep: StoreSection) -> None:
        self._keep = keep
        self.damaged: Path | None = None
        super().__init__(path)

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._translated_errors():
                return connect(self.path, SCHEMA, self.version)
        except StoreDamagedError:
            counters = _salvage(self.path)
            self.damaged = _move_aside(self.path)
            db = connect(self.path, SCHEMA, self.version)
            db.executemany("INSERT INTO counters VALUES (?, ?)", counters)
            return db

    def last_session(self) -> int:
        """The number of the latest session that was recorded; 0 before the first."""
        return self._figure("SELECT value FROM counters WHERE name = 'session'")

    def open_session(self, at_least: int = 1) -> int:
        """Begin a session: count it, and return its number (never below `at_least`)."""
        with self.transaction() as db:
            number = max(self.last_session() + 1, at_least)
            db.execute("INSERT OR REPLACE INTO counters VALUES ('session', ?)", (number,))
        return number

    def decide(self, event: SortEvent) -> None:
        """Store an event, with or without its outcome; one that is there already stays as it is."""
        values = (getattr(event, name) for name in FIELDS)
        marks = ", ".join("?" * len(FIELDS))
        self._change(
            f"INSERT INTO events ({COLUMNS}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING",
            [to_json(v) if isinstance(v, (tuple, Mapping)) else v for v in values],
        )

    def complete(
        self, event_id: str, outcome: Outcome, finished_at: float, timings_ms: Mapping[str, float]
    ) -> None:
        """Add the outcome, and timings to those that are there, to an event without an outcome."""
        self._change(
            "UPDATE events SET outcome = ?, finished_at = ?,"
            " timings_ms = json_patch(timings_ms, ?) WHERE id = ? AND outcome IS NULL",
            (outcome, finished_at, to_json(timings_ms), event_id),
        )

    def interrupt_open(self, before_session: int) -> int:
        """Mark the events of earlier sessions without outcome as interrupted; returns how many."""
        return self._change(
            "UPDATE events SET outcome = ? WHERE outcome IS NULL AND session < ?",
            (Outcome.INTERRUPTED, before_session),
        )

    def pending(
        self, limit: int, skip: Collection[str] = (), *, refused: bool = False
    ) -> list[SortEvent]:
        """Completed, undelivered events in the order they came, at most `limit`.

        skip: ids to leave out (in flight). refused: those the broker has refused before, the one
        whose refusal is the longest ago first; without it those it has not.
        """
        which = "IS NOT NULL ORDER BY refused_at, n" if refused else "IS NULL ORDER BY n"
        rows = self._rows(
            f"SELECT {COLUMNS} FROM events WHERE {QUEUED} AND refused_at {which} LIMIT ?",
            (limit + len(skip),),
        )
        events = (event_of(row) for row in rows)
        return [event for event in events if event.id not in skip][:limit]

    def delivered(self, acknowledged: Mapping[str, float]) -> None:
        """The broker has taken responsibility for these events: they are history from now on.

        acknowledged: id -> wall clock of the acknowledgement; all are written in one transaction.
        """
        with self.transaction() as db:
            db.executemany(
                "UPDATE events SET delivered_at = ?, refused_at = NULL, refusal = NULL"
                " WHERE id = ?",
                [(at, event_id) for event_id, at in acknowledged.items()],
            )

    def refused(self, event_id: str, reason: str, at: float) -> None:
        """The broker does not take this event: keep it, behind those that were not refused."""
        self._change(
            "UPDATE events SET refused_at = ?, refusal = ? WHERE id = ? AND delivered_at IS NULL",
            (at, reason, event_id),
        )

    def correct_stamps(self, boot_id: str, offset_s: float, now: float) -> int:
        """Right the wall-clock times of rows that were stamped before the clock was set.

        boot_id: the present boot; only its monotonic clock can be compared with. offset_s: wall
        clock minus monotonic clock. now: the right time; a finish that was stamped after the clock
        was set is right already and would land in the future.
        Returns the number of rows. The times inside the ids stay as they were.
        """
        return self._change(
            "UPDATE events SET decided_at = monotonic_s + :offset, clock_synced = 1,"
            " finished_at = CASE"
            "  WHEN finished_at + monotonic_s + :offset - decided_at > :now THEN finished_at"
            "  ELSE finished_at + monotonic_s + :offset - decided_at END"
            " WHERE boot_id = :boot AND clock_synced = 0",
            {"offset": offset_s, "boot": boot_id, "now": now},
        )

    def prune(self, now: float | None, *, queue: bool = True) -> int:
        """Keep the store within its bounds of days, items and bytes.

        History goes first, oldest first. Only where the queue alone breaks the bound of items or
        bytes, undelivered events go too (refused ones first); each is counted for good, and their
        number returned. now: wall clock; None where it is not set, then nothing is too old.
        queue: false where there is no broker; then all that is completed is history, its age
        counted from the decision.
        """
        history = "delivered_at IS NOT NULL" if queue else "outcome IS NOT NULL"
        age = "delivered_at" if queue else "decided_at"
        dropped = 0
        with self.transaction():
            if now is not None:
                oldest_kept = now - self._keep.keep_days * _DAY_S
                self._change(f"DELETE FROM events WHERE {history} AND {age} < ?", (oldest_kept,))
            while excess := self._excess():
                if self._delete(f"{history} ORDER BY n", excess):
                    continue
                if not (gone := self._delete(f"{QUEUED} ORDER BY refused_at IS NULL, n", excess)):
                    break
                dropped += gone
            if dropped:
                self.drop_counted(dropped)
        return dropped

    def _delete(self, which: str, limit: int) -> int:
        """Delete the first rows of those; returns how many there were."""
        first = f"SELECT n FROM events WHERE {which} LIMIT ?"
        return self._change(f"DELETE FROM events WHERE n IN ({first})", (limit,))

    def _excess(self) -> int:
        """How many rows to delete next."""
        rows = self._figure("SELECT COUNT(*) FROM events")
        pages = self._figure("PRAGMA page_count") - self._figure("PRAGMA freelist_count")
        used, limit = pages * self._figure("PRAGMA page_size"), self._keep.max_mb * 1e6
        too_many = rows - self._keep.keep_items
        if used > limit and rows:
            # Rows are about alike, so this many take the excess; the loop looks again.
            too_many = max(too_many, int(rows * (1 - limit / used)) + 1)
        return max(0, min(too_many, _CHUNK))

    def make_room(self) -> None:
        """Move what the WAL holds into the database, so that its space can be written again.

        On a full disk a store with free pages inside can go on like that for ever.
        """
        self._rows("PRAGMA wal_checkpoint(RESTART)")

    def alerts(self) -> list[str]:
        """The kinds of alerts that may still be retained by the broker."""
        return [row["kind"] for row in self._rows("SELECT kind FROM alerts")]

    def remember_alert(self, kind: str) -> None:
        """An alert of this kind is about to be published."""
        self._change("INSERT OR IGNORE INTO alerts VALUES (?)", (kind,))

    def forget_alert(self, kind: str) -> None:
        """The broker holds no alert of this kind any more."""
        self._change("DELETE FROM alerts WHERE kind = ?", (kind,))


def _move_aside(path: Path) -> Path:
    """Rename a damaged store with its WAL; returns the new name of the store itself.

    Only the latest remains are kept. Raises OSError.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in _SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").replace(f"{aside}{suffix}")
    for old in sorted(path.parent.glob(f"{path.name}.damaged-*Z"))[:-_DAMAGED_KEPT]:
        for suffix in _SUFFIXES:
            Path(f"{old}{suffix}").unlink(missing_ok=True)
    return aside


def _salvage(path: Path) -> list[tuple[str, int]]:
    """The counters of a damaged store, as far as they can be read: sessions should not repeat."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as db:
        return [(str(k), int(v)) for k, v in db.execute("SELECT name, value FROM counters")]
    return []
