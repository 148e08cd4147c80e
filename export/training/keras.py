"""Train a published backbone by a recipe, epoch by epoch, so that it can be broken off and goes on.

Recipe and class folders flow in; `model.keras` (pixels to logits and embedding), `float.npz` (what
it says of the held-out pictures) and the learning curves flow into the run folder. The held-out
part is looked at once, at the end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from export.data.check import check_data
from export.data.csv_tables import read_table, table_bytes
from export.data.pictures import (
    Picture,
    label_indices,
    labels_of,
    load_squares,
    read_split,
    split,
    spread,
    write_split,
)
from export.networks.embedding import embedding_at_hand
from export.networks.keras_backbones import FACTS, build, settle_statistics
from export.networks.keras_models import MODEL, answers, load
from export.recipes.load import settings
from export.recipes.schema import Augmentation, KerasRecipe
from export.run import CURVES, DEFAULT_BACKBONE, Run, claimed, relative, versions

COLUMNS = ("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "seconds")
SETTLING = 256
"""Pictures at most from which the statistics of batch normalisation are taken in the end."""
TOLD_EVERY_S = 20.0


def train(
    run: Run,
    recipe: KerasRecipe,
    data: Path,
    fold: int | None = 0,
    backbone: Path = DEFAULT_BACKBONE,
) -> None:
    """Train by a recipe, or go on where a broken-off training of this run stopped.

    Args:
        run: where everything is kept.
        recipe: what to train, and how.
        data: folder of `<class>/<picture>`.
        fold: the one to hold out, where the recipe splits into folds; None holds out nothing.
        backbone: folded weights to find near-duplicates with, where they are at hand.

    Raises:
        ExportError: the pictures cannot be trained on, weights are missing, or the run folder holds
            a training of another recipe.
    """
    parts, labels = _claim(run, recipe, data, fold, backbone)
    if run.path(MODEL).is_file():
        run.log(f"train: {MODEL} is there already; only the held-out part is measured again")
        model = load(run)
    else:
        model = build(recipe.network, len(labels), recipe.training.seed)
        _fit(run, recipe, model, data, parts, labels)
    files = [picture.file for picture in parts["held_out"]]
    if not files:
        run.log("train: nothing is held out, so nothing is measured")
        return
    logits, embedding = answers(model, load_squares(data, files, recipe.network.size))
    truth = label_indices(parts["held_out"], labels)
    run.write_arrays("float.npz", logits=logits, embedding=embedding, truth=truth)
    run.log(f"train: float accuracy on the held-out part {np.mean(logits.argmax(1) == truth):.4f}")


def _claim(
    run: Run, recipe: KerasRecipe, data: Path, fold: int | None, backbone: Path
) -> tuple[dict[str, list[Picture]], tuple[str, ...]]:
    """Make the run folder and say in it what is trained, or check that it says the same.

    Returns:
        The pictures by part, and the labels.
    """
    folds = recipe.split.folds
    config = {
        "recipe": recipe.name,
        "kind": recipe.kind,
        "size": recipe.network.size,
        "settings": settings(recipe),
        "data": relative(data),
        "fold": fold if folds else None,
        "input": {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]},
        **({"labels": list(recipe.labels)} if recipe.labels else {}),
    }
    if known := claimed(run, config):
        run.write_json("config.json", {**known, **recipe.of_package()})
        return read_split(run), tuple(known["labels"])
    run.create()
    pictures = check_data(
        run,
        data,
        recipe.labels,
        parts=folds or sum(map(bool, recipe.split.shares)),
        embed=embedding_at_hand(backbone),
    )
    labels = recipe.labels or labels_of(pictures)
    if folds:
        parts = {
            "train": [picture for picture in pictures if picture.fold != fold],
            "validation": [],
            "held_out": [picture for picture in pictures if picture.fold == fold],
        }
    else:
        parts = split(pictures, recipe.split.shares)
    run.write_json("versions.json", versions())
    write_split(run, parts)
    weights, facts = recipe.network.weights, FACTS[recipe.network.backbone]
    started = {"imagenet": "ImageNet weights of Keras", "none": "from scratch"}
    held = f"folds other than {fold}" if folds and fold is not None else "all but the held-out part"
    also = {
        **recipe.of_package(),
        "labels": list(labels),
        "provenance": {
            "data": f"{recipe.data.title}, {held}, by group",
            "backbone": f"{recipe.network.backbone}, "
            + started.get(weights, f"folded weights {Path(weights).name}"),
        },
        "licences": {
            **({} if weights == "none" else {"backbone": facts.licence}),
            "data": recipe.data.licence,
            "weights": recipe.weights_licence,
        },
    }
    run.write_json("config.json", {**config, **also})
    counts = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
    run.log(f"train: {recipe.name}, {recipe.network.backbone}: {counts}")
    return parts, labels


def _fit(
    run: Run,
    recipe: KerasRecipe,
    model: Any,
    data: Path,
    parts: dict[str, list[Picture]],
    labels: Sequence[str],
) -> None:
    """The training itself; leaves `model.keras` and the curves."""
    import tensorflow as tf

    how, size = recipe.training, recipe.network.size
    optimizer = _optimizer(recipe)
    variables = model.trainable_variables
    optimizer.build(variables)

    def losses(pixels: Any, truth: Any, training: bool) -> tuple[Any, Any]:
        logits, _ = model(tf.cast(pixels, tf.float32), training=training)
        smooth = how.label_smoothing if training else 0.0
        targets = tf.one_hot(truth, len(labels)) * (1.0 - smooth) + smooth / len(labels)
        loss = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
        return loss, tf.cast(tf.argmax(logits, 1) == truth, tf.float32)

    @tf.function(reduce_retracing=True)
    def step(pixels: Any, truth: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            loss, right = losses(pixels, truth, True)
            mean = tf.reduce_mean(loss)
        optimizer.apply_gradients(zip(tape.gradient(mean, variables), variables, strict=True))
        return loss, right

    look = tf.function(lambda pixels, truth: losses(pixels, truth, False), reduce_retracing=True)
    done = tf.Variable(0, dtype=tf.int64)
    state = tf.train.Checkpoint(
        model=[variable.value for variable in model.variables],
        optimizer=[variable.value for variable in optimizer.variables],
        epoch=done,
    )
    manager = tf.train.CheckpointManager(state, str(run.path("checkpoint")), max_to_keep=1)
    rows: list[tuple[str, ...]] = []
    if manager.latest_checkpoint:
        state.restore(manager.latest_checkpoint)
        rows = _known_rows(run, int(done))
        run.log(f"train: goes on after epoch {int(done)}")
    truth = label_indices(parts["train"], labels)
    checks = label_indices(parts["validation"], labels)
    for epoch in range(int(done), how.epochs):
        began = time.monotonic()
        batches = _prefetched(_batches(data, parts["train"], truth, recipe, epoch), size)
        steps = max(1, len(truth) // how.batch)
        loss, right = _averages(_told((step(*batch) for batch in batches), steps))
        files = [picture.file for picture in parts["validation"]]
        seen = (
            look(load_squares(data, files[i : i + how.batch], size), checks[i : i + how.batch])
            for i in range(0, len(files), how.batch)
        )
        numbers = (loss, right, *_averages(seen))
        shown = ("" if n is None else f"{n:.4f}" for n in numbers)
        rows.append((str(epoch + 1), *shown, f"{time.monotonic() - began:.0f}"))
        run.write_bytes(CURVES, table_bytes(COLUMNS, rows))
        done.assign(epoch + 1)
        manager.save()
        told = f", validation accuracy {rows[-1][4]}" if files else ""
        run.log(
            f"train: epoch {epoch + 1}/{how.epochs}, loss {rows[-1][1]}, accuracy {rows[-1][2]}"
            f"{told}, {time.monotonic() - began:.0f} s"
        )
    files = spread([picture.file for picture in parts["train"]], SETTLING)
    settle_statistics(model, load_squares(data, files, size))
    aside = run.path(f".part.{MODEL}")
    model.save(aside)
    aside.replace(run.path(MODEL))


def _optimizer(recipe: KerasRecipe) -> Any:
    import keras

    how = recipe.training
    kind = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": keras.optimizers.SGD,
        "rmsprop": keras.optimizers.RMSprop,
    }[how.optimizer]
    options: dict[str, Any] = {"momentum": 0.9} if how.optimizer == "sgd" else {}
    return kind(how.learning_rate, weight_decay=how.weight_decay or None, **options)


def _known_rows(run: Run, epochs: int) -> list[tuple[str, ...]]:
    """The curves of the epochs that are in the checkpoint."""
    if not run.path(CURVES).is_file():
        return []
    rows = read_table(run.path(CURVES), COLUMNS[:3])
    # A column may be younger than the curves.
    known = [tuple(row.get(column, "") for column in COLUMNS) for _, row in rows]
    return known[:epochs]


def _averages(results: Iterator[tuple[Any, Any]]) -> tuple[float | None, float | None]:
    """Mean loss and accuracy over pictures, or None where there are none."""
    loss, right = [], []
    for losses, rights in results:
        loss.append(np.asarray(losses))
        right.append(np.asarray(rights))
    if not loss:
        return None, None
    return float(np.concatenate(loss).mean()), float(np.concatenate(right).mean())


def _told(results: Iterator[Any], steps: int) -> Iterator[Any]:
    """Pass results on; say how far an epoch is where it takes long."""
    told = time.monotonic()
    for number, result in enumerate(results, 1):
        yield result
        if time.monotonic() - told > TOLD_EVERY_S and number < steps:
            told = time.monotonic()
            print(f"train: step {number}/{steps}", flush=True)


def _prefetched(batches: Iterator[tuple[Array, Array]], size: int) -> Any:
    """Make batches in a thread of its own while TensorFlow works on the one before."""
    import tensorflow as tf

    shapes = (
        tf.TensorSpec((None, size, size, 3), tf.uint8),
        tf.TensorSpec((None,), tf.int64),
    )
    return tf.data.Dataset.from_generator(lambda: batches, output_signature=shapes).prefetch(4)


def _batches(
    data: Path, pictures: Sequence[Picture], truth: Array, recipe: KerasRecipe, epoch: int
) -> Iterator[tuple[Array, Array]]:
    """Batches of an epoch, shuffled: uint8 (batch, s, s, 3), int64 (batch,).

    What does not fill a batch waits for another epoch: a batch of one has no statistics.
    """
    rng = np.random.default_rng((recipe.training.seed, epoch))
    order = rng.permutation(len(pictures))
    size, batch = recipe.network.size, min(recipe.training.batch, len(order))
    for first in range(0, len(order) - batch + 1, batch):
        chosen = order[first : first + batch]
        squares = load_squares(data, [pictures[i].file for i in chosen], size)
        yield np.stack([augment(s, recipe.augmentation, rng) for s in squares]), truth[chosen]


def augment(square: Array, spec: Augmentation, rng: np.random.Generator) -> Array:
    """Change a picture at random as a recipe says, in one warp; uint8 (s, s, 3) both ways.

    What comes into view from outside repeats the edge, as in `ImageDataGenerator` of Keras, whose
    names and meanings of the figures these are.
    """
    side = square.shape[0]
    angle = np.deg2rad(rng.uniform(-spec.rotation_deg, spec.rotation_deg))
    zoom = rng.uniform(1.0 - spec.zoom, 1.0 + spec.zoom)
    shear = rng.uniform(-spec.shear, spec.shear)
    mirror = np.array(
        [
            -1.0 if spec.flip_horizontal and rng.random() < 0.5 else 1.0,
            -1.0 if spec.flip_vertical and rng.random() < 0.5 else 1.0,
        ]
    )
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    view = turn @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag(mirror) / zoom
    middle = np.full(2, (side - 1) / 2.0)
    matrix = np.empty((2, 3))
    matrix[:, :2] = view
    matrix[:, 2] = middle - view @ middle + rng.uniform(-spec.shift, spec.shift, 2) * side
    warped = cv2.warpAffine(
        square,
        matrix,
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.convertScaleAbs(
        warped, alpha=rng.uniform(1.0 - spec.brightness, 1.0 + spec.brightness)
    )
