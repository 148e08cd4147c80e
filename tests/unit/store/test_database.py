"""SQLite files of the daemon: what `connect` bears that SQLite alone does not."""

import sqlite3
import threading
from pathlib import Path

import pytest

from bin_daemon.store import database


def beginning(path: Path) -> sqlite3.Connection:
    """Another process that is about to make its tables in the same new file."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_one_that_begins_the_same_file_is_waited_for(tmp_path: Path) -> None:
    other = beginning(tmp_path / "x.db")
    done = threading.Timer(0.3, other.execute, ["COMMIT"])
    done.start()

    db = database.connect(tmp_path / "x.db", "CREATE TABLE t (a)", 1)

    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    done.join()


def test_it_is_not_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_S", 0.1)
    other = beginning(tmp_path / "x.db")

    with pytest.raises(sqlite3.OperationalError, match="locked"):
        database.connect(tmp_path / "x.db", "CREATE TABLE t (a)", 1)
    other.close()
