"""Model packages on disk: find, read the manifest, verify.

A package is a folder (see docs/models.md). A name or path flows in, a `Package` with its manifest
and labels flows out; every file is checked against the manifest's sha256 before a network is built
from it. This module never loads a TFLite runtime.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from bin_daemon.config.cache import cached
from bin_daemon.config.schema import Bounds, Name, section
from bin_daemon.config.sections import Share
from bin_daemon.config.validate import InvalidError, check
from bin_daemon.core import paths
from bin_daemon.core.errors import ModelError

Side = Annotated[int, Bounds(ge=16, le=2048)]

MANIFEST = "manifest.json"
MODEL = "model.tflite"
LABELS = "labels.txt"
GOLDEN = "golden.npz"


@section
class FileEntry:
    """One file of the package."""

    sha256: Annotated[str, Bounds(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Bounds(ge=0)]


@section
class InputSpec:
    """What the network eats: uint8 RGB, NHWC; real value = (pixel - mean) / std."""

    width: Side
    height: Side
    colour: Literal["RGB"]
    dtype: Literal["uint8"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@section
class OutputSpec:
    """Which output of the interpreter is which."""

    logits: Annotated[int, Bounds(ge=0)]
    embedding: Annotated[int, Bounds(ge=0)] | None = None
    """Null in a model that gives none: it classifies, but cannot be taught."""


@section
class Signature:
    """Who vouches for the package; checked when packages are installed from afar."""

    key_id: str
    value: str


@section
class Manifest:
    """`manifest.json`: what the package is, and what may be expected of it."""

    format: Literal[1]
    name: Name
    version: Annotated[int, Bounds(ge=1)]
    created: str
    files: dict[str, FileEntry]
    signature: Signature | None = None
    input: InputSpec
    outputs: OutputSpec
    temperature: Annotated[float, Bounds(gt=0)]
    thresholds: dict[str, Share]
    metrics: dict[str, Any]
    minimum_runtime: dict[str, str]
    provenance: dict[str, Any]
    licences: dict[str, str]


@dataclass(frozen=True, slots=True)
class Package:
    """A model package whose manifest has been read.

    folder: where it is. labels: the classes in the order of the logits.
    """

    folder: Path
    manifest: Manifest
    labels: tuple[str, ...]

    @property
    def id(self) -> str:
        """Name and version, as events and logs quote it ("waste6@3")."""
        return f"{self.manifest.name}@{self.manifest.version}"

    @property
    def thresholds(self) -> Mapping[str, float]:
        """By label, the probability from which the model may be trusted."""
        return self.manifest.thresholds

    def verified(self, name: str) -> bytes:
        """The content of one file, checked against the manifest.

        Raises ModelError where the file is missing or is not the one that was packaged.
        """
        path, entry = self.folder / name, self.manifest.files.get(name)
        if entry is None:
            raise ModelError(f"{self.folder / MANIFEST}: does not list {name}; package it again")
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(
                f"{path}: cannot read it: {error.strerror}; install the package again"
            ) from error
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise ModelError(
                f"{path}: is damaged or was changed (sha256 differs from the manifest); "
                f"install the package again"
            )
        return content

    def verify(self) -> None:
        """Check every file of the package; raises ModelError at the first that is not right."""
        for name in self.manifest.files:
            self.verified(name)


def open_package(name: str | Path, cache_dir: Path | None = None) -> Package:
    """Read the package called `name` in the store, or the folder `name`.

    cache_dir: the folder that remembers what was checked before.
    Raises ModelError where there is none, or its manifest or labels make no sense.
    """
    folder = next((f for f in (Path(name), paths.models() / name) if f.is_dir()), None)
    if folder is None:
        have = ", ".join(sorted(p.parent.name for p in paths.models().glob(f"*/{MANIFEST}")))
        raise ModelError(f"no model package '{name}'; in {paths.models()}: {have or 'none'}")
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot read it: {error.strerror}") from error
    manifest = cached(Manifest, text, cache_dir, lambda: _manifest(text, path))
    for file in manifest.files:
        if Path(file).name != file or file in ("", ".", ".."):
            raise ModelError(f"{path}: files: '{file}' is not a plain file name")
    package = Package(folder, manifest, ())
    lines = package.verified(LABELS).decode("utf-8", "replace").split("\n")
    labels = tuple(label for line in lines if (label := line.strip()))
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise ModelError(f"{folder / LABELS}: needs at least two labels, each once")
    if unknown := set(manifest.thresholds) - set(labels):
        raise ModelError(f"{path}: thresholds name no label: {', '.join(unknown)}")
    return replace(package, labels=labels)


def list_packages() -> list[Package | ModelError]:
    """Every package in the store, by name; a damaged one is given as the error it raises."""
    found: list[Package | ModelError] = []
    for manifest in sorted(paths.models().glob(f"*/{MANIFEST}")):
        try:
            found.append(open_package(manifest.parent))
        except ModelError as error:
            found.append(error)
    return found


def _manifest(text: bytes, path: Path) -> Manifest:
    try:
        return check(Manifest, json.loads(text))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: is not JSON: {error}") from error
    except InvalidError as invalid:
        key, words = invalid.faults[0]
        raise ModelError(f"{path}: {'.'.join(key) or 'file'}: {words}") from invalid
