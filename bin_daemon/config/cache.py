"""What was checked once need not be checked again at the next start.

Checking a text (a configuration, a manifest) with pydantic costs more than all the rest of a
daemon's start. The checked result is kept in the state directory under the hash of the text and of
this program's version; any other text is checked afresh. Whatever is wrong with the kept file, the
only loss is time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path, PosixPath
from typing import Any, TypeVar

from bin_daemon import __version__
from bin_daemon.core.errors import BinDaemonError
from bin_daemon.core.files import write_whole

T = TypeVar("T")

# Nothing but the sections of these modules, and paths, is ever built from the kept file.
_MODULES = ("bin_daemon.config.sections", "bin_daemon.config.hardware", "bin_daemon.model.package")

# Version 0.2 named them so in its pickles: a bin that was upgraded must still find what it kept.
_FORMERLY = {
    "bin_daemon.config": "bin_daemon.config.sections",
    "bin_daemon.config_hardware": "bin_daemon.config.hardware",
    "bin_daemon.model_store": "bin_daemon.model.package",
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = _FORMERLY.get(module, module)
        if module in _MODULES:
            found = getattr(importlib.import_module(module), name)
            if isinstance(found, type) and dataclasses.is_dataclass(found):
                return found
        if (module, name) == ("pathlib", "PosixPath"):
            return PosixPath
        raise pickle.UnpicklingError(f"{module}.{name} has no place here")


def cached(kind: type[T], text: bytes, folder: Path | None, check: Callable[[], T]) -> T:
    """`check()`, or what it gave for the same text before.

    folder: where results are kept, or None to keep none. Raises what `check` raises.
    """
    if folder is None:
        return check()
    key = hashlib.sha256(f"{__version__} {_edition()}\0".encode() + text).hexdigest()
    path = folder / _name(kind)
    kept = _kept(path)
    if kept and kept[0] == key and isinstance(kept[1], kind):
        return kept[1]
    result = check()
    _write(path, key, result)
    return result


def last_good(kind: type[T], folder: Path) -> T | None:
    """What was kept last, whatever its text; None where nothing is.

    For what must be done even where the file of today cannot be read.
    """
    kept = _kept(folder / _name(kind))
    return kept[1] if kept and isinstance(kept[1], kind) else None


def _name(kind: type) -> str:
    return f"{kind.__name__.lower()}.checked"


def _edition() -> str:
    """What changes when a module that says what is right is edited."""
    root = Path(__file__).parents[2]
    files = (root.joinpath(*m.split(".")).with_suffix(".py") for m in _MODULES)
    with contextlib.suppress(OSError):
        return " ".join(f"{s.st_mtime_ns} {s.st_size}" for s in map(os.stat, files))
    return ""


def _kept(path: Path) -> tuple[str, Any] | None:
    """The key and the result of a file. A damaged one can raise nearly anything: check again."""
    with contextlib.suppress(Exception):
        key, result = _Unpickler(io.BytesIO(path.read_bytes())).load()
        return key, result
    return None


def _write(path: Path, key: str, result: object) -> None:
    with contextlib.suppress(OSError, BinDaemonError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, pickle.dumps((key, result)), synced=False)
