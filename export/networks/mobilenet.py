"""MobileNetV2 1.0/224 with batch normalisation folded away, and a linear head of any classes.

Weights travel as a flat dictionary: `<Keras layer name>/kernel` and `/bias`, as in the backbone
file, with `logits/kernel` (1280, classes) and `logits/bias` added. `Network` turns such a
dictionary into TensorFlow variables that can be trained or converted; TensorFlow is imported only
where something is computed. Architecture: Sandler et al. 2018, arXiv:1801.04381.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.errors import ExportError

Weights = dict[str, Array]
Embed = Callable[[Array], Array]
"""uint8 (n, 224, 224, 3) RGB to float32 (n, d): what a network makes of prepared pictures."""

EMBEDDING = 1280
SIZE = 224
"""Side of the pictures that a bin shows it, pixels."""
MEAN = STD = (127.5, 127.5, 127.5)
"""Of the pixels, by channel: what is taken off them, and what they are divided by."""
HEAD = "logits"
# Expansion, output channels, repeats, stride of the first: table 2 of the paper.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
RMS_FLOOR = 1e-3
"""Below this a folded channel is dead; dividing by its own size would only amplify noise."""


@dataclass(frozen=True, slots=True)
class Block:
    """One inverted residual block: its layer names, stride, and whether it adds its input."""

    expand: str | None
    depthwise: str
    project: str
    stride: int
    residual: bool


def blocks() -> Iterator[Block]:
    """The 17 inverted residual blocks in order, named as in `keras.applications.MobileNetV2`."""
    number, channels = 0, 32
    for expansion, width, repeats, first_stride in STAGES:
        for repeat in range(repeats):
            prefix = f"block_{number}" if number else "expanded_conv"
            stride = first_stride if repeat == 0 else 1
            yield Block(
                expand=f"{prefix}_expand" if expansion > 1 else None,
                depthwise=f"{prefix}_depthwise",
                project=f"{prefix}_project",
                stride=stride,
                residual=stride == 1 and channels == width,
            )
            number, channels = number + 1, width


def layer_names() -> list[str]:
    """Names of the 52 layers of the backbone, from the picture to the embedding."""
    names = ["Conv1"]
    for block in blocks():
        names += [block.expand] if block.expand else []
        names += [block.depthwise, block.project]
    return [*names, "Conv_1"]


def read_weights(path: Path) -> Weights:
    """Read a weights file (.npz), with or without a head.

    Raises ExportError where the file is missing, or a layer of the backbone is.
    """
    if not path.is_file():
        raise ExportError(f"{path}: no such weights file")
    with np.load(path) as archive:
        weights = {name: archive[name].astype(np.float32) for name in archive.files}
    for layer in layer_names():
        if f"{layer}/kernel" not in weights or f"{layer}/bias" not in weights:
            raise ExportError(f"{path}: lacks layer {layer}; is it a folded MobileNetV2 1.0?")
    return weights


def blank_head(classes: int = 2) -> Weights:
    """A head of zeros, for a backbone that has none yet."""
    return {
        f"{HEAD}/kernel": np.zeros((EMBEDDING, classes), np.float32),
        f"{HEAD}/bias": np.zeros(classes, np.float32),
    }


def channel_rms(name: str, kernel: Array) -> Array:
    """Root mean square of a kernel, float32, over all but its output channels; broadcastable.

    Depthwise kernels (H, W, C, 1) have C output channels. At least `RMS_FLOOR`.
    """
    axes = (0, 1) if name.endswith("depthwise") else tuple(range(kernel.ndim - 1))
    rms = np.sqrt(np.mean(np.square(kernel), axis=axes, keepdims=True))
    return np.asarray(np.maximum(rms, RMS_FLOOR), np.float32)


class Network:
    """The forward pass on TensorFlow; `parts` holds scale or None, kernel and bias of a layer.

    weights: backbone and head. relative: train each kernel relative to its channels' RMS in
    `weights`. Folding batch normalisation leaves channels whose kernels differ a hundredfold in
    size, while Adam moves every number by about the learning rate: relative kernels make that one
    step size fit all of them.
    """

    def __init__(self, weights: Mapping[str, Array], *, relative: bool = False) -> None:
        import tensorflow as tf

        self.parts: dict[str, tuple[Any, Any, Any]] = {}
        for layer in [*layer_names(), HEAD]:
            kernel = np.asarray(weights[f"{layer}/kernel"], np.float32)
            scale = channel_rms(layer, kernel) if relative else None
            self.parts[layer] = (
                scale,
                tf.Variable(kernel if scale is None else kernel / scale, name=f"{layer}/kernel"),
                tf.Variable(weights[f"{layer}/bias"], name=f"{layer}/bias", dtype=tf.float32),
            )

    @property
    def variables(self) -> list[Any]:
        """What can be trained, ordered by the names of the layers."""
        return [variable for layer in sorted(self.parts) for variable in self.parts[layer][1:]]

    def _kernel(self, layer: str) -> Any:
        scale, kernel, _ = self.parts[layer]
        return kernel if scale is None else kernel * scale

    def _conv(self, x: Any, layer: str, stride: int = 1) -> Any:
        import tensorflow as tf

        convolve = tf.nn.depthwise_conv2d if layer.endswith("depthwise") else tf.nn.conv2d
        x = convolve(x, self._kernel(layer), [1, stride, stride, 1], "SAME") + self.parts[layer][2]
        return x if layer.endswith("project") else tf.nn.relu6(x)

    def embed(self, x: Any, taps: dict[str, Any] | None = None) -> Any:
        """Float pictures in [-1, 1], (n, s, s, 3), to embeddings (n, 1280).

        `taps`, if given, receives the output of every layer under its name.
        """
        import tensorflow as tf

        taps = {} if taps is None else taps
        x = taps["Conv1"] = self._conv(x, "Conv1", 2)
        for block in blocks():
            entry = x
            if block.expand:
                x = taps[block.expand] = self._conv(x, block.expand)
            x = taps[block.depthwise] = self._conv(x, block.depthwise, block.stride)
            x = self._conv(x, block.project)
            x = taps[block.project] = x + entry if block.residual else x
        x = taps["Conv_1"] = self._conv(x, "Conv_1")
        return tf.reduce_mean(x, [1, 2])

    def classify(self, embedding: Any) -> Any:
        """Embeddings (n, 1280) to logits (n, classes).

        A 1x1 convolution, not a dense layer: TensorFlow from 2.17 on writes per-channel
        FULLY_CONNECTED as version 12, which tflite-runtime 2.14 refuses.
        """
        import tensorflow as tf

        kernel = self._kernel(HEAD)
        pixels = tf.reshape(embedding, [-1, 1, 1, EMBEDDING])
        scores = tf.nn.conv2d(pixels, kernel[None, None], 1, "SAME") + self.parts[HEAD][2]
        return tf.reshape(scores, [-1, kernel.shape[-1]])

    def export_weights(self) -> Weights:
        """The weights as plain arrays, with relative kernels multiplied out."""
        arrays: Weights = {}
        for layer, (_, _, bias) in self.parts.items():
            arrays[f"{layer}/kernel"] = self._kernel(layer).numpy()
            arrays[f"{layer}/bias"] = bias.numpy()
        return arrays


def normalise(pixels: Any) -> Any:
    """Pixels 0..255 to the network's float range [-1, 1]; float, numpy or TensorFlow."""
    return (pixels - MEAN[0]) / STD[0]


