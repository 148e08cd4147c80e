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
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import flatbuffers

from export.networks.mobilenet import MEAN, SIZE, STD

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


def licences(config: Mapping[str, Any]) -> str:
    """The licences that a run's `config.json` names, as one line."""
    return "; ".join(f"{what}: {words}" for what, words in config["licences"].items())


def stamp(model: bytes, config: Mapping[str, Any]) -> bytes:
    """A TFLite file with the metadata and the labels of the run that it was made in.

    Args:
        model: the file, with logits and perhaps an embedding as its outputs.
        config: of the run, as in its `config.json`.
    """
    return embed(model, encode(config), config["labels"])


def encode(config: Mapping[str, Any]) -> bytes:
    """The metadata buffer of a classifier with one RGB picture as input, from a run's config."""
    recipe, labels = config["recipe"], config["labels"]
    if config.get("kind", "folded") == "folded":
        name, pooled = recipe, "Mean of the last feature map, 1280 values."
        about = f"{config['title']}: MobileNetV2 1.0/224, int8, {len(labels)} classes, embedding."
    else:
        name, pooled = f"bin_daemon {recipe}", "Pooled features before the head."
        backbone = config["settings"].get("network", {}).get("backbone", "Imported classifier")
        about = f"{backbone}; labels: {', '.join(labels)}"
    builder = flatbuffers.Builder(1024)
    exits = [("logits", "Class scores before softmax."), ("embedding", pooled)]
    entry = _input(builder, config)
    outputs = [_output(builder, *words) for words in exits]
    subgraph = _table(builder, [None, None, _tables(builder, [entry]), _tables(builder, outputs)])
    root = _table(
        builder,
        [
            builder.CreateString(name),
            builder.CreateString(about),
            builder.CreateString(str(config.get("version", 1))),
            _tables(builder, [subgraph]),
            builder.CreateString("bin_daemon"),
            builder.CreateString(licences(config)),
            None,
            builder.CreateString(PARSER_VERSION),
        ],
    )
    builder.Finish(root, IDENTIFIER)
    return bytes(builder.Output())


def _input(builder: flatbuffers.Builder, config: Mapping[str, Any]) -> int:
    side, pixels = config.get("size", SIZE), config.get("input", {"mean": MEAN, "std": STD})
    figures = [_floats(builder, pixels[name]) for name in ("mean", "std")]
    normalization = _table(builder, figures)
    unit = _table(builder, [("u8", _NORMALIZATION), normalization])
    size = _table(builder, [("u32", side), ("u32", side)])
    image = _table(builder, [("u8", _RGB), size])
    picture = _table(builder, [("u8", _IMAGE_PROPERTIES), image])
    fields = [
        builder.CreateString("image"),
        builder.CreateString("The whole picture, stretched to the input size."),
        None,
        picture,
        _tables(builder, [unit]),
    ]
    return _table(builder, fields)


def _output(builder: flatbuffers.Builder, name: str, description: str) -> int:
    features = _table(builder, [])
    content = _table(builder, [("u8", _FEATURE_PROPERTIES), features])
    files = None
    if name == "logits":
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
        builder.CreateString(name),
        builder.CreateString(description),
        None,
        content,
        None,
        None,
        files,
    ]
    return _table(builder, fields)


def _table(builder: flatbuffers.Builder, fields: Sequence[Any]) -> int:
    """Write a table: an int is an offset, ("u8" or "u32", n) a scalar, None an absent field."""
    builder.StartObject(len(fields))
    for slot, field in enumerate(fields):
        if isinstance(field, int):
            builder.PrependUOffsetTRelativeSlot(slot, field, 0)
        elif field is not None:
            kind, number = field
            write = builder.PrependUint8Slot if kind == "u8" else builder.PrependUint32Slot
            write(slot, number, 0)
    return int(builder.EndObject())


def _tables(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: flatbuffers.Builder, numbers: Sequence[float]) -> int:
    builder.StartVector(4, len(numbers), 4)
    for number in reversed(numbers):
        builder.PrependFloat32(number)
    return int(builder.EndVector())


def embed(model: bytes, metadata: bytes, labels: Sequence[str]) -> bytes:
    """Put metadata and labels into a TFLite model; a model that has metadata gets it replaced.

    The outputs are put in order of size: the converter orders them as it likes, while tools that
    know classifiers in general take the first output for the scores.

    Needs the model schema, which TensorFlow brings.
    """
    schema = tflite_schema()
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
    return append_labels(pack(content), labels)


def tflite_schema() -> Any:
    """The classes of a TFLite file's tables, which TensorFlow brings."""
    from tensorflow.lite.python import schema_py_generated as schema

    return schema


def pack(model: Any) -> bytes:
    """The bytes of a TFLite file that was edited as objects (`ModelT`)."""
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def append_labels(model: bytes, labels: Sequence[str]) -> bytes:
    """Append `labels.txt` as a zip archive; FlatBuffers ignore what follows them."""
    stream = io.BytesIO(model)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        # A fixed date keeps the file, and so its hash, the same from one build to the next.
        entry = zipfile.ZipInfo(LABELS_FILE, date_time=(1980, 1, 1, 0, 0, 0))
        archive.writestr(entry, "\n".join(labels) + "\n")
    return stream.getvalue()
