"""Model packages on disk: find, read the manifest, verify.

A package is a folder (see docs/models.md). A name or path flows in, a `Package` with its manifest
and labels flows out; every file is checked against the manifest's sha256 before a network is built
from it. This module never loads a TFLite runtime.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from bin_daemon import paths
from bin_daemon.errors import ModelError

MANIFEST = "manifest.json"
MODEL = "model.tflite"
LABELS = "labels.txt"
GOLDEN = "golden.npz"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Part):
    """One file of the package."""

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    bytes: int = Field(ge=0)


class InputSpec(_Part):
    """What the network eats: uint8 RGB, NHWC; real value = (pixel - mean) / std."""

    width: int = Field(ge=16, le=2048)
    height: int = Field(ge=16, le=2048)
    colour: Literal["RGB"]
    dtype: Literal["uint8"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class OutputSpec(_Part):
    """Which output of the interpreter is which."""

    logits: int = Field(ge=0)
    embedding: int = Field(ge=0)


class Signature(_Part):
    """Who vouches for the package; checked when packages are installed from afar."""

    key_id: str
    value: str


class Manifest(_Part):
    """`manifest.json`: what the package is, and what may be expected of it."""

    format: Literal[1]
    name: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]+$")]
    version: int = Field(ge=1)
    created: str
    files: dict[str, FileEntry]
    signature: Signature | None = None
    input: InputSpec
    outputs: OutputSpec
    temperature: float = Field(gt=0)
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]]
    metrics: dict[str, Any]
    minimum_runtime: dict[str, str]
    provenance: dict[str, Any]
    licences: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Package:
    """A model package whose manifest has been read.

    folder: where it lies. labels: the classes in the order of the logits.
    """

    folder: Path
    manifest: Manifest
    labels: tuple[str, ...]

    @property
    def id(self) -> str:
        """Name and version, as events and logs quote it ("waste6@3")."""
        return f"{self.manifest.name}@{self.manifest.version}"

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        return self.folder / name

    def verified(self, name: str) -> bytes:
        """The content of one file, checked against the manifest.

        Raises ModelError where the file is missing or is not the one that was packaged.
        """
        entry = self.manifest.files.get(name)
        if entry is None:
            raise ModelError(f"{self.folder / MANIFEST}: does not list {name}; package it again")
        try:
            content = self.file(name).read_bytes()
        except OSError as error:
            raise ModelError(
                f"{self.file(name)}: cannot read it: {error.strerror}; install the package again"
            ) from error
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise ModelError(
                f"{self.file(name)}: is damaged or was changed (sha256 differs from the manifest); "
                f"install the package again"
            )
        return content

    def verify(self) -> None:
        """Check every file of the package; raises ModelError at the first that is not right."""
        for name in self.manifest.files:
            self.verified(name)


def open_package(name: str | Path) -> Package:
    """Read the package called `name` in the store, or the folder `name`.

    Raises ModelError where there is none, or its manifest or labels make no sense.
    """
    folder = _find(name)
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        manifest = Manifest.model_validate_json(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{folder}: no readable {MANIFEST}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ModelError(f"{folder / MANIFEST}: {where}: {first['msg']}") from error
    for file in manifest.files:
        if os.path.basename(file) != file or file in ("", ".", ".."):
            raise ModelError(f"{folder / MANIFEST}: files: '{file}' is not a plain file name")
    package = Package(folder, manifest, ())
    labels = tuple(package.verified(LABELS).decode("utf-8", "replace").split("\n"))
    labels = tuple(label.strip() for label in labels if label.strip())
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise ModelError(f"{folder / LABELS}: needs at least two labels, each once")
    if unknown := set(manifest.thresholds) - set(labels):
        raise ModelError(f"{folder / MANIFEST}: thresholds name no label: {', '.join(unknown)}")
    return Package(folder, manifest, labels)


def list_packages() -> list[Package | ModelError]:
    """Every package in the store, by name; a damaged one is given as the error it raises."""
    found: list[Package | ModelError] = []
    for manifest in sorted(paths.models().glob(f"*/{MANIFEST}")):
        try:
            found.append(open_package(manifest.parent))
        except ModelError as error:
            found.append(error)
    return found


def _find(name: str | Path) -> Path:
    for folder in (Path(name), paths.models() / name):
        if folder.is_dir():
            return folder
    have = ", ".join(sorted(p.parent.name for p in paths.models().glob(f"*/{MANIFEST}"))) or "none"
    raise ModelError(f"no model package '{name}'; in {paths.models()}: {have}")


def manifest_json(manifest: Manifest) -> str:
    """The text of `manifest.json`, for whoever makes a package."""
    return json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
