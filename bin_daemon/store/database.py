"""SQLite files of the daemon: opened so that what was committed survives a power cut.

A path and a schema flow in, rows flow out; what SQLite raises becomes `StoreError` with the file
and what to do about it. This module knows no table but the `counters` of each store.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bin_daemon.core.closing import Closing
from bin_daemon.core.errors import StoreError

_BUSY_TIMEOUT_S = 5.0
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_IOERR: "the disk fails to take or give data: check its free space and health",
    sqlite3.SQLITE_READONLY: "it is read-only: check owner, permissions and mount options",
    sqlite3.SQLITE_PERM: "permission denied: check owner and permissions",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that the folder exists and who owns it",
    sqlite3.SQLITE_BUSY: "another process holds it locked",
}
_DAMAGE = {
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_NOTADB: "this is no such store",
}


class StoreDamagedError(StoreError):
    """The file holds what SQLite cannot make sense of; only a new file helps."""


@contextlib.contextmanager
def translated_errors(store: str, path: Path, cure: str) -> Iterator[None]:
    """Turn what SQLite and the file system raise into StoreError.

    store: what people call it ("event store"). cure: what is done about a damaged one.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _DAMAGE:
            raise StoreDamagedError(f"{store} {path}: {_DAMAGE[code]}; {cure}") from error
        raise StoreError(f"{store} {path}: {_ADVICE.get(code, str(error))}") from error
    except StoreError:
        raise  # an OSError too, with its words already found
    except OSError as error:
        raise StoreError(f"{store} {path}: {error.strerror or error}") from error


def connect(
    path: Path, schema: str, version: int, upgrades: Mapping[int, str] | None = None
) -> sqlite3.Connection:
    """Open a database for writing, made with `schema` where there is none.

    upgrades: by the version of an older layout, the statements that make the next one of it.
    Every commit is on disk when it returns. One thread at a time uses the connection.
    Raises sqlite3.Error; a file whose pages do not fit together counts as damaged.
    """
    db = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        _write_ahead(db)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA journal_size_limit = 1048576")
        steps = {0: (schema, version)}
        steps |= {old: (script, old + 1) for old, script in (upgrades or {}).items()}
        while layout(db) in steps:
            with transaction(db):
                if step := steps.get(layout(db)):  # nobody else was faster
                    for statement in step[0].split(";"):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {step[1]}")
        verdict = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
        if verdict != "ok":
            fault = sqlite3.DatabaseError(verdict)
            fault.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise fault
    except BaseException:
        db.close()
        raise
    return db


def _write_ahead(db: sqlite3.Connection) -> None:
    """Keep a write-ahead log. SQLite itself does not wait for another that begins the same file."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Write everything inside or nothing, and wait for the disk once instead of each time."""
    with db:  # commits, or rolls back unless SQLite has done so by itself (full disk)
        db.execute("BEGIN IMMEDIATE")
        yield db


def layout(db: sqlite3.Connection) -> int:
    """The version of the schema that the file was made with; 0 where it is empty."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


class Database(Closing):
    """One SQLite file, and what every store does with it; each says how to `_open` its own.

    store, cure: as `translated_errors` takes them. version: of the layout that this program knows.
    Raises StoreError where the file cannot be used or is of another layout.
    """

    store: ClassVar[str]
    cure: ClassVar[str]
    version: ClassVar[int]

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._translated_errors():
            self._db = self._open()
            self._db.row_factory = sqlite3.Row
            if (found := layout(self._db)) != self.version:
                self._db.close()
                raise StoreError(
                    f"{self.store} {path}: its layout is version {found}, this program knows "
                    f"{self.version}; use the version that wrote it, or move the file away"
                )

    def _open(self) -> sqlite3.Connection:
        raise NotImplementedError

    def _translated_errors(self) -> contextlib.AbstractContextManager[None]:
        return translated_errors(self.store, self.path, self.cure)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """As the function `transaction`; raises StoreError."""
        with self._translated_errors(), transaction(self._db):
            yield self._db

    def _rows(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        with self._translated_errors():
            return self._db.execute(sql, values).fetchall()

    def _figure(self, sql: str) -> int:
        """The one number that is asked for; 0 where there is none."""
        return next((int(row[0] or 0) for row in self._rows(sql)), 0)

    def _change(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> int:
        """Carry out a statement by itself; returns how many rows it touched."""
        with self._translated_errors():
            return self._db.execute(sql, values).rowcount

    def drop_counted(self, count: int) -> None:
        """Add to the counter of what was given up; alone, or as a part of a transaction."""
        self._change(
            "INSERT INTO counters VALUES ('dropped', ?)"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (count,),
        )

    def dropped(self) -> int:
        """What was given up, ever."""
        return self._figure("SELECT value FROM counters WHERE name = 'dropped'")

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        self._db.close()
