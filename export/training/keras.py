"""Train a published backbone by a recipe; what was broken off goes on.

Recipe and class folders flow in; `model.keras` (pixels to logits and embedding), `float.npz` (what
it says of the held-out pictures) and the learning curves flow into the run folder.
"""

from __future__ import annotations

import functools
from pathlib import Path

from export.data.pictures import load_squares, spread
from export.networks.keras_backbones import (
    LICENCE,
    MODEL,
    answers,
    build,
    load,
    settle_statistics,
)
from export.recipes.schema import KerasRecipe
from export.run import Run
from export.training.claim import Parts, claim_run, measure

SETTLING = 256
"""Pictures at most from which the statistics of batch normalisation are taken in the end."""


def train(run: Run, recipe: KerasRecipe, data: Path, fold: int | None, backbone: Path) -> None:
    """Train by a recipe, or go on where a broken-off training of this run stopped.

    Takes what `claim_run` takes; `fold` counts only where the recipe splits into folds.

    Raises ExportError where the pictures cannot be trained on, weights are missing, or the run
    folder holds a training of another recipe.
    """
    parts, labels = claim(run, recipe, data, fold, backbone)
    size = recipe.network.size
    if run.path(MODEL).is_file():
        run.log(f"train: {MODEL} is there already; only the held-out part is measured again")
        model = load(run)
    else:
        from export.training.keras_fit import fit

        model = build(recipe.network, len(labels), recipe.training.seed)
        fit(run, recipe, model, data, parts, labels)
        files = spread([picture.file for picture in parts["train"]], SETTLING)
        settle_statistics(model, load_squares(data, files, size))
        aside = run.path(f".part.{MODEL}")
        model.save(aside)
        aside.replace(run.path(MODEL))
    measure(run, data, parts["held_out"], labels, size, functools.partial(answers, model))


def claim(
    run: Run, recipe: KerasRecipe, data: Path, fold: int | None, backbone: Path
) -> tuple[Parts, tuple[str, ...]]:
    """`claim_run` with the arguments of `train`: the pictures by part, and the labels."""
    fold, network = fold if recipe.split.folds else None, recipe.network
    learnt = "all but the held-out part" if fold is None else f"folds other than {fold}"
    started = {"imagenet": "ImageNet weights of Keras", "none": "from scratch"}
    of_weights = started.get(network.weights, f"folded weights {Path(network.weights).name}")
    about = {
        "size": network.size,
        "input": {"mean": [0.0] * 3, "std": [1.0] * 3},
        "provenance": {
            "data": f"{recipe.data.title}, {learnt}, by group",
            "backbone": f"{network.backbone}, {of_weights}",
        },
        "licences": {
            **({} if network.weights == "none" else {"backbone": LICENCE}),
            "data": recipe.data.licence,
            "weights": recipe.weights_licence,
        },
    }
    return claim_run(run, recipe, data, fold, backbone, about, shares=recipe.split.shares)
