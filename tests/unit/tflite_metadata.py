"""Reads the TFLite metadata of a model back, as other tools would, without TensorFlow."""

from __future__ import annotations

import io
import zipfile

import flatbuffers
from flatbuffers.number_types import Float32Flags, Int8Flags, UOffsetTFlags
from flatbuffers.table import Table

from export.conversion.metadata import BUFFER_NAME, IDENTIFIER, LABELS_FILE


def read(model: bytes) -> dict:
    """Read back what `embed` wrote, without TensorFlow.

    Returns name, width, height, mean, std, outputs (names), labels. Raises ValueError where the
    model carries no metadata.
    """
    root = _Reader.root(model)
    # Model: field 4 is buffers, field 6 metadata; Metadata: name, buffer; Buffer: data.
    notes = [note for note in root.tables(6) if note.text(0) == BUFFER_NAME]
    if not notes:
        raise ValueError("the model carries no TFLITE_METADATA")
    data = root.tables(4)[notes[0].number(1, UOffsetTFlags)].blob(0)
    if data[4:8] != IDENTIFIER:
        raise ValueError(f"the metadata has the identifier {data[4:8]!r}, not {IDENTIFIER!r}")
    about = _Reader.root(data)
    subgraph = about.tables(3)[0]
    entry = subgraph.tables(2)[0]
    size = entry.table(3).table(1).table(1)
    normalization = entry.tables(4)[0].table(1)
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        labels = archive.read(LABELS_FILE).decode("utf-8").splitlines()
    return {
        "name": about.text(0),
        "width": size.number(0, UOffsetTFlags),
        "height": size.number(1, UOffsetTFlags),
        "mean": normalization.floats(0),
        "std": normalization.floats(1),
        "outputs": [tensor.text(0) for tensor in subgraph.tables(3)],
        "labels": labels,
    }


class _Reader:
    """A table of a FlatBuffer, its fields found by number."""

    def __init__(self, data: bytes, position: int) -> None:
        self.inner = Table(data, position)

    @classmethod
    def root(cls, data: bytes) -> _Reader:
        return cls(data, flatbuffers.encode.Get(UOffsetTFlags.packer_type, data, 0))

    def _at(self, field: int) -> int:
        """Position of a field's content, 0 if it is absent."""
        offset = self.inner.Offset(4 + 2 * field)
        return self.inner.Pos + offset if offset else 0

    def number(self, field: int, flags: type = Int8Flags) -> int:
        at = self._at(field)
        return self.inner.Get(flags, at) if at else 0

    def text(self, field: int) -> str:
        at = self._at(field)
        return self.inner.String(at).decode("utf-8") if at else ""

    def table(self, field: int) -> _Reader:
        at = self._at(field)
        return _Reader(self.inner.Bytes, self.inner.Indirect(at))

    def _vector(self, field: int) -> tuple[int, int]:
        offset = self.inner.Offset(4 + 2 * field)
        if not offset:
            return 0, 0
        return self.inner.Vector(offset), self.inner.VectorLen(offset)

    def tables(self, field: int) -> list[_Reader]:
        start, count = self._vector(field)
        inner = self.inner
        return [_Reader(inner.Bytes, inner.Indirect(start + 4 * i)) for i in range(count)]

    def floats(self, field: int) -> list[float]:
        start, count = self._vector(field)
        return [self.inner.Get(Float32Flags, start + 4 * i) for i in range(count)]

    def blob(self, field: int) -> bytes:
        start, count = self._vector(field)
        return bytes(self.inner.Bytes[start : start + count])
