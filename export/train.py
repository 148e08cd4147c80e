"""Fine-tune all layers of the backbone on the training folds, first at 160 px, then at 224 px.

Reads pictures and backbone; leaves in the run folder `weights.npz` (the moving average of the
weights), `float.npz` (logits of the held-out fold) and, while it runs, a checkpoint after each
epoch from which a broken-off training goes on. The held-out fold is looked at once, at the end.
"""

from __future__ import annotations

import dataclasses
import math
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .augment import augment, blend
from .data import FOLDS, LABELS, Picture, label_indices, list_pictures, load_squares
from .errors import ExportError
from .network import EMBEDDING, HEAD, Weights, make_network, normalise, read_weights
from .runs import Run, relative, versions

SIZE = 224
SOURCE_MARGIN = 1.15
"""Pictures are kept a little larger than trained, so that a moderate crop loses no detail."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides how a training goes; saved as config.json."""

    small_epochs: int = 24
    small_size: int = 160
    large_epochs: int = 12
    batch: int = 32
    learning_rate: float = 1.2e-3
    weight_decay: float = 0.02
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.1
    blend_share: float = 0.5
    average: float = 0.997
    dropout: float = 0.2
    balance: float = 0.5
    """Exponent of class balancing: 0 draws classes as they come, 1 all equally often."""
    seed: int = 1

    @property
    def epochs(self) -> int:
        """Epochs at both sizes together."""
        return self.small_epochs + self.large_epochs

    def size(self, epoch: int) -> int:
        """Side of the training pictures in an epoch, counted from 0."""
        return self.small_size if epoch < self.small_epochs else SIZE


def train(run: Run, data: Path, backbone: Path, fold: int, recipe: Recipe) -> None:
    """Train with one fold held out, or go on where a broken-off training of this run stopped.

    Raises:
        ExportError: inputs are missing, the fold does not exist, or the run folder holds a training
            of another recipe.
    """
    if not 0 <= fold < FOLDS:
        raise ExportError(f"--fold {fold}: must be 0 to {FOLDS - 1}")
    pictures = list_pictures(data)
    kept = [picture for picture in pictures if picture.fold != fold]
    held_out = [picture for picture in pictures if picture.fold == fold]
    weights = read_weights(backbone)
    config = {
        "recipe": dataclasses.asdict(recipe),
        "fold": fold,
        "data": relative(data),
        "backbone": relative(backbone),
        "labels": list(LABELS),
    }
    _claim(run, config, kept, held_out)
    run.log(f"train: fold {fold} held out ({len(held_out)} pictures), {len(kept)} to learn from")
    if run.path("weights.npz").is_file():
        run.log("train: weights.npz is there already; only the held-out fold is measured again")
        trained = read_weights(run.path("weights.npz"))
    else:
        trained = _fit(run, data, kept, weights, recipe)
        np.savez(run.path("weights.npz"), **trained)
    squares = load_squares(data, [picture.file for picture in held_out], SIZE)
    logits, embedding = predict(trained, squares)
    truth = label_indices(held_out)
    np.savez(run.path("float.npz"), logits=logits, embedding=embedding, truth=truth)
    run.log(f"train: float accuracy on the held-out fold {np.mean(logits.argmax(1) == truth):.4f}")


