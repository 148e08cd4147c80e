"""How log records look in the journal and for people."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest

from bin_daemon.core.logs import JournalFormatter

SAY = """
import logging, threading
from bin_daemon.core import logs
logs.start("info")
logging.getLogger("bin").warning("two\\nlines")
thread = threading.Thread(target=lambda: logging.getLogger("bin").info("hidden"), name="chute")
thread.start()
thread.join()
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("bin").exception("broken")
"""


def said(tmp_path, stream: str | None) -> list[str]:
    """The lines that a process logs to a file; stream: JOURNAL_STREAM, or "own" for that file's."""
    path = tmp_path / "err"
    environment = {k: v for k, v in os.environ.items() if k != "JOURNAL_STREAM"}
    with path.open("w") as file:
        if stream == "own":
            status = os.fstat(file.fileno())
            stream = f"{status.st_dev}:{status.st_ino}"
        if stream is not None:
            environment["JOURNAL_STREAM"] = stream
        subprocess.run([sys.executable, "-c", SAY], env=environment, stderr=file, check=True)
    return path.read_text().splitlines()


def test_the_journal_gets_one_json_line_with_its_priority_for_each_record(tmp_path):
    lines = said(tmp_path, "own")
    assert [line[:3] for line in lines] == ["<4>", "<6>", "<3>"]
    warning, info, broken = (json.loads(line[3:]) for line in lines)
    assert warning == {"level": "warning", "logger": "bin", "message": "two\nlines"}
    assert info["thread"] == "chute"
    assert broken["exception"].startswith("Traceback")
    assert broken["exception"].endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize("stream", [None, "", "1:1", "garbage"])
def test_everybody_else_gets_readable_lines(tmp_path, stream):
    lines = said(tmp_path, stream)
    assert lines[0].endswith("WARNING bin: two")
    assert lines[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6),
     (logging.DEBUG, 7), (5, 7)],
)  # fmt: skip
def test_levels_become_priorities_of_syslog(level, priority):
    record = logging.LogRecord("x", level, "f", 1, "a %s", ("b",), None)
    assert JournalFormatter().format(record).startswith(f'<{priority}>{{"level": ')
