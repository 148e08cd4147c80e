"""Fold batch normalisation away: Keras's ImageNet MobileNetV2 as the backbone that `train` wants.

Keras's weights flow in; an .npz with a kernel and a bias for each of the 52 layers flows out, as
`export.networks.mobilenet` reads it. Keras pads by hand at stride 2 where that network pads by
TensorFlow's SAME. Both put a row behind, and one before where a side is odd: the embedding is the
same at any size.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.files import READABLE, write_whole
from bin_daemon.core.messages import Array
from export.errors import ExportError
from export.networks.keras_backbones import norms
from export.networks.mobilenet import SIZE, Weights


def fold(layer: str, kernel: Array, statistics: list[Array], epsilon: float) -> tuple[Array, Array]:
    """Kernel and bias, float32, that do what a layer and the batch normalisation after it do.

    The layer has no bias; depthwise kernels (H, W, C, 1) have C output channels, others are HWIO.
    `statistics` are gamma, beta, mean and variance, (channels,); `epsilon` goes to the variance.
    """
    gamma, beta, mean, variance = (np.asarray(values, np.float64) for values in statistics)
    factor = gamma / np.sqrt(variance + epsilon)
    folded = kernel * (factor[:, None] if layer.endswith("depthwise") else factor)
    return folded.astype(np.float32), (beta - mean * factor).astype(np.float32)


def folded(model: Any) -> Weights:
    """The folded weights of a Keras MobileNetV2 1.0 without its classifier."""
    weights: Weights = {}
    for layer, norm in norms().items():
        (kernel,) = model.get_layer(layer).get_weights()
        after = model.get_layer(norm)
        parts = fold(layer, kernel, after.get_weights(), after.epsilon)
        weights[f"{layer}/kernel"], weights[f"{layer}/bias"] = parts
    return weights


def make_backbone(to: Path, file: Path | None = None) -> None:
    """Write the folded backbone; TensorFlow is imported here and nowhere above.

    to: the .npz to write. file: Keras's weights without the classifier (.h5); None has Keras fetch
    its own. Raises ExportError where the weights cannot be had, are of another network, or `to`
    cannot be written.
    """
    if file is not None and not file.is_file():
        raise ExportError(f"{file}: no such weights file")
    import keras

    try:
        model = keras.applications.MobileNetV2(
            input_shape=(SIZE, SIZE, 3), include_top=False, weights=str(file or "imagenet")
        )
    except Exception as error:
        # Keras wraps what the network or the file raises in exceptions of no common kind.
        raise ExportError(
            f"{file}: is no weights file of MobileNetV2 1.0 without the classifier: {error}"
            if file
            else f"the ImageNet weights of MobileNetV2 cannot be had from Keras ({error}); connect "
            f"this machine once, or name the file without the classifier with --weights"
        ) from error
    archive = io.BytesIO()
    np.savez(archive, **folded(model))
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        write_whole(to, archive.getbuffer(), synced=False, mode=READABLE)
    except OSError as error:
        raise ExportError(f"{to}: cannot be written: {error}") from error
    print(f"backbone: {to}")