def predict(weights: Weights, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, classes) and embeddings (n, 1280) of uint8 pictures, float32 on TensorFlow."""
    import tensorflow as tf

    network = make_network(weights)

    @tf.function
    def forward(pixels):
        embedding = network.embed(normalise(tf.cast(pixels, tf.float32)))
        return network.classify(embedding), embedding

    parts = [forward(squares[i : i + 32]) for i in range(0, len(squares), 32)]
    logits, embedding = zip(*parts, strict=True)
    return np.concatenate(logits), np.concatenate(embedding)


def _claim(run: Run, config: dict, kept: list[Picture], held_out: list[Picture]) -> None:
    """Make the run folder and say in it what is trained, or check that it says the same."""
    run.create()
    if run.path("config.json").is_file():
        if run.read_json("config.json", "train") != config:
            raise ExportError(
                f"{run.folder}: holds a training with other settings; name another with --run"
            )
        return
    run.write_json("versions.json", versions())
    run.write_json(
        "split.json",
        {
            "train": [picture.file for picture in kept],
            "held_out": [picture.file for picture in held_out],
        },
    )
    run.write_json("config.json", config)


def _fit(run: Run, data: Path, kept: list[Picture], backbone: Weights, recipe: Recipe) -> Weights:
    """The training itself; returns the moving average of the weights."""
    import keras
    import tensorflow as tf

    tf.keras.utils.set_random_seed(recipe.seed)
    labels = label_indices(kept)
    files = [picture.file for picture in kept]
    sources = load_squares(data, files, round(SIZE * SOURCE_MARGIN))
    steps = math.ceil(len(_epoch_order(labels, recipe, 0)) / recipe.batch)

    start = {**backbone, **_probe(backbone, load_squares(data, files, SIZE), labels)}
    network = make_network(start, relative=True)
    variables = list(network.trainable_variables)
    averages = [tf.Variable(variable) for variable in variables]
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 50,
        steps * recipe.epochs - round(steps * recipe.warmup_epochs),
        warmup_target=recipe.learning_rate,
        warmup_steps=round(steps * recipe.warmup_epochs),
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay)
    optimizer.exclude_from_weight_decay([v for v in variables if v.name.endswith("bias:0")])
    optimizer.build(variables)
    epoch_done = tf.Variable(0, dtype=tf.int64)

    @tf.function(reduce_retracing=True)
    def step(pixels, targets):
        with tf.GradientTape() as tape:
            embedding = network.embed(normalise(tf.cast(pixels, tf.float32)))
            logits = network.classify(tf.nn.dropout(embedding, recipe.dropout))
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        done = tf.cast(optimizer.iterations, tf.float32)
        # A young average would still hold the starting weights: let it forget faster at first.
        keep = tf.minimum(recipe.average, (1.0 + done) / (10.0 + done))
        for average, variable in zip(averages, variables, strict=True):
            average.assign_add((1.0 - keep) * (variable - average))
        return loss

    state = tf.train.Checkpoint(
        variables=variables,
        averages=averages,
        optimizer=[v.value for v in optimizer.variables],
        epoch=epoch_done,
    )
    manager = tf.train.CheckpointManager(state, str(run.path("checkpoint")), max_to_keep=1)
    if manager.latest_checkpoint:
        state.restore(manager.latest_checkpoint)
        run.log(f"train: goes on after epoch {int(epoch_done)}")
    for epoch in range(int(epoch_done), recipe.epochs):
        began = time.monotonic()
        losses = [
            float(step(tf.constant(pixels), tf.constant(targets)))
            for pixels, targets in _prefetch(_batches(sources, labels, recipe, epoch))
        ]
        epoch_done.assign(epoch + 1)
        manager.save()
        run.log(
            f"train: epoch {epoch + 1}/{recipe.epochs} at {recipe.size(epoch)} px, "
            f"loss {np.mean(losses):.4f}, {time.monotonic() - began:.0f} s"
        )
    for average, variable in zip(averages, variables, strict=True):
        variable.assign(average)
    return network.export_weights()


def _probe(backbone: Weights, squares: np.ndarray, labels: np.ndarray) -> Weights:
    """A head for the untouched backbone: ridge regression to class scores, in closed form.

    Starting from it, the first steps do not tear the backbone apart to please a random head.
    """
    blank = {
        f"{HEAD}/kernel": np.zeros((EMBEDDING, len(LABELS)), np.float32),
        f"{HEAD}/bias": np.zeros(len(LABELS), np.float32),
    }
    features = predict({**backbone, **blank}, squares)[1].astype(np.float64)
    middle = features.mean(axis=0)
    centred = features - middle
    wanted = np.eye(len(LABELS))[labels]
    gram = centred.T @ centred
    ridge = 0.3 * np.trace(gram) / EMBEDDING
    slopes = np.linalg.solve(gram + ridge * np.eye(EMBEDDING), centred.T @ wanted)
    # Scores of 0..1 make timid logits; a factor of about 5 spreads them as cross entropy would.
    kernel = 5.0 * slopes
    bias = 5.0 * wanted.mean(axis=0) - middle @ kernel
    return {
        f"{HEAD}/kernel": kernel.astype(np.float32),
        f"{HEAD}/bias": bias.astype(np.float32),
    }


def _epoch_order(labels: np.ndarray, recipe: Recipe, epoch: int) -> np.ndarray:
    """Which pictures an epoch shows, shuffled: each once, those of rare classes more often.

    A class is repeated (largest count / its count) ** balance times on average.
    """
    rng = np.random.default_rng((recipe.seed, epoch, 0))
    counts = np.bincount(labels, minlength=len(LABELS))
    repeats = (counts.max() / np.maximum(counts, 1)) ** recipe.balance
    times = np.floor(repeats[labels] + rng.random(len(labels))).astype(int)
    return rng.permutation(np.repeat(np.arange(len(labels)), times))


def _batches(
    sources: np.ndarray, labels: np.ndarray, recipe: Recipe, epoch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of an epoch: uint8 (batch, size, size, 3) and float32 targets (batch, classes)."""
    rng = np.random.default_rng((recipe.seed, epoch, 1))
    size = recipe.size(epoch)
    order = _epoch_order(labels, recipe, epoch)
    classes = len(LABELS)
    flat = recipe.label_smoothing / classes
    soft = np.eye(classes, dtype=np.float32) * (1.0 - recipe.label_smoothing) + np.float32(flat)
    for first in range(0, len(order) - recipe.batch + 1, recipe.batch):
        chosen = order[first : first + recipe.batch]
        pixels = np.stack([augment(sources[i], size, rng) for i in chosen])
        yield blend(pixels, soft[labels[chosen]], recipe.blend_share, rng)


def _prefetch(batches: Iterator, depth: int = 4) -> Iterator:
    """Make batches in a thread of their own while TensorFlow works on the one before."""
    ready: queue.Queue = queue.Queue(depth)

    def fill() -> None:
        try:
            for batch in batches:
                ready.put(batch)
            ready.put(None)
        except Exception as error:  # handed over, and raised where the batches are used
            ready.put(error)

    threading.Thread(target=fill, name="batches", daemon=True).start()
    while (batch := ready.get()) is not None:
        if isinstance(batch, Exception):
            raise batch
        yield batch
