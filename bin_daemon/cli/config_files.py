"""How a configuration file is changed with a person's consent."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bin_daemon.config import edit
from bin_daemon.config.load import read
from bin_daemon.core.errors import UsageError


def rewrite(
    path: Path, text: str, changes: Mapping[edit.Key, Any], yes: bool, backup: Path | None = None
) -> bool:
    """Show what `changes` do to the file, ask, and write it; whether it was written.

    text: what the file held when the command began. backup: where the old text goes first.
    Raises ConfigError where the result would be no good configuration or cannot be written,
    UsageError where the file has changed meanwhile.
    """
    new = edit.edited(text, str(path), changes)
    print(edit.difference(text, new, str(path)))
    if not yes and not _agreed(f"write {path}?"):
        print("nothing was written", file=sys.stderr)
        return False
    if read(path) != text:
        raise UsageError(f"{path}: has changed meanwhile; nothing was written")
    if backup is not None:
        if backup.exists():
            raise UsageError(f"{backup}: is there already; move it away first")
        edit.replace(backup, text, like=path)
        print(f"the old file: {backup}")
    edit.replace(path, new)
    print(f"written: {path}")
    return True


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("no terminal to ask on; check the above, and give --yes")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
