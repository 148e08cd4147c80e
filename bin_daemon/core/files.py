"""Files that are written whole or not at all.

Bytes flow in, a file that holds all of them stands in place of the former one, or that one stays.
Where a file belongs is the business of `paths`, and what a failure means that of the caller.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

READABLE = 0o666
"""The mode of what anybody may read, less the umask."""


def write_whole(
    path: Path,
    data: bytes | memoryview,
    *,
    synced: bool = True,
    like: os.stat_result | None = None,
    mode: int = 0o600,
) -> None:
    """Put `data` at `path` in one step; nobody ever sees, or keeps, half of it.

    synced: not even when the power fails. like: whose mode and owner it takes, in place of `mode`
    less the umask. Raises OSError, and leaves the former file and nothing beside it then.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        # One that a crash has left may be of another user; and nobody lays a link in the way.
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            if like and (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(handle, like.st_uid, like.st_gid)
            if like:
                os.fchmod(handle, like.st_mode & 0o7777)
            file.write(data)
            if synced:
                file.flush()
                os.fsync(handle)
        temporary.replace(path)
        if synced:
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)  # or its name would not outlive a power cut, see fsync(2)
            finally:
                os.close(folder)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def table_bytes(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """A table as CSV in UTF-8, with a line of column names."""
    import csv  # a daemon at work writes no tables

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()
