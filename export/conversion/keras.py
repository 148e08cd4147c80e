"""Turn a Keras classifier into the int8 TFLite file that a bin runs.

A model that takes float pixels 0..255 and gives logits and embedding flows in, with pictures to
calibrate on; a file that takes plain uint8 pixels and gives both as int8 flows out. It never
changes the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.conversion.equalise import CALIBRATION
from export.conversion.metadata import Description, TensorNote, embed, encode, licences
from export.conversion.tflite_import import calibration
from export.data.pictures import load_squares, read_split, spread
from export.errors import ExportError
from export.run import Run


def quantise(run: Run, data: Path) -> None:
    """Make `model.tflite` of a trained or imported Keras run, calibrated on training pictures.

    Raises:
        ExportError: the run has no model, or pictures are missing.
    """
    from export.training.keras import load

    config = run.read_json("config.json", "train")
    files = [picture.file for picture in read_split(run)["train"]]
    squares = load_squares(data, spread(files, CALIBRATION), config["size"])
    model = convert(load(run), squares)
    model = embed(model, encode(describe(config)), config["labels"])
    run.write_bytes("model.tflite", model)
    run.log(f"quantize: model.tflite, {len(model)} bytes")


def describe(config: dict[str, Any]) -> Description:
    """What the embedded metadata says of the model of a run."""
    network = config["settings"].get("network", {})
    return Description(
        name=f"bin_daemon {config['recipe']}",
        description=f"{network.get('backbone', 'Imported classifier')}; labels: "
        + ", ".join(config["labels"]),
        version=str(config.get("version", 1)),
        author="bin_daemon",
        licence=licences(config),
        width=config["size"],
        height=config["size"],
        mean=tuple(config["input"]["mean"]),
        std=tuple(config["input"]["std"]),
        outputs=(
            TensorNote("logits", "Class scores before softmax."),
            TensorNote("embedding", "Pooled features before the head."),
        ),
    )


def answers(model: Any, squares: Array, batch: int = 16) -> list[Array]:
    """The outputs of a Keras model for pictures, uint8 (n, s, s, 3), as float32 arrays.

    Keras's own `predict` compiles with XLA first, which takes minutes for a deep network.
    """
    import tensorflow as tf

    spec = tf.TensorSpec((None, *squares.shape[1:]), tf.uint8)
    forward = tf.function(
        lambda pixels: model(tf.cast(pixels, tf.float32), training=False), input_signature=[spec]
    )
    parts = [forward(squares[i : i + batch]) for i in range(0, len(squares), batch)]
    if not isinstance(parts[0], list | tuple):
        parts = [(part,) for part in parts]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def convert(model: Any, squares: Array) -> bytes:
    """Full int8 conversion: uint8 pixels in, int8 logits and int8 embedding out.

    Args:
        model: a Keras model of float pixels (n, s, s, 3), 0..255, to [logits, embedding].
        squares: uint8 (n, s, s, 3), to calibrate activation ranges on.

    Returns:
        The TFLite file, without metadata.

    Raises:
        ExportError: the converter has no int8 form of the model.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    side = squares.shape[1]
    spec = tf.TensorSpec([1, side, side, 3], tf.float32, name="image")

    @tf.function(input_signature=[spec])
    def forward(image: Any) -> tuple[Any, Any]:
        logits, embedding = model(image, training=False)
        return tf.identity(logits, "logits"), tf.identity(embedding, "embedding")

    # The variables of Keras 3 do not survive the converter's own way of freezing them.
    frozen = convert_variables_to_constants_v2(forward.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([pixels] for pixels in calibration(squares))
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
