"""TFLite metadata: what other TFLite tools read from the model file itself.

Writes the `TFLITE_METADATA` buffer (schema: tensorflow/tflite-support `metadata_schema.fbs`, file
identifier M001) with input size and normalisation and names of the outputs, and appends the labels
as a zip archive, which is where the format keeps associated files. Encoded here with the
`flatbuffers` library alone: the official writers are released for older Python and protobuf than
TensorFlow 2.21 works with.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import flatbuffers
from flatbuffers.number_types import Float32Flags, Int8Flags, UOffsetTFlags
from flatbuffers.table import Table

BUFFER_NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
LABELS_FILE = "labels.txt"
PARSER_VERSION = "1.0.0"

# Field numbers are positions in the tables of metadata_schema.fbs; unions take two.
_TENSOR_LABELS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS
_IMAGE_PROPERTIES = 2  # ContentProperties union
_FEATURE_PROPERTIES = 1
_NORMALIZATION = 1  # ProcessUnitOptions union
_RGB = 1  # ColorSpaceType


@dataclass(frozen=True, slots=True)
class TensorNote:
    """Name and meaning of an input or output."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Description:
    """What the metadata says of a classifier."""

    name: str
    description: str
    version: str
    author: str
    licence: str
    width: int
    height: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    outputs: tuple[TensorNote, ...]
    """Smallest first; the one named "logits" is the one the labels belong to."""


def licences(config: Mapping[str, Any]) -> str:
    """The licences that a run's `config.json` names, as one line."""
    return "; ".join(f"{what}: {words}" for what, words in config["licences"].items())


def encode(about: Description) -> bytes:
    """The metadata buffer of a classifier with one RGB picture as input."""
    builder = flatbuffers.Builder(1024)
    normalization = _table(builder, [_floats(builder, about.mean), _floats(builder, about.std)])
    unit = _table(builder, [("u8", _NORMALIZATION), normalization])
    size = _table(builder, [("u32", about.width), ("u32", about.height)])
    image = _table(builder, [("u8", _RGB), size])
    picture = _table(builder, [("u8", _IMAGE_PROPERTIES), image])
    entry = _table(
        builder,
        [
            builder.CreateString("image"),
            builder.CreateString("The whole picture, stretched to the input size."),
            None,
            picture,
            _tables(builder, [unit]),
        ],
    )
    exits = [_output(builder, note) for note in about.outputs]
    subgraph = _table(builder, [None, None, _tables(builder, [entry]), _tables(builder, exits)])
    root = _table(
        builder,
        [
            builder.CreateString(about.name),
            builder.CreateString(about.description),
            builder.CreateString(about.version),
            _tables(builder, [subgraph]),
            builder.CreateString(about.author),
            builder.CreateString(about.licence),
            None,
            builder.CreateString(PARSER_VERSION),
        ],
    )
    builder.Finish(root, IDENTIFIER)
    return bytes(builder.Output())


def _output(builder: flatbuffers.Builder, note: TensorNote) -> int:
    features = _table(builder, [])
    content = _table(builder, [("u8", _FEATURE_PROPERTIES), features])
    files = None
    if note.name == "logits":
        labels = _table(
            builder,
            [
                builder.CreateString(LABELS_FILE),
                builder.CreateString("Class names, one a line, in the order of the scores."),
                ("u8", _TENSOR_LABELS),
            ],
        )
        files = _tables(builder, [labels])
    fields = [
        builder.CreateString(note.name),
        builder.CreateString(note.description),
        None,
        content,
        None,
        None,
        files,
    ]
    return _table(builder, fields)


def _table(builder: flatbuffers.Builder, fields: Sequence) -> int:
    """Write a table: an int is an offset, ("u8" or "u32", n) a scalar, None an absent field."""
    builder.StartObject(len(fields))
    for slot, field in enumerate(fields):
        if isinstance(field, int):
            builder.PrependUOffsetTRelativeSlot(slot, field, 0)
        elif field is not None:
            kind, number = field
            write: Callable = (
                builder.PrependUint8Slot if kind == "u8" else builder.PrependUint32Slot
            )
            write(slot, number, 0)
    return builder.EndObject()


def _tables(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _floats(builder: flatbuffers.Builder, numbers: Sequence[float]) -> int:
    builder.StartVector(4, len(numbers), 4)
    for number in reversed(numbers):
        builder.PrependFloat32(number)
    return builder.EndVector()


def embed(model: bytes, metadata: bytes, labels: Sequence[str]) -> bytes:
    """Put metadata and labels into a TFLite model; a model that has metadata gets it replaced.

    The outputs are put in order of size: the converter orders them as it likes, while tools that
    know classifiers in general take the first output for the scores.

    Needs the model schema, which TensorFlow brings.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    content = schema.ModelT.InitFromPackedBuf(model, 0)
    graph = content.subgraphs[0]
    graph.outputs = sorted(graph.outputs, key=lambda tensor: prod(graph.tensors[tensor].shape))
    buffer = schema.BufferT()
    buffer.data = list(metadata)
    content.buffers.append(buffer)
    note = schema.MetadataT()
    note.name = BUFFER_NAME
    note.buffer = len(content.buffers) - 1
    others = [m for m in content.metadata or [] if m.name not in (BUFFER_NAME, b"TFLITE_METADATA")]
    content.metadata = [*others, note]
    builder = flatbuffers.Builder(len(model) + len(metadata) + 1024)
    builder.Finish(content.Pack(builder), b"TFL3")
    return append_labels(bytes(builder.Output()), labels)


def append_labels(model: bytes, labels: Sequence[str]) -> bytes:
    """Append `labels.txt` as a zip archive; FlatBuffers ignore what follows them."""
    stream = io.BytesIO(model)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        # A fixed date keeps the file, and so its hash, the same from one build to the next.
        entry = zipfile.ZipInfo(LABELS_FILE, date_time=(1980, 1, 1, 0, 0, 0))
        archive.writestr(entry, "\n".join(labels) + "\n")
    return stream.getvalue()


def read(model: bytes) -> dict:
    """Read back what `embed` wrote, without TensorFlow.

    Returns:
        name, width, height, mean, std, outputs (names), labels.

    Raises:
        ValueError: the model carries no metadata.
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
