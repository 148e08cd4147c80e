"""How log records are written: JSON lines for the journal, readable lines for people.

Records of `logging` flow in, lines on standard error flow out. A record is always one line of the
journal, tracebacks included.
"""

from __future__ import annotations

import json
import logging
import os
import sys

_READABLE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

# Priorities of syslog (RFC 5424, section 6.2.1), which journald reads from a `<N>` before a line.
_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6}
_DEBUG = 7


class JournalFormatter(logging.Formatter):
    """One record as `<priority>{"level": ..., "logger": ..., "message": ..., ...}`.

    thread: only where it is not the main one. exception: the traceback, where there is one. The
    journal stamps the time itself.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record in one line, whatever is in its message."""
        fields = {
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.threadName not in (None, "MainThread"):
            fields["thread"] = str(record.threadName)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        priority = _PRIORITIES.get(record.levelno, _DEBUG)
        return f"<{priority}>{json.dumps(fields, ensure_ascii=False)}"


def to_journal() -> bool:
    """Whether standard error is the journal itself, by device and inode; see systemd.exec(5)."""
    stream = os.environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # closed, or replaced by a test
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


def start(level: str) -> None:
    """Log to standard error from now on; level: "debug", "info", "warning" or "error"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JournalFormatter() if to_journal() else logging.Formatter(_READABLE))
    logging.basicConfig(level=level.upper(), handlers=[handler])
