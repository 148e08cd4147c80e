"""Import TFLite classifiers that somebody else trained.

A float or an already quantised file flows in; out flows an int8 file that takes uint8 pixels and
gives the class scores before softmax and, where it can be found, the embedding. The FlatBuffer is
edited as objects; weights are never touched. It imports TensorFlow, so it is itself imported where
a model is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.optimize.calibrator import Calibrator
from tensorflow.lite.tools import flatbuffer_utils as tflite

from bin_daemon.core.messages import Array
from export.conversion.int8 import calibration
from export.errors import ExportError
from export.evaluation.runtimes import RUNTIMES, run_apart
from export.run import Run

LINEAR_SCALES = {"0-1": (0.0, 255.0), "-1-1": (127.5, 127.5), "0-255": (0.0, 1.0)}
"""Mean and standard deviation of pixels by name; all channels of a quantised input share them."""
LARGEST_EMBEDDING = 4096
"""Values. A bin keeps the embedding of each taught item; a flattened feature map is too long."""


class TfliteSource:
    """A TFLite classifier as somebody made it, cut down to logits and embedding.

    Raises ExportError where it is no TFLite file, or no classifier of one square RGB picture.
    """

    scales: Sequence[str]

    def __init__(self, file: Path, labels: Sequence[str]) -> None:
        model = _read(file)
        graph = model.subgraphs[0]
        entry = graph.tensors[graph.inputs[0]]
        self._kind = str(tflite.type_to_name(entry.type)).lower()
        if self._kind not in ("float32", "uint8", "int8"):
            raise ExportError(f"{file}: takes neither float32 nor uint8 nor int8")
        sizes = [int(prod(graph.tensors[tensor].shape)) for tensor in graph.outputs]
        if len(labels) not in sizes:
            raise ExportError(f"{file}: gives {sizes} values, but there are {len(labels)} labels")
        scores = graph.outputs[sizes.index(len(labels))]
        makers = {tensor: op for op in graph.operators for tensor in op.outputs}
        logits = _before(model, makers, scores, {"SOFTMAX", "DEQUANTIZE", "QUANTIZE"})
        embedding = _embedding(model, makers, logits)
        graph.outputs = [logits] if embedding is None else [logits, embedding]
        graph.operators = _needed(graph)
        _drop_unused_codes(model)
        model.signatureDefs = []
        self.side = int(entry.shape[1])
        # An integer input says by itself what a pixel is.
        self.scales = tuple(LINEAR_SCALES) if self._kind == "float32" else ("0-255",)
        self._content: bytes = tflite.convert_object_to_bytearray(model)
        self._quantised = tflite.type_to_name(graph.tensors[logits].type) in ("INT8", "UINT8")

    def input_spec(self, scale: str) -> dict[str, list[float]]:
        """Mean and standard deviation of the pixels, by channel."""
        mean, std = LINEAR_SCALES[scale]
        return {"mean": [mean] * 3, "std": [std] * 3}

    def answer(self, scale: str) -> Callable[[Array], Sequence[Array]]:
        """uint8 (n, s, s, 3) to logits and embeddings, float32."""
        mean, std = map(np.float32, LINEAR_SCALES[scale])

        def ask(squares: Array) -> tuple[Array, Array]:
            values = squares
            if self._kind == "int8":
                values = (squares.astype(np.int16) - 128).astype(np.int8)
            elif self._kind == "float32":
                values = (squares.astype(np.float32) - mean) / std
            outputs = run_apart(self._content, RUNTIMES[0], values)
            return outputs.logits, outputs.embedding

        return ask

    def quantise(self, _run: Run, scale: str, squares: Array) -> bytes:
        """The int8 file on plain pixels; a float one is calibrated on uint8 (n, s, s, 3).

        The scaling of pixels goes into the quantisation of the input. Raises ExportError where an
        operator has no int8 form.
        """
        if self._quantised:
            return self._on_pixels(scale)
        mean, std = map(np.float32, LINEAR_SCALES[scale])

        def pictures() -> Iterator[list[Array]]:
            return ([(pixels - mean) / std] for pixels in calibration(squares))

        try:
            made = Calibrator(self._content).calibrate_and_quantize(
                pictures, tf.uint8, tf.int8, allow_float=False
            )
            return bytes(made)
        except Exception as error:  # raised by native code, of no common kind
            raise ExportError(f"this file has no int8 form: {error}") from error

    def _on_pixels(self, scale: str) -> bytes:
        """The quantised file on uint8 pixels, by a QUANTIZE operator in front where it must."""
        if self._kind == "uint8":
            return self._content
        schema = tflite.schema_fb
        model = tflite.convert_bytearray_to_object(self._content)
        graph = model.subgraphs[0]
        old = graph.inputs[0]
        entry = graph.tensors[old]
        pixels = schema.TensorT()
        pixels.name, pixels.shape, pixels.buffer = b"pixels", entry.shape, 0
        pixels.type, pixels.quantization = schema.TensorType.UINT8, schema.QuantizationParametersT()
        if self._kind == "float32":
            mean, std = LINEAR_SCALES[scale]
            pixels.quantization.scale, pixels.quantization.zeroPoint = [1.0 / std], [round(mean)]
        else:
            known = entry.quantization
            pixels.quantization.scale = known.scale
            pixels.quantization.zeroPoint = [int(known.zeroPoint[0]) + 128]
        reader = next(op for op in graph.operators if old in list(op.inputs))
        if self._kind == "float32" and _op_name(model, reader) == "QUANTIZE":
            entry.type, entry.quantization = pixels.type, pixels.quantization
            return bytes(tflite.convert_object_to_bytearray(model))
        graph.tensors.append(pixels)
        first = schema.OperatorT()
        first.opcodeIndex = _quantize_code(model)
        first.inputs, first.outputs = [len(graph.tensors) - 1], [old]
        graph.operators.insert(0, first)
        graph.inputs = first.inputs
        return bytes(tflite.convert_object_to_bytearray(model))


def _read(file: Path) -> Any:
    """The file as objects, with one graph that takes one square RGB picture."""
    content = file.read_bytes()
    if content[4:8] != b"TFL3":
        raise ExportError(f"{file}: is no TFLite file")
    try:
        model = tflite.convert_bytearray_to_object(content)
        graph = model.subgraphs[0]
        shape = [int(n) for n in graph.tensors[graph.inputs[0]].shape]
    except Exception as error:  # flatbuffers checks nothing, and trips over what it meets
        raise ExportError(f"{file}: is damaged or cut short ({error}); copy it again") from error
    if len(model.subgraphs) != 1 or len(graph.inputs) != 1:
        raise ExportError(f"{file}: has several inputs or subgraphs; a plain classifier is needed")
    if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or shape[1] != shape[2]:
        raise ExportError(f"{file}: takes {shape}, not one square RGB picture [1, side, side, 3]")
    return model


def _op_name(model: Any, operator: Any) -> str:
    return str(tflite.opcode_to_name(model, operator.opcodeIndex))


def _quantize_code(model: Any) -> int:
    """Index of the operator code QUANTIZE of the model, added where it has none."""
    count = len(model.operatorCodes)
    for index in range(count):
        if tflite.opcode_to_name(model, index) == "QUANTIZE":
            return index
    code = tflite.schema_fb.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = tflite.schema_fb.BuiltinOperator.QUANTIZE
    code.version = 1
    model.operatorCodes.append(code)
    return count


def _drop_unused_codes(model: Any) -> None:
    """Drop operator codes without an operator: the calibrator refuses what it need not know."""
    used = sorted({op.opcodeIndex for op in model.subgraphs[0].operators})
    place = {old: new for new, old in enumerate(used)}
    model.operatorCodes = [model.operatorCodes[old] for old in used]
    for op in model.subgraphs[0].operators:
        op.opcodeIndex = place[op.opcodeIndex]


def _before(model: Any, makers: dict[int, Any], tensor: int, kinds: set[str]) -> int:
    """The tensor that stands before a chain of operators of some kinds."""
    while (made := makers.get(tensor)) is not None and _op_name(model, made) in kinds:
        tensor = int(made.inputs[0])
    return tensor


def _embedding(model: Any, makers: dict[int, Any], logits: int) -> int | None:
    """What the last stack of dense layers reads, if that is no whole feature map."""
    graph, found, tensor = model.subgraphs[0], None, logits
    shapes = {"RESHAPE", "SQUEEZE", "QUANTIZE", "DEQUANTIZE"}
    while (made := makers.get(_before(model, makers, tensor, shapes))) is not None:
        shape = graph.tensors[made.inputs[0]].shape
        dense = _op_name(model, made) == "FULLY_CONNECTED"
        pointwise = _op_name(model, made) == "CONV_2D" and len(shape) == 4 and prod(shape[1:3]) == 1
        if not dense and not pointwise:
            break
        tensor = int(made.inputs[0])
        if prod(shape) <= LARGEST_EMBEDDING:
            found = tensor
    return found


def _needed(graph: Any) -> list[Any]:
    """The operators that the outputs need, in their order, which is that of execution."""
    wanted, needed = set(graph.outputs), []
    for op in reversed(graph.operators):
        if not wanted.isdisjoint(op.outputs):
            wanted.update(op.inputs)
            needed.append(op)
    return needed[::-1]
