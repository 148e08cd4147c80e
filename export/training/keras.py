"""Train a published backbone by a recipe; what was broken off goes on.

Recipe and class folders flow in; `model.keras` (pixels to logits and embedding), `float.npz` (what
it says of the held-out pictures) and the learning curves flow into the run folder.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from export.data.check import check_data
from export.data.pictures import (
    Picture,
    labels_of,
    load_squares,
    read_split,
    split,
    spread,
    write_split,
)
from export.networks.embedding import embedding_at_hand
from export.networks.keras_backbones import LICENCE, build, settle_statistics
from export.networks.keras_models import MODEL, answers, load
from export.recipes.load import settings
from export.recipes.schema import KerasRecipe
from export.run import DEFAULT_BACKBONE, Run, claimed, relative, versions
from export.training.held_out import hold_out, measure

SETTLING = 256
"""Pictures at most from which the statistics of batch normalisation are taken in the end."""


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
) -> tuple[dict[str, list[Picture]], tuple[str, ...]]:
    """Make the run folder and say in it what is trained, or check that it says the same.

    Returns:
        The pictures by part, and the labels.

    Raises:
        ExportError: the pictures cannot be trained on, or the folder holds another training.
    """
    folds, shares = recipe.split.folds, recipe.split.shares or ()
    asked = {
        "recipe": recipe.name,
        "kind": recipe.network.kind,
        "size": recipe.network.size,
        "settings": settings(recipe),
        "data": relative(data),
        "fold": fold if folds else None,
        "input": {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]},
        **({"labels": list(recipe.labels)} if recipe.labels else {}),
    }
    if known := claimed(run, asked):
        run.write_json("config.json", {**known, **recipe.of_package()})
        return read_split(run), tuple(known["labels"])
    run.create()
    count, embed = folds or sum(map(bool, shares)), embedding_at_hand(backbone)
    pictures = check_data(run, data, recipe.labels, parts=count, embed=embed)
    labels = recipe.labels or labels_of(pictures)
    parts = hold_out(pictures, fold) if folds else split(pictures, shares)
    run.write_json("versions.json", versions())
    write_split(run, parts)
    also = {**recipe.of_package(), "labels": list(labels), **_origin(recipe, fold)}
    run.write_json("config.json", {**asked, **also})
    counts = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
    run.log(f"train: {recipe.name}, {recipe.network.backbone}: {counts}")
    return parts, labels


def _origin(recipe: KerasRecipe, fold: int | None) -> dict[str, Any]:
    """`provenance` and `licences` of what is trained."""
    name, weights = recipe.network.backbone, recipe.network.weights
    started = {"imagenet": "ImageNet weights of Keras", "none": "from scratch"}
    learnt = (
        f"folds other than {fold}"
        if recipe.split.folds and fold is not None
        else "all but the held-out part"
    )
    return {
        "provenance": {
            "data": f"{recipe.data.title}, {learnt}, by group",
            "backbone": f"{name}, {started.get(weights, f'folded weights {Path(weights).name}')}",
        },
        "licences": {
            **({} if weights == "none" else {"backbone": LICENCE}),
            "data": recipe.data.licence,
            "weights": recipe.weights_licence,
        },
    }
