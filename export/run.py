"""The run folder: where a step finds what the step before left, and where it says how it was made.

    config.json       what was asked for (recipe, seed, fold, paths relative to the repository)
    versions.json     Python, libraries, processor
    split.csv         every picture with its class, group and part
    log.txt           one line for each thing that happened, with the wall-clock time
    weights.npz       trained weights, and the rest that the steps add

Nothing here knows about networks or pictures.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import importlib.metadata
import io
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.files import READABLE, write_whole
from bin_daemon.core.messages import Array
from export.errors import ExportError

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT_RUNS = Path(__file__).resolve().parent / "runs"
CURVES = "curves.csv"  # what each epoch of a training gave; `seconds` is how long it took
_FOLDED = "mobilenet_v2_1.0_224_imagenet_folded.npz"
_SHARED_BACKBONE = REPOSITORY.parent / "shared" / "backbones" / _FOLDED
MADE_BACKBONE = Path(__file__).resolve().parent / "sets" / _FOLDED
"""Where `python -m export backbone` leaves the folded weights; git ignores it."""
DEFAULT_BACKBONE = _SHARED_BACKBONE if _SHARED_BACKBONE.is_file() else MADE_BACKBONE
LIBRARIES = (
    "tensorflow",
    "keras",
    "numpy",
    "opencv-python-headless",
    "ai-edge-litert",
    "tflite-runtime",
)


class Run:
    """A run folder. Files are written whole or not at all (write aside, then rename)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self) -> None:
        """Make the folder; raises ExportError where it cannot be made."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(f"{self.folder}: cannot make the run folder: {error}") from error

    def path(self, name: str) -> Path:
        """The path of a file in the folder, there or not."""
        return self.folder / name

    def need(self, name: str, made_by: str) -> Path:
        """The path of what step `made_by` must have left; ExportError where it is missing."""
        path = self.folder / name
        if not path.is_file():
            raise ExportError(f"{path}: missing; run `python -m export {made_by}` first")
        return path

    def write_json(self, name: str, content: Any) -> None:
        """Write JSON with sorted keys, so that two runs can be compared line by line."""
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        self.write_bytes(name, text.encode("utf-8"))

    def read_json(self, name: str, made_by: str) -> Any:
        """Read JSON that an earlier step left; raises ExportError as `need` does."""
        return json.loads(self.need(name, made_by).read_text(encoding="utf-8"))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Replace a file in one step, so that a broken-off run leaves no half file."""
        write_whole(self.folder / name, content, synced=False, mode=READABLE)

    def write_arrays(self, name: str, **arrays: Array) -> None:
        """Write an .npz archive as `write_bytes` does."""
        archive = io.BytesIO()
        np.savez_compressed(archive, **arrays)
        self.write_bytes(name, archive.getvalue())

    def log(self, message: str) -> None:
        """Print a line and add it to log.txt with the time of day (UTC)."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        print(message, flush=True)
        with (self.folder / "log.txt").open("a", encoding="utf-8") as stream:
            stream.write(f"{stamp} {message}\n")


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One process at a time: what trainings share is made by one, and the others find it made.

    Raises ExportError where the lock file cannot be written.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise ExportError(f"{lock}: cannot be written: {error}") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def claimed(run: Run, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `config.json` says of the training that a run holds, or None where it holds none yet.

    Raises ExportError where it is another training: one that differs in what is `asked`.
    """
    if not run.path("config.json").is_file():
        return None
    known: dict[str, Any] = run.read_json("config.json", "train")
    # Through JSON, as what is known went: it has no tuples.
    plain = json.loads(json.dumps(dict(asked)))
    if other := [key for key, value in plain.items() if known.get(key) != value]:
        raise ExportError(
            f"{run.folder}: holds another training (not the same: {', '.join(other)}); name "
            f"another run with --run"
        )
    return known


def training_time(run: Run) -> dict[str, Any]:
    """`minutes` that the epochs of a run took together, and `trained_on`, the kind of machine.

    Nothing where the run does not say how long; a run may be measured on another machine.
    """
    if not run.path(CURVES).is_file():
        return {}
    with run.path(CURVES).open(newline="", encoding="utf-8") as stream:
        seconds = [float(row.get("seconds") or 0.0) for row in csv.DictReader(stream)]
    if not any(seconds):
        return {}
    found: dict[str, Any] = {"minutes": round(sum(seconds) / 60, 1)}
    if run.path("versions.json").is_file():
        found["trained_on"] = run.read_json("versions.json", "train")["machine"]
    return found


def versions() -> dict[str, str]:
    """Versions of Python and of each library that is installed, and the kind of machine."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[library] = importlib.metadata.version(library)
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    return found


def relative(path: Path) -> str:
    """A path as saved in a run or a package: relative to the repository, never of this machine."""
    return os.path.relpath(path.resolve(), REPOSITORY)
