"""Published backbones as Keras models that take pixels: normalisation inside, head on top.

A recipe's network or a run flows in, a Keras model flows out: float pixels 0..255 (n, s, s, 3) RGB
to `logits` (n, classes) before softmax and `embedding` (n, d), the pooled features. TensorFlow is
imported when a model is built, read or asked, and not before. Nothing here trains.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.errors import ExportError
from export.networks.mobilenet import in_batches, layer_names, read_weights
from export.recipes.schema import Backbone, KerasNetwork
from export.run import REPOSITORY, Run

MODEL = "model.keras"
NORMALISATIONS = ("0-1", "-1-1", "0-255", "imagenet", "caffe")
"""What networks expect of pixels: `imagenet` as in torchvision, `caffe` BGR without its mean."""
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
CAFFE_MEAN = (103.939, 116.779, 123.68)  # of B, G, R; keras.applications.imagenet_utils
SCRATCH_MOMENTUM = 0.9
"""Of batch normalisation where nothing is pretrained: Keras's 0.99 needs some 500 steps to forget
its start, more than a small set has in all its epochs."""
LICENCE = "Apache-2.0"
"""Of Keras's ImageNet weights."""
EXPECTED: dict[Backbone, str] = {
    "MobileNetV2": "-1-1",
    "MobileNetV3Large": "-1-1",
    "MobileNetV3Small": "-1-1",
    "EfficientNetB3": "0-255",  # normalises by itself
    "InceptionV3": "-1-1",
    "ResNet152": "caffe",
}
"""The normalisation that the ImageNet weights of each backbone were trained with."""


def build(network: KerasNetwork, classes: int, seed: int) -> Any:
    """Build backbone and head, with weights loaded and layers frozen as the recipe says.

    Raises ExportError where weights cannot be had, or are of another backbone.
    """
    import keras

    keras.utils.set_random_seed(seed)
    pixels = keras.Input((network.size, network.size, 3), name="pixels")
    make = getattr(keras.applications, network.backbone)
    # MobileNetV3 alone would scale pixels a second time.
    options = {"include_preprocessing": False} if "NetV3" in network.backbone else {}
    fetched = network.weights == "imagenet"
    try:
        backbone = make(
            include_top=False,
            weights="imagenet" if fetched else None,
            input_tensor=normalise(pixels, EXPECTED[network.backbone]),
            **options,
        )
    except Exception as error:
        # Keras wraps what the network raises in plain Exceptions of its own.
        if not fetched:
            raise
        raise ExportError(
            f"the ImageNet weights of {network.backbone} cannot be had from Keras ({error}); "
            f"connect this machine once, or train from scratch with --weights none"
        ) from error
    if network.weights == "none":
        for layer in _normalisations(backbone):
            layer.momentum = SCRATCH_MOMENTUM
    elif not fetched:
        load_folded(backbone, network)
    freeze(backbone, network)
    x = embedding = keras.layers.GlobalAveragePooling2D(name="embedding")(backbone.output)
    if network.head.dropout:
        x = keras.layers.Dropout(network.head.dropout)(x)
    for i, width in enumerate(network.head.dense):
        x = keras.layers.Dense(width, activation="relu", name=f"hidden_{i + 1}")(x)
    return keras.Model(pixels, [keras.layers.Dense(classes, name="logits")(x), embedding])


def load(run: Run) -> Any:
    """The trained Keras model of a run; raises ExportError where there is none."""
    import keras

    path = run.need(MODEL, "train")
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise ExportError(f"{path}: cannot be read as a Keras model: {error}") from error


def answers(model: Any, squares: Array) -> list[Array]:
    """The outputs of a Keras model for pictures, uint8 (n, s, s, 3), as float32 arrays.

    Keras's own `predict` compiles with XLA first, which takes minutes for a deep network.
    """
    import tensorflow as tf

    def forward(pixels: Any) -> Any:
        return tf.nest.flatten(model(tf.cast(pixels, tf.float32), training=False))

    spec = tf.TensorSpec((None, *squares.shape[1:]), tf.uint8)
    return in_batches(tf.function(forward, input_signature=[spec]), squares, 16)


