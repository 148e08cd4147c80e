"""Import Keras classifiers that somebody else trained: find logits and embedding in them.

A `.keras` file, or an `.h5` file of Keras 2 or 3, flows in; a model from its own input to
[logits, embedding] flows out, built from its layers and its weights. It never trains and never
guesses how the pixels are scaled. It imports Keras, so it is itself imported where a model is read.
"""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from bin_daemon.core.messages import Array
from export.conversion import golden
from export.conversion.int8 import convert_keras
from export.conversion.tflite_import import LARGEST_EMBEDDING
from export.errors import ExportError
from export.networks.keras_backbones import MODEL, NORMALISATIONS, answers, normalise
from export.run import Run

_SMALLEST = 1e-6  # probability, where logits can only be had by a logarithm


class KerasSource:
    """A Keras classifier as somebody made it."""

    scales: Sequence[str] = NORMALISATIONS

    def __init__(self, file: Path, labels: Sequence[str], side: int | None) -> None:
        model = read_model(file)
        self.side = input_side(model, file, side)
        (scores,) = answers(model, golden.draw(self.side))
        sums_to_one = scores.min() >= 0 and np.allclose(scores.sum(axis=-1), 1.0, atol=1e-3)
        self.model = with_outputs(model, probabilities=bool(sums_to_one))
        found = int(self.model.outputs[0].shape[-1])
        if found != len(labels):
            raise ExportError(
                f"{file}: tells {found} classes apart, there are {len(labels)} labels"
            )

    def input_spec(self, scale: str) -> dict[str, list[float]]:
        """The scaling is inside the file: it takes pixels as they are."""
        return {"mean": [0.0] * 3, "std": [1.0] * 3}

    def answer(self, scale: str) -> Callable[[Array], Sequence[Array]]:
        """uint8 (n, s, s, 3) to [logits, embedding], float32."""
        return functools.partial(answers, from_pixels(self.model, scale, self.side))

    def quantise(self, run: Run, scale: str, squares: Array) -> bytes:
        """The int8 file, calibrated on uint8 (n, s, s, 3); the run gets the Keras model too."""
        model = from_pixels(self.model, scale, self.side)
        model.save(run.path(MODEL))
        return convert_keras(model, squares)


def read_model(path: Path) -> Any:
    """Read a Keras model; raises ExportError where this Keras cannot build it."""
    try:
        if path.suffix == ".keras":
            return keras.saving.load_model(path, compile=False)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "model.h5"
            shutil.copyfile(path, copy)
            _modernise(copy)
            return keras.saving.load_model(copy, compile=False)
    except Exception as error:  # Keras raises what its parts raise, of no common kind
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(
            f"{path}: Keras cannot build this model ({why}); custom layers and TensorFlow Hub "
            f"layers cannot be taken over: save it with Keras layers alone, or convert it to float "
            f".tflite where it was made"
        ) from error


def _modernise(path: Path) -> None:
    """Rewrite in place what Keras 2 wrote into `model_config` and Keras 3 cannot read."""
    with h5py.File(path, "r+") as file:
        config = file.attrs.get("model_config")
        if config is None:
            raise ExportError(
                f"{path.name}: holds weights alone, not a model; save the whole model"
            )
        text = config.decode("utf-8") if isinstance(config, bytes) else config
        file.attrs["model_config"] = json.dumps(_modern(json.loads(text))).encode("utf-8")


