"""A head that a bin was taught: its own classes, on the embedding of one network.

An embedding flows in, logits flow out. A `Head` is a value in one file, written whole or not at
all; it knows which network it belongs to and what it was worth when it was taught.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from bin_daemon.core.errors import ModelError
from bin_daemon.core.files import write_whole
from bin_daemon.core.messages import Array
from bin_daemon.model.calibration import Floats
from bin_daemon.model.package import MODEL, Package

_FORMAT = 1
_ARRAYS = ("kernel", "bias")
_FIELDS = "told"  # in the archive, what is not an array, as JSON


def unit(embeddings: Array) -> Floats:
    """Embeddings (n, d) or (d,) scaled to length 1, float32.

    How strongly a crop excites the network varies with light and sharpness; what it excites shows
    the class. It also makes the strength of `solver.fit` mean the same for every network.
    """
    length = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return np.asarray(embeddings / np.maximum(length, 1e-12), np.float32)


@dataclasses.dataclass(frozen=True, slots=True)
class Base:
    """The network that a head belongs to: id of its package, SHA-256 of its `model.tflite`."""

    id: str
    sha256: str

    @classmethod
    def of(cls, package: Package) -> Self:
        """The network of `package`."""
        return cls(package.id, package.manifest.files[MODEL].sha256)


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """A taught head.

    labels: k classes. kernel: float32 (d, k), for embeddings of length 1. bias: float32 (k,).
    temperature: of the softmax. thresholds: for each class, the probability its route must reach.
    taught_at: wall clock. figures: what it was worth, as `training` gives them.
    """

    labels: tuple[str, ...]
    kernel: Floats
    bias: Floats
    temperature: float
    thresholds: Mapping[str, float]
    base: Base
    taught_at: float
    figures: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Network and day of teaching (UTC), as events quote it ("waste6@3+taught-20261121")."""
        day = dt.datetime.fromtimestamp(self.taught_at, dt.UTC)
        return f"{self.base.id}+taught-{day:%Y%m%d}"

    def logits(self, embedding: Floats) -> Floats:
        """Scores before softmax, float32 (k,) or (n, k), of embeddings (d,) or (n, d)."""
        return np.asarray(unit(embedding) @ self.kernel + self.bias, np.float32)

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """The head in the file `path`; None where there is none, or the file is empty.

        Raises ModelError where the file is damaged or cannot be read.
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ModelError(
                f"{path}: cannot read the taught head: {error.strerror}; check who owns it"
            ) from error
        if not data:
            return None
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                fields = json.loads(str(archive[_FIELDS]))
                fields |= {name: np.asarray(archive[name], np.float32) for name in _ARRAYS}
            if fields.pop("format") != _FORMAT:
                raise ValueError("it is of another version of this program")
            fields |= {"labels": tuple(fields["labels"]), "base": Base(**fields["base"])}
            head = cls(**fields)
            if head.kernel.shape[1:] != head.bias.shape or len(head.labels) != len(head.bias):
                raise ValueError("its parts do not fit together")
        except Exception as error:  # what zip, npy and JSON trip over has no common kind
            raise ModelError(
                f"{path}: the taught head is damaged ({error}); `bin-daemon teach --undo` takes it "
                f"away, `bin-daemon teach --kept` makes it anew from the kept pictures"
            ) from error
        return head

    def save(self, path: Path, like: os.stat_result | None = None) -> None:
        """Write it to `path`, whole or not at all; like: as for `write_whole`. Raises OSError."""
        fields: dict[str, Any] = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        arrays = {name: fields.pop(name) for name in _ARRAYS}
        fields |= {"base": dataclasses.asdict(self.base), "format": _FORMAT}
        file = io.BytesIO()
        np.savez(file, **arrays, **{_FIELDS: np.array(json.dumps(fields))})
        write_whole(path, file.getbuffer(), like=like)
