"""The training loop of the folded network: all layers, from batches of views.

Weights and views flow in, the moving average of the trained weights flows out. The run folder gets
`curves.csv` and a checkpoint after each epoch, from which a broken-off training goes on.
"""

from __future__ import annotations

import csv
import time

import numpy as np

from export.networks.mobilenet import Network, Weights, normalise
from export.recipes.schema import FoldedTraining
from export.run import CURVES, Run
from export.views.batches import TrainingViews, batches, epoch_order, prefetch


def learn(
    run: Run, views: TrainingViews, classes: int, start: Weights, plan: FoldedTraining
) -> Weights:
    """Train as planned: the mixture first, then the fine-tuning phases where the plan has some.

    Each phase goes on from the mixture, on plain backgrounds. They stay close enough to each other
    for the mean of their weights to know most of what each has learnt (Wortsman et al. 2022,
    arXiv:2203.05482).
    """
    phases = plan.fine_tuning_phases()
    total = plan.epochs + sum(phase.epochs for phase in phases)
    trained = _stage(run, views, classes, start, plan, before=0, total=total)
    tuned, before = [], plan.epochs
    for phase in phases:
        tuned.append(_stage(run, views, classes, trained, phase, before=before, total=total))
        before += phase.epochs
    if not tuned:
        return trained
    return {name: np.mean([one[name] for one in tuned], axis=0) for name in trained}


def _stage(
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

    before: epochs of the stages before this one. total: of all stages, for people.
    """
    import keras
    import tensorflow as tf

    tf.keras.utils.set_random_seed(plan.seed)
    steps = max(1, len(epoch_order(views.labels, plan, 0)) // plan.batch)
    network = Network(start, relative=True)
    variables = list(network.variables)
    averages = [tf.Variable(variable) for variable in variables]
    schedule = keras.optimizers.schedules.CosineDecay(
        plan.learning_rate / 50,
        max(1, steps * plan.epochs - round(steps * plan.warmup_epochs)),
        warmup_target=plan.learning_rate,
        warmup_steps=round(steps * plan.warmup_epochs),
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=plan.weight_decay)
    optimizer.exclude_from_weight_decay([v for v in variables if v.name.endswith("bias:0")])
    optimizer.build(variables)
    epoch_done = tf.Variable(0, dtype=tf.int64)

    @tf.function(reduce_retracing=True)
    def step(pixels, targets):
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

    state = tf.train.Checkpoint(
        variables=variables,
        averages=averages,
        optimizer=[v.value for v in optimizer.variables],
        epoch=epoch_done,
    )
    kept = str(run.path("checkpoint") / str(before))
    manager = tf.train.CheckpointManager(state, kept, max_to_keep=1)
    if manager.latest_checkpoint:
        state.restore(manager.latest_checkpoint)
        run.log(f"train: goes on after epoch {before + int(epoch_done)}")
    for epoch in range(int(epoch_done), plan.epochs):
        began = time.monotonic()
        losses = [
            float(step(tf.constant(pixels), tf.constant(targets)))
            for pixels, targets in prefetch(batches(views, classes, plan, epoch))
        ]
        epoch_done.assign(epoch + 1)
        manager.save()
        _note_curve(run, before + epoch + 1, float(np.mean(losses)), time.monotonic() - began)
        run.log(
            f"train: epoch {before + epoch + 1}/{total} at {plan.size(epoch)} px, "
            f"loss {np.mean(losses):.4f}, {time.monotonic() - began:.0f} s"
        )
    for average, variable in zip(averages, variables, strict=True):
        variable.assign(average)
    return network.export_weights()


def _note_curve(run: Run, epoch: int, loss: float, seconds: float) -> None:
    path = run.path(CURVES)
    new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        if new:
            writer.writerow(("epoch", "loss", "seconds"))
        writer.writerow((epoch, f"{loss:.5f}", f"{seconds:.0f}"))