def compiled(weights: Mapping[str, Array]) -> Any:
    """A function of uint8 pictures (n, s, s, 3) that gives logits and embeddings on TensorFlow."""
    import tensorflow as tf

    network = Network(weights)

    def forward(pixels: Any) -> tuple[Any, Any]:
        embedding = network.embed(normalise(tf.cast(pixels, tf.float32)))
        return network.classify(embedding), embedding

    return tf.function(forward, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])


def predict(weights: Mapping[str, Array], squares: Array) -> tuple[Array, Array]:
    """Logits (n, classes) and embeddings (n, 1280) of uint8 pictures, float32 on TensorFlow."""
    logits, embedding = in_batches(compiled(weights), squares, 32)
    return logits, embedding


def in_batches(forward: Callable[[Array], Sequence[Any]], squares: Array, size: int) -> list[Array]:
    """The outputs of `forward` for pictures, asked `size` at a time and joined again."""
    parts = [forward(squares[i : i + size]) for i in range(0, len(squares), size)]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def backbone_embedding(backbone: Path) -> Embed:
    """The embedding of the untouched backbone: vectors that lie close where pictures look alike.

    Raises ExportError where the file is missing or is no backbone.
    """
    forward = compiled({**read_weights(backbone), **blank_head()})
    return lambda squares: np.asarray(forward(squares)[1])


def embedding_at_hand(backbone: Path) -> Embed | None:
    """`backbone_embedding` where TensorFlow and the file are here, else None: hashes must do."""
    if backbone.is_file() and importlib.util.find_spec("tensorflow"):
        return backbone_embedding(backbone)
    return None
