"""A Keras model once it is there: read from a run, and asked about pictures. Nothing is trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.errors import ExportError
from export.run import Run

MODEL = "model.keras"


def load(run: Run) -> Any:
    """The trained Keras model of a run; raises ExportError where there is none."""
    import keras

    path = run.need(MODEL, "train")
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise ExportError(f"{path}: cannot be read as a Keras model: {error}") from error


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
