"""One way to int8 for every network: uint8 or float pictures in, int8 logits and embedding out.

A function on TensorFlow and pictures to calibrate on flow in, the bytes of a TFLite file that both
runtimes take flow out. What the pixels mean is the business of whoever made the function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.errors import ExportError

CALIBRATION = 256
"""Pictures to watch activations on, for equalisation and for the ranges of the int8 tensors."""


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
    """Full int8 conversion: uint8 picture in, int8 logits and int8 embedding out.

    Args:
        forward: float32 (1, side, side, 3) to logits (1, classes) and embedding (1, d).
        side: of the picture, pixels.
        inputs: gives pictures, float32 (1, side, side, 3), to calibrate activation ranges on.

    Returns:
        The TFLite file, without metadata.

    Raises:
        ExportError: the converter has no int8 form of the network.
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
