"""Import TFLite classifiers that somebody else trained.

The bytes of a float or an already quantised file flow in; out flows an int8 file that takes uint8
pixels and gives the class scores before softmax and, where it can be found, the embedding. The
FlatBuffer is edited as objects; weights are never touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.conversion.int8 import calibration
from export.conversion.metadata import pack, tflite_schema
from export.errors import ExportError

LINEAR_SCALES = {"0-1": (0.0, 255.0), "-1-1": (127.5, 127.5), "0-255": (0.0, 1.0)}
"""Mean and standard deviation of pixels by name; all channels of a quantised input share them."""
LARGEST_EMBEDDING = 4096
"""Values. A bin keeps the embedding of each taught item; a flattened feature map is too long."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A TFLite classifier whose outputs are [logits] or [logits, embedding].

    content: the file. side: of its input. kind: "float32", "uint8" or "int8", of its input.
    quantised: whether the network itself computes in integers, whatever its input is.
    """

    content: bytes
    side: int
    kind: str
    quantised: bool


def open_model(content: bytes, classes: int, file: str) -> Opened:
    """Cut a classifier down to logits and embedding.

    Args:
        content: the file.
        classes: how many labels there are.
        file: name for messages.

    Raises:
        ExportError: it is no TFLite file, or no classifier of one square RGB picture.
    """
    schema = tflite_schema()
    if content[4:8] != b"TFL3":
        raise ExportError(f"{file}: is no TFLite file")
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        graph = model.subgraphs[0]
        entry = graph.tensors[graph.inputs[0]]
        shape = [int(n) for n in entry.shape]
    except Exception as error:  # flatbuffers checks nothing, and trips over what it meets
        raise ExportError(f"{file}: is damaged or cut short ({error}); copy it again") from error
    if len(model.subgraphs) != 1 or len(graph.inputs) != 1:
        raise ExportError(f"{file}: has several inputs or subgraphs; a plain classifier is needed")
    if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or shape[1] != shape[2]:
        raise ExportError(f"{file}: takes {shape}, not one square RGB picture [1, side, side, 3]")
    types = schema.TensorType
    kinds = {types.FLOAT32: "float32", types.UINT8: "uint8", types.INT8: "int8"}
    if entry.type not in kinds:
        raise ExportError(f"{file}: takes neither float32 nor uint8 nor int8")
    scores = [t for t in graph.outputs if prod(graph.tensors[t].shape) == classes]
    if not scores:
        found = [int(prod(graph.tensors[t].shape)) for t in graph.outputs]
        raise ExportError(f"{file}: gives {found} values, but there are {classes} labels")
    makers = {tensor: op for op in graph.operators for tensor in op.outputs}
    logits = _before(model, makers, scores[0], {"SOFTMAX", "DEQUANTIZE", "QUANTIZE"})
    embedding = _embedding(model, makers, logits)
    graph.outputs = [logits] if embedding is None else [logits, embedding]
    graph.operators = _needed(graph, makers)
    _drop_unused_codes(model)
    model.signatureDefs = []
    quantised = graph.tensors[logits].type in (types.INT8, types.UINT8)
    return Opened(pack(model), shape[1], kinds[entry.type], quantised)


def quantise_float(opened: Opened, squares: Array, scale: str) -> bytes:
    """Quantise a float model, its scaling of pixels going into the input's quantisation.

    Args:
        opened: with a float32 input.
        squares: uint8 (n, s, s, 3) to calibrate on.
        scale: a key of `LINEAR_SCALES`.

    Raises:
        ExportError: an operator has no int8 form.
    """
    import tensorflow as tf
    from tensorflow.lite.python.optimize.calibrator import Calibrator

    mean, std = (np.float32(number) for number in LINEAR_SCALES[scale])

    def pictures() -> Iterator[list[Array]]:
        return ([(pixels - mean) / std] for pixels in calibration(squares))

    calibrator = Calibrator(opened.content)
    try:
        made = calibrator.calibrate_and_quantize(pictures, tf.uint8, tf.int8, allow_float=False)
        return bytes(made)
    except Exception as error:  # raised by native code, of no common kind
        raise ExportError(f"this file has no int8 form: {error}") from error


def feed_pixels(opened: Opened, scale: str) -> bytes:
    """Let a quantised model take uint8 pixels, by a QUANTIZE operator in front where it must.

    Args:
        opened: a model that is quantised inside.
        scale: what a float32 input expects of pixels; an integer input says it by itself.
    """
    if opened.kind == "uint8":
        return opened.content
    schema = tflite_schema()
    model = schema.ModelT.InitFromPackedBuf(opened.content, 0)
    graph = model.subgraphs[0]
    old = graph.inputs[0]
    entry = graph.tensors[old]
    quantisation, known = schema.QuantizationParametersT(), entry.quantization
    if opened.kind == "float32":
        mean, std = LINEAR_SCALES[scale]
        quantisation.scale, quantisation.zeroPoint = [1.0 / std], [round(mean)]
    else:
        quantisation.scale, quantisation.zeroPoint = known.scale, [int(known.zeroPoint[0]) + 128]
    reader = next(op for op in graph.operators if old in list(op.inputs))
    if opened.kind == "float32" and _op_name(model, reader) == "QUANTIZE":
        entry.type, entry.quantization = schema.TensorType.UINT8, quantisation
        return pack(model)
    pixels = schema.TensorT()
    pixels.name, pixels.shape = b"pixels", entry.shape
    pixels.type, pixels.quantization, pixels.buffer = schema.TensorType.UINT8, quantisation, 0
    graph.tensors.append(pixels)
    first = schema.OperatorT()
    first.opcodeIndex = _op_code(model, schema.BuiltinOperator.QUANTIZE)
    first.inputs, first.outputs = [len(graph.tensors) - 1], [old]
    graph.operators.insert(0, first)
    graph.inputs = first.inputs
    return pack(model)


def _op_name(model: Any, operator: Any) -> str:
    number = _builtin(model.operatorCodes[operator.opcodeIndex])
    kinds = vars(tflite_schema().BuiltinOperator)
    return next((name for name, value in kinds.items() if value == number), "")


def _builtin(code: Any) -> int:
    """The number of an operator; old files have it in a field of one byte."""
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _op_code(model: Any, builtin: int) -> int:
    """Index of an operator code of the model, added where it has none."""
    schema = tflite_schema()
    for index, code in enumerate(model.operatorCodes):
        if _builtin(code) == builtin:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


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


def _needed(graph: Any, makers: dict[int, Any]) -> list[Any]:
    """The operators that the outputs need, in their order."""
    wanted, queue = set(), [int(tensor) for tensor in graph.outputs]
    while queue:
        made = makers.get(queue.pop())
        if made is not None and id(made) not in wanted:
            wanted.add(id(made))
            queue += [int(tensor) for tensor in made.inputs]
    return [op for op in graph.operators if id(op) in wanted]