def _modern(node: Any) -> Any:
    """A part of a model's configuration as Keras 3 has it."""
    if isinstance(node, list):
        return [_modern(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _modern(value) for key, value in node.items()}
    kind, config = node.get("class_name"), node.get("config")
    if isinstance(config, dict) and "output_layers" in config:
        _count_calls_from_zero(config)
    if kind == "DepthwiseConv2D" and isinstance(config, dict):
        config.pop("groups", None)
    if kind == "TFOpLambda" and config.get("function") in ("math.truediv", "math.subtract"):
        # What `preprocess_input` leaves in a graph: one number, after the tensor.
        (source, index, tensor, extra) = node["inbound_nodes"][0]
        number, divides = float(extra["y"]), config["function"] == "math.truediv"
        scale, offset = (1.0 / number, 0.0) if divides else (1.0, -number)
        node["class_name"] = "Rescaling"
        node["config"] = {"name": config["name"], "scale": scale, "offset": offset}
        node["inbound_nodes"] = [[[source, index, tensor, {}]]]
    return node


def _count_calls_from_zero(config: dict[str, Any]) -> None:
    """Number the calls of inner models from 0, in place.

    For Keras 2 the first call of an inner model is the one that made it, so that a model around it
    refers to call 1; Keras 3 does not count that one.
    """
    inner = {layer["name"] for layer in config["layers"] if "layers" in layer["config"]}
    calls = [
        call
        for layer in config["layers"]
        for node in layer.get("inbound_nodes", ())
        if isinstance(node, list)
        for call in ([node] if isinstance(node[0], str) else node)
    ]
    calls += [call for call in config["output_layers"] if isinstance(call, list)]
    for name in inner:
        of_name = [call for call in calls if call[0] == name]
        first = min((call[1] for call in of_name), default=0)
        for call in of_name:
            call[1] -= first


def input_side(model: Any, path: Path, side: int | None) -> int:
    """The side of the model's square input in pixels; `side` says it where the model does not.

    Raises ExportError where it does not take one square RGB picture.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ExportError(
            f"{path}: has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
            f"a classifier with one of each is needed"
        )
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2]:
        raise ExportError(f"{path}: takes {shape}, not a square RGB picture (None, side, side, 3)")
    if shape[1] is None and side is None:
        raise ExportError(f"{path}: takes pictures of any size; say which with --size")
    if shape[1] is not None and side not in (None, shape[1]):
        raise ExportError(f"--size {side}: {path} takes {shape[1]} pixels")
    return int(shape[1] or side or 0)


def with_outputs(model: Any, *, probabilities: bool) -> Any:
    """The model with [logits, embedding] as its outputs.

    Logits are what stands before the last softmax; a single sigmoid becomes two logits, 0 and its
    own; of `probabilities` without a softmax that could be taken off, the logarithm is taken. The
    embedding is what the last stack of dense layers reads: mostly the global pool.

    Raises ExportError where no logits or no embedding can be found.
    """
    entry = keras.Input(model.inputs[0].shape[1:])
    logits = _logits(_flat(model, entry), probabilities)
    return keras.Model(entry, [logits, _embedding(logits)])


def _flat(model: Any, tensor: Any) -> Any:
    """Apply a model to a tensor layer by layer, models inside it too, so that each can be seen."""

    def caller(layer: Any) -> Any:
        if isinstance(layer, keras.Sequential | keras.Model):
            return lambda inner, **_: _flat(layer, inner)
        return layer

    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            tensor = caller(layer)(tensor)
        return tensor
    if not hasattr(model, "operations"):
        raise ExportError(
            f"the model's {type(model).__name__} is a class of its own, not a graph of layers; "
            f"convert it to float .tflite where it was made"
        )
    # `clone_model`, the public way, builds inner models apart from the tensor they are called on.
    outputs = model._run_through_graph(tensor, operation_fn=caller)
    return outputs[0] if isinstance(outputs, list | tuple) else outputs


def _made_by(tensor: Any) -> tuple[Any, Any]:
    """The layer that makes a tensor, and the first tensor that it reads (None for an input)."""
    layer, node, _ = tensor._keras_history
    read = layer._inbound_nodes[node].input_tensors
    return layer, read[0] if read else None


def _activation(layer: Any) -> str:
    """One of softmax, sigmoid or ""; of the layer's own activation, or of an activation layer."""
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", type(layer).__name__).lower()
    return name if name in ("softmax", "sigmoid") else ""


def _logits(scores: Any, probabilities: bool) -> Any:
    """The tensor before the last softmax or sigmoid."""
    if len(scores.shape) != 2:
        raise ExportError(f"the model gives {tuple(scores.shape)}, not one score for each class")
    layer, source = _made_by(scores)
    if _activation(layer) and not layer.weights:
        scores, probabilities = source, False
        layer, source = _made_by(scores)
    pair = scores.shape[-1] == 1
    if isinstance(layer, keras.layers.Dense) and (_activation(layer) or pair):
        return _linear_twin(layer, source, pair=pair)
    if pair:
        raise ExportError("one score that no dense layer makes cannot be turned into two")
    return keras.ops.log(keras.ops.maximum(scores, _SMALLEST)) if probabilities else scores


def _linear_twin(layer: Any, source: Any, *, pair: bool) -> Any:
    """A dense layer without its activation; `pair` makes the logits 0 and z of a single z."""
    kernel, *bias = (np.asarray(weight) for weight in layer.get_weights())
    offset = bias[0] if bias else np.zeros(kernel.shape[-1], np.float32)
    if pair:
        kernel = np.concatenate([np.zeros_like(kernel), kernel], axis=1)
        offset = np.concatenate([np.zeros_like(offset), offset])
    twin = keras.layers.Dense(kernel.shape[-1], name="logits")
    logits = twin(source)
    twin.set_weights([kernel, offset])
    return logits


def _upstream(tensor: Any, wanted: Callable[[Any], bool]) -> Any:
    """The nearest tensor, going back from this one, that is wanted; None where there is none."""
    while tensor is not None and not wanted(tensor):
        tensor = _made_by(tensor)[1]
    return tensor


def _embedding(logits: Any) -> Any:
    """What the last stack of dense layers reads, or the nearest to it that is small enough."""
    vector_layers = (
        keras.layers.Dense,
        keras.layers.Dropout,
        keras.layers.BatchNormalization,
        keras.layers.Activation,
        keras.layers.ReLU,
    )
    tensor, read = logits, []
    while tensor is not None:
        layer, source = _made_by(tensor)
        if not isinstance(layer, vector_layers) or source is None or len(source.shape) != 2:
            break
        if isinstance(layer, keras.layers.Dense):
            read.append(source)
        tensor = source
    small = [t for t in read if t.shape[-1] is not None and t.shape[-1] <= LARGEST_EMBEDDING]
    if small:
        return small[-1]
    tensor = _upstream(tensor, lambda one: len(one.shape) == 4)
    if tensor is None:
        raise ExportError("the model has no feature map or dense layer to take an embedding from")
    if not read:  # the scores are made by a convolution: what it reads is the feature map
        tensor = _upstream(tensor, lambda one: isinstance(_made_by(one)[0], keras.layers.Conv2D))
        if tensor is None:
            raise ExportError("the model has no convolution to take an embedding from")
        tensor = _made_by(tensor)[1]
    return keras.layers.GlobalAveragePooling2D(name="embedding")(tensor)


def from_pixels(model: Any, how: str, side: int) -> Any:
    """The model on pixels 0..255, with their scaling (one of `NORMALISATIONS`) inside."""
    pixels = keras.Input((side, side, 3), name="pixels")
    return keras.Model(pixels, model(normalise(pixels, how)))
