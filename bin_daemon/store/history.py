"""The event store as a reader sees it: schema, rows to events, figures.

A path flows in, `SortEvent`s and figures flow out; `Outbox` adds the writing. `History` opens the
file read-only, so that a command can look while the daemon runs; it never creates or changes one.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from pathlib import Path

from bin_daemon.core.errors import StoreError
from bin_daemon.core.messages import Outcome, SortEvent
from bin_daemon.store.database import Database

# `n` is the order of arrival: decided_at may jump when the wall clock is set. The partial indexes
# keep every question of the daemon independent of how much history lies in the table.
SCHEMA = """
CREATE TABLE events (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    session INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    decided_at REAL NOT NULL,
    label TEXT NOT NULL,
    confidence REAL NOT NULL,
    top_k TEXT NOT NULL,
    route TEXT NOT NULL,
    reason TEXT NOT NULL,
    model TEXT NOT NULL,
    looks INTEGER NOT NULL,
    item TEXT NOT NULL,
    timings_ms TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    monotonic_s REAL NOT NULL,
    clock_synced INTEGER NOT NULL,
    finished_at REAL,
    outcome TEXT,
    delivered_at REAL,
    refused_at REAL,
    refusal TEXT
);
CREATE INDEX events_open ON events(session) WHERE outcome IS NULL;
CREATE INDEX events_queue ON events(refused_at, n, decided_at)
    WHERE delivered_at IS NULL AND outcome IS NOT NULL;
CREATE INDEX events_delivered ON events(delivered_at) WHERE delivered_at IS NOT NULL;
CREATE INDEX events_decided ON events(decided_at);
CREATE INDEX events_unsynced ON events(boot_id) WHERE clock_synced = 0;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE alerts (kind TEXT PRIMARY KEY) WITHOUT ROWID;
"""

QUEUED = "delivered_at IS NULL AND outcome IS NOT NULL"

FIELDS = tuple(f.name for f in dataclasses.fields(SortEvent) if f.name != "historical")
COLUMNS = ", ".join(FIELDS)


@dataclasses.dataclass(frozen=True, slots=True)
class StoreStats:
    """The store in figures.

    depth: completed events that wait for delivery, refused ones included. oldest_at: when the first
    of them was decided, wall clock. refused: those among them that the broker does not take.
    dropped: events given up undelivered, ever. unwritten: events in memory only.
    """

    depth: int
    oldest_at: float | None
    refused: int
    dropped: int
    unwritten: int = 0


class History(Database):
    """The stored events, read-only. Raises StoreError where the file cannot be read."""

    store = "event store"
    cure = "it is moved aside at the next start"
    version = 1

    def _open(self) -> sqlite3.Connection:
        if not self.path.is_file():
            raise StoreError(f"{self.store} {self.path}: there is none yet; has the daemon run?")
        uri = self.path.absolute().as_uri()
        db = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=5.0, isolation_level=None)
        try:
            db.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            # A reader who may not write to the folder cannot make the shared-memory file of a WAL
            # database. While no daemon has it open nothing changes, and `immutable` needs none.
            db.close()
            if Path(f"{self.path}-wal").exists():
                raise
            db = sqlite3.connect(f"{uri}?immutable=1", uri=True, isolation_level=None)
        return db

    def recent(self, limit: int, since: float | None = None) -> list[SortEvent]:
        """The newest events, latest first; `since` is a wall-clock time of their decision."""
        rows = self._rows(
            f"SELECT {COLUMNS} FROM events WHERE decided_at >= ? ORDER BY n DESC LIMIT ?",
            (since if since is not None else float("-inf"), limit),
        )
        return [event_of(row) for row in rows]

    def stats(self) -> StoreStats:
        """The store in figures; a few milliseconds at 50 000 rows."""
        depth, oldest, refused = self._rows(
            f"SELECT COUNT(*), MIN(decided_at), COUNT(refused_at) FROM events WHERE {QUEUED}"
        )[0]
        return StoreStats(depth, oldest, refused, self.dropped())


def event_of(row: sqlite3.Row) -> SortEvent:
    """The event that a row of COLUMNS holds."""
    values = {name: row[name] for name in FIELDS}
    values["top_k"] = tuple((label, share) for label, share in json.loads(row["top_k"]))
    values["item"] = json.loads(row["item"])
    values["timings_ms"] = json.loads(row["timings_ms"])
    values["clock_synced"] = bool(row["clock_synced"])
    values["outcome"] = Outcome(row["outcome"]) if row["outcome"] is not None else None
    return SortEvent(**values)
