"""Turn a trained network into the int8 TFLite file that a bin runs.

Reads the weights or the Keras model of a run; equalises the folded network, calibrates on pictures
of the training, converts, and embeds the metadata. Leaves `model.tflite`, which is not touched
afterwards: its figures, its hash and what is shipped are of one and the same file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.conversion.equalise import equalise, watch
from export.conversion.metadata import stamp
from export.data.pictures import load_squares, read_split, spread
from export.errors import ExportError
from export.networks.keras_backbones import load
from export.networks.mobilenet import SIZE, Network, Weights, normalise, predict, read_weights
from export.run import Run
from export.views.view_cache import photograph_views

CALIBRATION = 256
"""Pictures to watch activations on, for equalisation and for the ranges of the int8 tensors."""


def quantise(run: Run, data: Path, *, plain: bool = False) -> None:
    """Make `model.tflite` of a run; of a folded network, `equalised.npz` too.

    run: a run that has been trained. data: the pictures it was trained on. plain: leave the
    equalisation out, to measure what it is worth. Raises ExportError where the run has no weights
    or no model, or pictures are missing.
    """
    config = run.read_json("config.json", "train")
    files = [picture.file for picture in spread(read_split(run)["train"], CALIBRATION)]
    if config.get("kind", "folded") == "folded":
        squares = _views(data, files, config["settings"]["training"])
        weights = _equalised(run, squares, plain=plain)
        run.write_arrays("equalised.npz", **weights)
        content = convert_folded(weights, squares)
    else:
        content = convert_keras(load(run), load_squares(data, files, config["size"]))
    model = stamp(content, config)
    run.write_bytes("model.tflite", model)
    run.log(f"quantize: model.tflite, {len(model)} bytes")


def _views(data: Path, files: Sequence[str], plan: Mapping[str, Any]) -> Array:
    """The pictures as they are, every second one in a chamber if the training showed chambers."""
    chambers = 1 if plan["chamber_views"] else 0
    return np.stack(
        [photograph_views(data, files, 0, chambers * (i % 2), i)[-1] for i in range(len(files))]
    )


def _equalised(run: Run, squares: Array, *, plain: bool) -> Weights:
    """The weights of a run, equalised on training views unless `plain`."""
    weights = read_weights(run.need("weights.npz", "train"))
    if plain:
        return weights
    before = predict(weights, squares)[0]
    weights = equalise(weights, watch(weights, squares))
    after = predict(weights, squares)[0]
    run.log(
        f"quantize: equalised; on {len(squares)} training views float logits moved by "
        f"{np.abs(after - before).max():.1e} at most, "
        f"{np.sum(after.argmax(1) != before.argmax(1))} decisions changed"
    )
    return weights


def convert_folded(weights: Weights, squares: Array) -> bytes:
    """The TFLite file of folded weights, calibrated on uint8 (n, 224, 224, 3)."""
    network = Network(weights)

    def forward(image: Any) -> tuple[Any, Any]:
        embedding = network.embed(image)
        return network.classify(embedding), embedding

    def inputs() -> Iterator[Array]:
        return (normalise(square[np.newaxis].astype(np.float32)) for square in squares)

    return convert(forward, SIZE, inputs)


def convert_keras(model: Any, squares: Array) -> bytes:
    """The TFLite file of a Keras model, calibrated on uint8 (n, s, s, 3).

    `model` takes float pixels (n, s, s, 3), 0..255, and gives [logits, embedding].
    """

    def forward(image: Any) -> tuple[Any, Any]:
        logits, embedding = model(image, training=False)
        return logits, embedding

    return convert(forward, squares.shape[1], lambda: calibration(squares))


def calibration(squares: Array) -> Iterator[Array]:
    """Pictures one by one, float32 (1, s, s, 3), 0..255; the first holds black and white.

    The input's quantisation spans what calibration sees, and a bin feeds plain pixels: only a span
    of 0 to 255 makes a pixel mean itself.
    """
    for number, square in enumerate(squares):
        pixels = square[np.newaxis].astype(np.float32)
        if number == 0:
            pixels[0, 0, 0], pixels[0, 0, 1] = 0.0, 255.0
        yield pixels


def convert(
    forward: Callable[[Any], tuple[Any, Any]], side: int, inputs: Callable[[], Iterable[Array]]
) -> bytes:
    """Full int8 conversion: uint8 picture in, int8 logits and int8 embedding out, no metadata.

    forward: float32 (1, side, side, 3) to logits (1, classes) and embedding (1, d). side: of the
    picture, pixels. inputs: gives pictures, float32 (1, side, side, 3), to calibrate activation
    ranges on. Raises ExportError where the converter has no int8 form of the network.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def named(image: Any) -> tuple[Any, Any]:
        logits, embedding = forward(image)
        return tf.identity(logits, "logits"), tf.identity(embedding, "embedding")

    spec = tf.TensorSpec([1, side, side, 3], tf.float32, name="image")
    function = tf.function(named, input_signature=[spec]).get_concrete_function()
    # The variables of Keras 3 do not survive the converter's own way of freezing them.
    frozen = convert_variables_to_constants_v2(function)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([pixels] for pixels in inputs())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.int8
    # Dense layers with one step per tensor: per-channel ones come as FULLY_CONNECTED version 12,
    # which tflite-runtime 2.14 refuses.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    try:
        return bytes(converter.convert())
    except Exception as error:  # the converter raises what its parts raise, of no common kind
        raise ExportError(f"the converter has no int8 form of this model: {error}") from error
