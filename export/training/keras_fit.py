"""Keras's own training loop, set up as a recipe says; it can be broken off and goes on.

A model and pictures flow in; the model learns, and the run folder gets a checkpoint and a row of
`curves.csv` after each epoch. It imports TensorFlow, so it is itself imported where a training
begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from bin_daemon.core.messages import Array
from export.data.pictures import Picture
from export.recipes.schema import KerasRecipe, KerasTraining
from export.run import CURVES, Run
from export.training.keras_batches import batches

TOLD_EVERY_S = 20.0


def fit(
    run: Run,
    recipe: KerasRecipe,
    model: Any,
    data: Path,
    parts: Mapping[str, Sequence[Picture]],
    labels: Sequence[str],
) -> None:
    """Train the model in place, or go on after the last epoch that the run holds.

    run: keeps checkpoint and curves. recipe: how to train. model: float pixels 0..255 to [logits,
    embedding]. data: folder of the pictures. parts: pictures to learn from as `train`, and to look
    at after each epoch as `validation`. labels: the classes in the order of the logits.
    """
    how, size = recipe.training, recipe.network.size
    learner = keras.Model(model.inputs, model.outputs[0])
    learner.compile(
        _optimizer(how),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.CategoricalAccuracy("accuracy")],
        jit_compile=False,  # XLA takes minutes for a deep network
    )
    learn, check = parts["train"], parts["validation"]
    checkpoint = run.path("checkpoint")
    steps, goes_on = max(1, len(learn) // how.batch), any(checkpoint.glob("*.h5"))
    progress = _Progress(run, how, steps, append=goes_on)
    shapes = (
        tf.TensorSpec((None, size, size, 3), tf.uint8),
        tf.TensorSpec((None, len(labels)), tf.float32),
    )

    def dataset(make: Callable[[], Iterator[tuple[Array, Array]]], count: int) -> Any:
        """Batches made in a thread of its own while TensorFlow works on the one before."""
        made = tf.data.Dataset.from_generator(make, output_signature=shapes).prefetch(4)
        return made.apply(tf.data.experimental.assert_cardinality(count))

    checked = dataset(lambda: batches(data, check, labels, recipe), -(-len(check) // how.batch))
    learner.fit(
        dataset(lambda: batches(data, learn, labels, recipe, progress.epoch), steps),
        validation_data=checked if check else None,
        shuffle=False,
        epochs=how.epochs,
        verbose=0,
        callbacks=[
            # The last checkpoint but one serves where the last was torn by a power cut.
            keras.callbacks.BackupAndRestore(
                checkpoint, double_checkpoint=True, delete_checkpoint=False
            ),
            progress,
        ],
    )


def _optimizer(how: KerasTraining) -> Any:
    config = {"learning_rate": how.learning_rate, "weight_decay": how.weight_decay}
    if how.optimizer == "sgd":
        config["momentum"] = 0.9
    return keras.optimizers.get({"class_name": how.optimizer, "config": config})


class _Progress(keras.callbacks.CSVLogger):  # type: ignore[misc]  # Keras has no types
    """Keras's log with the columns of a run and epochs counted from 1; tells who waits as well."""

    def __init__(self, run: Run, how: KerasTraining, steps: int, *, append: bool) -> None:
        super().__init__(run.path(CURVES), append=append)
        self.epoch, self._run, self._how, self._steps = 0, run, how, steps

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        if done := int(self.model.optimizer.iterations) // self._steps:
            self._run.log(f"train: goes on after epoch {done}")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch, self._began = epoch, time.monotonic()
        self._told = self._began

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if time.monotonic() - self._told > TOLD_EVERY_S and batch + 1 < self._steps:
            self._told = time.monotonic()
            print(f"train: step {batch + 1}/{self._steps}", flush=True)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        found, row = logs or {}, {}
        for name in ("loss", "accuracy", "validation_loss", "validation_accuracy"):
            number = found.get(name.replace("validation", "val"))
            row[name] = "" if number is None else f"{number:.4f}"
        row["seconds"] = f"{time.monotonic() - self._began:.0f}"
        self.keys = list(row)  # else sorted, with more columns for a validation that is not there
        super().on_epoch_end(epoch + 1, row)
        checked = row["validation_accuracy"]
        self._run.log(
            f"train: epoch {epoch + 1}/{self._how.epochs}, loss {row['loss']}, "
            f"accuracy {row['accuracy']}{checked and f', validation accuracy {checked}'}, "
            f"{row['seconds']} s"
        )
