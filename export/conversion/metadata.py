"""TFLite metadata: what other TFLite tools read from the model file itself; written and read back.

Writes the `TFLITE_METADATA` buffer (schema: tensorflow/tflite-support `metadata_schema.fbs`, file
identifier M001) with input size and normalisation and names of the outputs, and appends the labels
as a zip archive, which is where the format keeps associated files. Encoded here with the
`flatbuffers` library alone: the official writers are released for older Python and protobuf than
TensorFlow 2.21 works with.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import flatbuffers
from flatbuffers.number_types import Float32Flags, Int8Flags, UOffsetTFlags
from flatbuffers.table import Table

from export.networks.mobilenet import MEAN, SIZE, STD

BUFFER_NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
LABELS_FILE = "labels.txt"
PARSER_VERSION = "1.0.0"


class _Byte(int):
    """A field of one byte, as enumerations and the kinds of unions in metadata_schema.fbs are."""


_TENSOR_LABELS = _Byte(2)  # AssociatedFileType.TENSOR_AXIS_LABELS
_IMAGE_PROPERTIES = _Byte(2)  # ContentProperties
_FEATURE_PROPERTIES = _Byte(1)
_NORMALIZATION = _Byte(1)  # ProcessUnitOptions
_RGB = _Byte(1)  # ColorSpaceType


def licences(config: Mapping[str, Any]) -> str:
    """The licences that a run's `config.json` names, as one line."""
    return "; ".join(f"{what}: {words}" for what, words in config["licences"].items())


def stamp(model: bytes, config: Mapping[str, Any]) -> bytes:
    """Put metadata and labels into a TFLite file; metadata that it has already are replaced.

    The outputs are put in order of size: the converter orders them as it likes, while tools that
    know classifiers in general take the first output for the scores.

    model: the file, with logits and perhaps an embedding as its outputs. config: of the run that it
    was made in, as in its `config.json`.
    """
    from tensorflow.lite.tools import flatbuffer_utils as tflite

    content = tflite.convert_bytearray_to_object(model)
    graph = content.subgraphs[0]
    graph.outputs = sorted(graph.outputs, key=lambda tensor: prod(graph.tensors[tensor].shape))
    buffer, note = tflite.schema_fb.BufferT(), tflite.schema_fb.MetadataT()
    buffer.data = list(encode(config))
    note.name, note.buffer = BUFFER_NAME, len(content.buffers)
    content.buffers.append(buffer)
    others = [one for one in content.metadata or [] if one.name != BUFFER_NAME.encode()]
    content.metadata = [*others, note]
    return append_labels(tflite.convert_object_to_bytearray(content), config["labels"])


def encode(config: Mapping[str, Any]) -> bytes:
    """The metadata buffer of a classifier with one RGB picture as input, from a run's config.

    A table is a tuple of its fields in the order of metadata_schema.fbs, a vector is a list.
    """
    recipe, labels, side = config["recipe"], config["labels"], config.get("size", SIZE)
    name, pooled = f"bin_daemon {recipe}", "Pooled features before the head."
    backbone = config["settings"].get("network", {}).get("backbone", "Imported classifier")
    about = f"{backbone}; labels: {', '.join(labels)}"
    if config.get("kind", "folded") == "folded":
        name, pooled = recipe, "Mean of the last feature map, 1280 values."
        about = f"{config['title']}: MobileNetV2 1.0/224, int8, {len(labels)} classes, embedding."
    pixels = config.get("input", {"mean": MEAN, "std": STD})
    scaling = tuple([float(number) for number in pixels[key]] for key in ("mean", "std"))
    image, units = (_IMAGE_PROPERTIES, (_RGB, (side, side))), [(_NORMALIZATION, scaling)]
    entry = ("image", "The whole picture, stretched to the input size.", None, image, units)
    values = (_FEATURE_PROPERTIES, ())
    order = "Class names, one a line, in the order of the scores."
    files = [(LABELS_FILE, order, _TENSOR_LABELS)]
    scores = ("logits", "Class scores before softmax.", None, values, None, None, files)
    embedding = ("embedding", pooled, None, values)
    graphs = [(None, None, [entry], [scores, embedding])]
    version, licence = str(config.get("version", 1)), licences(config)
    builder = flatbuffers.Builder(1024)
    root = (name, about, version, graphs, "bin_daemon", licence, None, PARSER_VERSION)
    builder.Finish(_written(builder, root), IDENTIFIER)
    return bytes(builder.Output())


def _written(builder: flatbuffers.Builder, value: Any) -> Any:
    """Write a string, a table or a vector, and give its place; a scalar stands in its table."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if not isinstance(value, list | tuple):
        return None
    places = [_written(builder, part) for part in value]
    if isinstance(value, list):
        builder.StartVector(4, len(value), 4)
        for part, place in zip(reversed(value), reversed(places), strict=True):
            if isinstance(part, float):
                builder.PrependFloat32(part)
            else:
                builder.PrependUOffsetTRelative(place)
        return builder.EndVector()
    builder.StartObject(len(value))
    for slot, (part, place) in enumerate(zip(value, places, strict=True)):
        if isinstance(part, _Byte):
            builder.PrependUint8Slot(slot, part, 0)
        elif isinstance(part, int):
            builder.PrependUint32Slot(slot, part, 0)
        elif part is not None:
            builder.PrependUOffsetTRelativeSlot(slot, place, 0)
    return builder.EndObject()


def append_labels(model: bytes, labels: Sequence[str]) -> bytes:
    """Append `labels.txt` as a zip archive; FlatBuffers ignore what follows them."""
    stream = io.BytesIO(model)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        # A fixed date keeps the file, and so its hash, the same from one build to the next.
        entry = zipfile.ZipInfo(LABELS_FILE, date_time=(1980, 1, 1, 0, 0, 0))
        archive.writestr(entry, "\n".join(labels) + "\n")
    return stream.getvalue()


def read(model: bytes) -> dict[str, Any]:
    """What a model file says of itself, read without TensorFlow, as other tools would.

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
