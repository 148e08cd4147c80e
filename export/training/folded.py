"""Train the folded network on views: photographs, drawn chambers, renderings, nothing.

Reads pictures and backbone; leaves in the run folder `weights.npz`, `float.npz` (scores of the
held-out pictures), and what `export.training.loop` leaves.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from bin_daemon.model.head import unit
from bin_daemon.teaching import solver
from export.data.check import check_data
from export.data.pictures import FOLDS, SPLIT, Picture, labels_of, read_split, write_split
from export.errors import ExportError
from export.networks.embedding import embedding_at_hand
from export.networks.mobilenet import (
    EMBEDDING,
    HEAD,
    SIZE,
    Weights,
    blank_head,
    predict,
    read_weights,
)
from export.networks.package_weights import Shipped
from export.recipes.load import settings
from export.recipes.schema import FoldedRecipe
from export.run import Run, claimed, relative, versions
from export.training.held_out import hold_out, measure
from export.training.loop import learn
from export.views.batches import TrainingViews, gather

HEAD_STRENGTH = 0.03
"""Of the pull towards the head of a package: the middle of those that teaching chooses from."""


def train(
    run: Run,
    recipe: FoldedRecipe,
    data: Path,
    backbone: Path,
    fold: int | None,
    shipped: Shipped | None = None,
) -> None:
    """Train with one fold held out, or go on where a broken-off training of this run stopped.

    Args:
        run: where everything is kept.
        recipe: what to train, and how.
        data: folder of `<class>/<picture>`.
        backbone: folded weights to start from, and to find near-duplicates with.
        fold: 0 to 4, or None to learn from every picture; such a model has the figures of its
            folds.
        shipped: a package to start from instead of the backbone.

    Raises:
        ExportError: inputs are missing or unfit, or the run folder holds another training.
    """
    started = time.monotonic()
    if shipped is None and not backbone.is_file():
        raise ExportError(
            f"{backbone}: no such weights file; `python -m export backbone` makes it of Keras's "
            f"ImageNet weights"
        )
    pictures, labels = claim(run, recipe, data, backbone, fold, shipped)
    if run.path("weights.npz").is_file():
        run.log("train: weights.npz is there already; only the held-out part is measured again")
        trained = read_weights(run.path("weights.npz"))
    else:
        views = gather(run, recipe, data, pictures, labels, fold)
        if len(views.chosen) < recipe.training.batch:
            raise ExportError(
                f"{data}: {len(views.chosen)} pictures to learn from do not fill a batch of "
                f"{recipe.training.batch}; add pictures, or set training.batch lower with --set"
            )
        weights = read_weights(backbone) if shipped is None else shipped.for_labels(labels)
        head = _ridge_head if shipped is None else _refitted_head
        weights |= head(weights, views, len(labels))
        trained = learn(run, views, len(labels), weights, recipe.training)
        run.write_arrays("weights.npz", **trained)
        run.log(f"train: {(time.monotonic() - started) / 60:.0f} minutes in all")
    held_out = hold_out(pictures, fold)["held_out"]
    measure(run, data, held_out, labels, SIZE, functools.partial(predict, trained))


def claim(
    run: Run,
    recipe: FoldedRecipe,
    data: Path,
    backbone: Path,
    fold: int | None,
    shipped: Shipped | None = None,
) -> tuple[list[Picture], tuple[str, ...]]:
    """Make the run folder and say in it what is trained, or check that it says the same.

    Args are those of `train`.

    Returns:
        The pictures, and the labels.

    Raises:
        ExportError: the pictures are unfit, or the run folder holds another training.
    """
    run.create()
    start = {"start": f"{shipped.id}, model.tflite sha256 {shipped.sha256}"} if shipped else {}
    asked: dict[str, Any] = {
        "settings": {**settings(recipe), **start},
        "data": relative(data),
        "fold": fold,
        **({"labels": list(recipe.labels)} if recipe.labels else {}),
    }
    claimed(run, asked)  # before the report on the pictures of the other training is overwritten
    pictures = check_data(run, data, recipe.labels, parts=FOLDS, embed=embedding_at_hand(backbone))
    labels = recipe.labels or labels_of(pictures)
    asked["labels"] = list(labels)
    if claimed(run, asked) is None:
        run.write_json("versions.json", versions())
    config = {**asked, **recipe.of_package(), **_origin(recipe, fold, shipped, start)}
    config |= {"recipe": recipe.name, "kind": recipe.network.kind, "size": SIZE}
    run.write_json("config.json", config)
    parts = hold_out(pictures, fold)
    _keep_split(run, parts)
    run.log(f"train: {len(parts['train'])} pictures, {len(parts['held_out'])} held out")
    if shipped is not None:
        new = [label for label in labels if label not in shipped.labels]
        gone = [label for label in shipped.labels if label not in labels]
        run.log(
            f"train: starts from {shipped.id}; new classes: {', '.join(new) or 'none'}; without "
            f"pictures, so the model will not know them: {', '.join(gone) or 'none'}"
        )
    return pictures, labels


def _origin(
    recipe: FoldedRecipe, fold: int | None, shipped: Shipped | None, start: Mapping[str, str]
) -> dict[str, Any]:
    """`provenance` and `licences` of what is trained."""
    learnt = "all folds" if fold is None else f"folds other than {fold}, by group"
    provenance = {
        "data": f"{recipe.data.title}, {learnt}",
        "backbone": "MobileNetV2 1.0/224, ImageNet (TF-slim checkpoint), batch norm folded",
        **start,
    }
    if recipe.training.rendered:
        provenance["rendered"] = (
            "items and chambers drawn by export/rendering/studio, for training only"
        )
    licences = {"backbone": "Apache-2.0"}
    if shipped:
        licences |= {f"{name} of {shipped.id}": words for name, words in shipped.licences.items()}
    licences |= {"data": recipe.data.licence, "weights": recipe.weights_licence}
    return {"provenance": provenance, "licences": licences}


def _keep_split(run: Run, parts: Mapping[str, Sequence[Picture]]) -> None:
    """Write the split down, or check that the one of a broken-off training is the same.

    Raises:
        ExportError: it is not: what is held out now may have been learnt from.
    """
    if run.path(SPLIT).is_file():
        known = read_split(run)
        if any(
            [one.file for one in known[part]] != [one.file for one in pictures]
            for part, pictures in parts.items()
        ):
            raise ExportError(
                f"{run.folder}: the pictures or their groups have changed since its training "
                f"began; name another run with --run"
            )
    write_split(run, parts)


def _ridge_head(backbone: Weights, views: TrainingViews, classes: int) -> Weights:
    """A head for the untouched backbone: ridge regression to class scores, in closed form.

    Starting from it, the first steps do not tear the backbone apart to please a random head.
    """
    features, labels = _features({**backbone, **blank_head(classes)}, views)
    features = features.astype(np.float64)
    middle = features.mean(axis=0)
    centred = features - middle
    wanted = np.eye(classes)[labels]
    gram = centred.T @ centred
    ridge = 0.3 * np.trace(gram) / EMBEDDING
    slopes = np.linalg.solve(gram + ridge * np.eye(EMBEDDING), centred.T @ wanted)
    # Scores of 0..1 make timid logits; a factor of about 5 spreads them as cross entropy would.
    kernel = 5.0 * slopes
    bias = 5.0 * wanted.mean(axis=0) - middle @ kernel
    return {f"{HEAD}/kernel": kernel.astype(np.float32), f"{HEAD}/bias": bias.astype(np.float32)}


def _refitted_head(start: Weights, views: TrainingViews, classes: int) -> Weights:
    """The head of `start` fitted to the pictures as a bin is taught, pulled towards what it was.

    Small steps that spare the layers below would take hundreds of epochs to make a new class known
    (first the head, then all layers: Kumar et al. 2022, arXiv:2202.10054).
    """
    features, labels = _features(start, views)
    length = float(np.median(np.linalg.norm(features, axis=1)))
    prior = start[f"{HEAD}/kernel"] * length, start[f"{HEAD}/bias"]
    kernel, bias = solver.fit(unit(features), labels, prior, HEAD_STRENGTH)
    return {f"{HEAD}/kernel": kernel / np.float32(length), f"{HEAD}/bias": bias}


def _features(weights: Weights, views: TrainingViews) -> tuple[Array, Array]:
    """Embeddings float32 (2 m, 1280) and labels int64 (2 m,) of each picture's first and last view.

    One view on the plain background and one in a chamber, where there are chambers, say enough.
    """
    last = views.photographs.shape[1] - 1
    shown = np.concatenate([views.photographs[views.chosen, k] for k in (0, last)])
    return predict(weights, shown)[1], np.tile(views.labels, 2)