def normalise(pixels: Any, how: str) -> Any:
    """Keras pixels 0..255 to what a network expects; `how` is one of `NORMALISATIONS`."""
    import keras

    if how == "0-255":
        return pixels
    if how in ("0-1", "-1-1"):
        scale, offset = (1 / 255.0, 0.0) if how == "0-1" else (1 / 127.5, -1.0)
        return keras.layers.Rescaling(scale, offset, name="scale")(pixels)
    # One step for all channels, and no reversal that a quantised file would need an operator for.
    layer = keras.layers.Conv2D(3, 1, trainable=False, name="normalise")
    normalised = layer(pixels)
    mean, std, order = np.array(CAFFE_MEAN), np.ones(3), np.eye(3)[::-1]
    if how == "imagenet":
        mean, std, order = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD), np.eye(3)
    layer.set_weights([(order / std).reshape(1, 1, 3, 3), -mean / std])
    return normalised


def freeze(backbone: Any, network: KerasNetwork) -> None:
    """Let only those layers of the backbone learn that the recipe names.

    Batch normalisation with folded weights stays frozen in any case: what it stood for is in the
    kernels, and statistics of its own would scale them a second time.
    """
    count = network.trained
    if isinstance(count, str):
        count = len(backbone.layers) if count == "all" else 0
    for place, layer in enumerate(reversed(backbone.layers)):
        layer.trainable = place < count and layer.name != "normalise"
    if network.weights not in ("imagenet", "none"):
        for layer in _normalisations(backbone):
            layer.trainable = False


def norms() -> dict[str, str]:
    """The batch normalisation that follows each layer of Keras's MobileNetV2, by their names."""
    ends = {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}
    return {layer: ends.get(layer, f"{layer}_BN") for layer in layer_names()}


def load_folded(backbone: Any, network: KerasNetwork) -> None:
    """Load folded MobileNetV2 weights: kernels as they are, biases into the normalisation.

    Raises ExportError where the backbone is another, or the file is not such weights.
    """
    if network.backbone != "MobileNetV2":
        raise ExportError(
            f"--weights {network.weights}: folded weights are of MobileNetV2, "
            f"not of {network.backbone}; use imagenet or none"
        )
    path = Path(network.weights)
    weights = read_weights(path if path.is_absolute() else REPOSITORY / path)
    for layer, norm in norms().items():
        backbone.get_layer(layer).set_weights([weights[f"{layer}/kernel"]])
        bias = weights[f"{layer}/bias"]
        target = backbone.get_layer(norm)
        # gamma 1, mean 0, variance 1 - epsilon: what is left of the normalisation adds the bias.
        ones, zeros = np.ones_like(bias), np.zeros_like(bias)
        target.set_weights([ones, bias, zeros, ones - target.epsilon])


def _normalisations(model: Any) -> list[Any]:
    """The batch normalisations among the layers of a Keras model."""
    import keras

    return [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]


def settle_statistics(model: Any, pixels: Array) -> None:
    """Set the statistics of learning batch normalisations to those of training pictures.

    While weights move, moving averages lag behind them, and what a short training leaves is of no
    network that ever was (Wu and Johnson 2021, arXiv:2105.07576, "precise BatchNorm"). All pictures
    are one batch, so that every layer is measured on what the layers before it will give it; means
    over small batches let the error of each layer grow in the next, a hundredfold in a deep one.

    model: takes float pixels. pixels: uint8 (n, s, s, 3).
    """
    import tensorflow as tf

    layers = [layer for layer in _normalisations(model) if layer.trainable]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0  # what is seen last is all that is kept
    if layers:
        tf.function(lambda batch: model(tf.cast(batch, tf.float32), training=True))(pixels)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
