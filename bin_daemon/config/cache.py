"""A cache of checked configurations and manifests, for a faster start.

Checking a text with pydantic costs more than all the rest of a daemon's start. The result goes to
the state directory under the hash of the text and of this program's version; any other text is
checked again. Whatever is wrong with a cache file, the only loss is time.
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

# Nothing but the sections of these modules, and paths, is ever built from a cache file.
_MODULES = ("bin_daemon.config.sections", "bin_daemon.config.hardware", "bin_daemon.model.package")

# Their names in the pickles of version 0.2, which an upgraded bin still reads.
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

    folder: of the cache files; None for no cache. Raises what `check` raises.
    """
    if folder is None:
        return check()
    key = hashlib.sha256(f"{__version__} {_edition()}\0".encode() + text).hexdigest()
    stored_key, stored = _read(kind, folder)
    if stored is not None and stored_key == key:
        return stored
    result = check()
    with contextlib.suppress(OSError, BinDaemonError):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(_file(kind, folder), pickle.dumps((key, result)), synced=False)
    return result


def last_good(kind: type[T], folder: Path) -> T | None:
    """What was stored last, whatever its text; None where nothing is.

    For what must be done even where the file of today cannot be read.
    """
    return _read(kind, folder)[1]


def _file(kind: type, folder: Path) -> Path:
    return folder / f"{kind.__name__.lower()}.checked"


def _edition() -> str:
    """What changes when a module that says what is right is edited."""
    root = Path(__file__).parents[2]
    files = (root.joinpath(*m.split(".")).with_suffix(".py") for m in _MODULES)
    with contextlib.suppress(OSError):
        return " ".join(f"{s.st_mtime_ns} {s.st_size}" for s in map(os.stat, files))
    return ""


def _read(kind: type[T], folder: Path) -> tuple[str, T | None]:
    """What is stored, and its key; None where there is no such thing or the file is damaged."""
    with contextlib.suppress(Exception):  # a damaged file can raise nearly anything
        key, result = _Unpickler(io.BytesIO(_file(kind, folder).read_bytes())).load()
        if isinstance(result, kind):
            return key, result
    return "", None
