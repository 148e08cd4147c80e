"""The training loop of the folded network: all layers, from batches of views.

Weights and views flow in, the moving average of the trained weights flows out. The run folder gets
`curves.csv` and a checkpoint after each epoch, from which a broken-off training goes on. Keras's
`fit` would not shorten it: kernels relative to their channels, an average that forgets faster while
it is young and pictures that grow from epoch to epoch would each be a class of ours in it.
"""

from __future__ import annotations

import csv
import time
from typing import Any

import numpy as np

from export.networks.mobilenet import Network, Weights, normalise
from export.recipes.schema import FoldedTraining
from export.run import CURVES, Run
from export.views.batches import TrainingViews, batches, epoch_order, prefetch


def learn(
    run: Run, views: TrainingViews, classes: int, start: Weights, plan: FoldedTraining
) -> Weights:
    """Train as planned: the mixture first, then the fine-tuning phases, where the plan has them.

    Each phase goes on from the mixture. They stay close enough to each other for the mean of their
    weights to know most of what each has learnt (Wortsman et al. 2022, arXiv:2203.05482).
    """
    phases = plan.fine_tuning_phases()
    total = plan.epochs + sum(phase.epochs for phase in phases)
    mixture = _phase(run, views, classes, start, plan, before=0, total=total)
    tuned, before = [], plan.epochs
    for phase in phases:
        tuned.append(_phase(run, views, classes, mixture, phase, before=before, total=total))
        before += phase.epochs
    if not tuned:
        return mixture
    return {name: np.mean([one[name] for one in tuned], axis=0) for name in mixture}


def _phase(
    run: Run,
    views: TrainingViews,
    classes: int,
    start: Weights,
    plan: FoldedTraining,
    *,
    before: int,
    total: int,
) -> Weights:
    """One rise and fall of the learning rate; returns the moving average of the weights.

    `before` is the epochs of the phases before this one, `total` those of all, for people.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(plan.seed)
    network = Network(start, relative=True)
    variables = network.variables
    averages = [tf.Variable(variable) for variable in variables]
    optimizer = _optimizer(plan, len(epoch_order(views.labels, plan, 0)), variables)
    step = _step(network, optimizer, averages, plan)
    done = tf.Variable(0, dtype=tf.int64)
    state = tf.train.Checkpoint(
        variables=variables,
        averages=averages,
        optimizer=[variable.value for variable in optimizer.variables],
        epoch=done,
    )
    folder = str(run.path("checkpoint") / str(before))
    manager = tf.train.CheckpointManager(state, folder, max_to_keep=1)
    if manager.restore_or_initialize():
        run.log(f"train: goes on after epoch {before + int(done)}")
    for epoch in range(int(done), plan.epochs):
        began = time.monotonic()
        losses = [float(step(*b)) for b in prefetch(batches(views, classes, plan, epoch))]
        done.assign(epoch + 1)
        manager.save()
        number, loss, took = before + epoch + 1, np.mean(losses), f"{time.monotonic() - began:.0f}"
        _note_curve(run, number, f"{loss:.5f}", took)
        run.log(
            f"train: epoch {number}/{total} at {plan.size(epoch)} px, loss {loss:.4f}, {took} s"
        )
    for average, variable in zip(averages, variables, strict=True):
        variable.assign(average)
    return network.export_weights()


def _optimizer(plan: FoldedTraining, pictures: int, variables: list[Any]) -> Any:
    """AdamW whose learning rate rises in the warm-up and falls along a cosine."""
    import keras

    steps = max(1, pictures // plan.batch)
    warmup = round(steps * plan.warmup_epochs)
    schedule = keras.optimizers.schedules.CosineDecay(
        plan.learning_rate / 50,
        max(1, steps * plan.epochs - warmup),
        warmup_target=plan.learning_rate,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=plan.weight_decay)
    optimizer.exclude_from_weight_decay([v for v in variables if v.name.endswith("bias:0")])
    optimizer.build(variables)
    return optimizer


def _step(network: Network, optimizer: Any, averages: list[Any], plan: FoldedTraining) -> Any:
    """A function of a batch, uint8 pixels and float32 targets, that learns and gives the loss."""
    import tensorflow as tf

    variables = network.variables

    def step(pixels: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            embedding = network.embed(normalise(tf.cast(pixels, tf.float32)))
            logits = network.classify(tf.nn.dropout(embedding, plan.dropout))
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        done = tf.cast(optimizer.iterations, tf.float32)
        # A young average would still hold the starting weights: let it forget faster at first.
        keep = tf.minimum(plan.average, (1.0 + done) / (10.0 + done))
        for average, variable in zip(averages, variables, strict=True):
            average.assign_add((1.0 - keep) * (variable - average))
        return loss

    compiled = tf.function(step, reduce_retracing=True)
    return lambda pixels, targets: compiled(tf.constant(pixels), tf.constant(targets))


def _note_curve(run: Run, *row: int | str) -> None:
    with run.path(CURVES).open("a", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        if not stream.tell():
            writer.writerow(("epoch", "loss", "seconds"))
        writer.writerow(row)
