"""Turn trained float weights into the int8 TFLite file that a bin runs.

Reads `weights.npz` of a run; equalises, calibrates on pictures of the training folds, converts, and
embeds the metadata. Leaves `equalised.npz` and `model.tflite`, which is not touched afterwards: its
figures, its hash and what is shipped are of one and the same file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bin_daemon.core.messages import Array
from export.conversion.equalise import CALIBRATION, equalise, watch
from export.conversion.metadata import Description, TensorNote, embed, encode, licences
from export.data.pictures import Picture, read_split, spread
from export.networks.mobilenet import Weights, make_network, normalise, read_weights
from export.run import Run
from export.training.folded import predict
from export.views.view_cache import SIZE, photograph_views

MEAN = (127.5, 127.5, 127.5)
STD = (127.5, 127.5, 127.5)


def quantise(run: Run, data: Path, *, plain: bool = False) -> None:
    """Make `model.tflite` of a run.

    Args:
        run: a run that has been trained.
        data: the pictures it was trained on.
        plain: leave the equalisation out, to measure what it is worth.

    Raises:
        ExportError: the run has no weights, or pictures are missing.
    """
    weights = read_weights(run.need("weights.npz", "train"))
    config = run.read_json("config.json", "train")
    plan = config["settings"]["training"]
    squares = _squares(data, spread(read_split(run)["train"], CALIBRATION), plan)
    before = predict(weights, squares)[0]
    if not plain:
        weights = equalise(weights, watch(weights, squares))
        after = predict(weights, squares)[0]
        run.log(
            f"quantize: equalised; on {len(squares)} training views float logits moved by "
            f"{np.abs(after - before).max():.1e} at most, "
            f"{np.sum(after.argmax(1) != before.argmax(1))} decisions changed"
        )
    run.write_arrays("equalised.npz", **weights)
    model = convert(weights, squares)
    model = embed(model, encode(describe(config)), config["labels"])
    run.write_bytes("model.tflite", model)
    run.log(f"quantize: model.tflite, {len(model)} bytes")


def _squares(data: Path, pictures: Sequence[Picture], plan: dict) -> Array:
    """The pictures as they are, every second one in a chamber if the training showed chambers."""
    files = [picture.file for picture in pictures]
    chambers = 1 if plan["chamber_views"] else 0
    return np.stack(
        [photograph_views(data, files, 0, chambers * (i % 2), i)[-1] for i in range(len(files))]
    )


def describe(config: dict) -> Description:
    """What the embedded metadata says of the model."""
    classes = len(config["labels"])
    return Description(
        name=config["recipe"],
        description=f"{config['title']}: MobileNetV2 1.0/224, int8, {classes} classes, embedding.",
        version=str(config.get("version", 1)),
        author="bin_daemon",
        licence=licences(config),
        width=SIZE,
        height=SIZE,
        mean=MEAN,
        std=STD,
        outputs=(
            TensorNote("logits", "Class scores before softmax."),
            TensorNote("embedding", "Mean of the last feature map, 1280 values."),
        ),
    )


def convert(weights: Weights, squares: Array) -> bytes:
    """Full int8 conversion: uint8 picture in, int8 logits and int8 embedding out, in that order.

    Args:
        weights: backbone and head.
        squares: uint8 (n, 224, 224, 3), to calibrate activation ranges on.

    Returns:
        The TFLite file, without metadata.
    """
    import tensorflow as tf

    network = make_network(weights)

    @tf.function(input_signature=[tf.TensorSpec([1, SIZE, SIZE, 3], tf.float32, name="image")])
    def forward(image):
        embedding = network.embed(image)
        return tf.identity(network.classify(embedding), "logits"), tf.identity(
            embedding, "embedding"
        )

    def calibration() -> Iterator[list[Array]]:
        for square in squares:
            yield [normalise(square[None].astype(np.float32))]

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [forward.get_concrete_function()], network
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.int8
    return converter.convert()
