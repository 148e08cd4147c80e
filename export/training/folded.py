"""Train the folded network on views: photographs, drawn chambers, renderings, nothing.

Reads pictures and backbone; leaves in the run folder `weights.npz`, `float.npz` (scores of the
held-out pictures), and what `export.training.loop` leaves.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path

import numpy as np

from bin_daemon.core.messages import Array
from bin_daemon.model.head import unit
from bin_daemon.model.package import MODEL
from bin_daemon.teaching import solver
from bin_daemon.teaching.folder import listed
from export.errors import ExportError
from export.networks.mobilenet import (
    EMBEDDING,
    HEAD,
    SIZE,
    Weights,
    blank_head,
    predict,
    read_weights,
)
from export.networks.package_weights import Shipped, read_shipped
from export.recipes.schema import AnyRecipe, FoldedRecipe
from export.run import Run
from export.training.claim import Parts, claim_run, measure
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

    run: where everything is kept. recipe: what to train, and how. data: folder of
    `<class>/<picture>`. backbone: folded weights to start from, and to find near-duplicates with.
    fold: 0 to 4, or None to learn from every picture; such a model has the figures of its folds.
    shipped: a package to start from instead of the backbone.

    Raises ExportError where inputs are missing or unfit, or the run folder holds another training.
    """
    started = time.monotonic()
    if shipped is None and not backbone.is_file():
        raise ExportError(
            f"{backbone}: no such weights file; `python -m export backbone` makes it of Keras's "
            f"ImageNet weights"
        )
    parts, labels = claim(run, recipe, data, backbone, fold, shipped)
    if run.path("weights.npz").is_file():
        run.log("train: weights.npz is there already; only the held-out part is measured again")
        trained = read_weights(run.path("weights.npz"))
    else:
        # The cached views of all folds are in the order of the files.
        pictures = sorted([*parts["train"], *parts["held_out"]], key=lambda picture: picture.file)
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
    measure(run, data, parts["held_out"], labels, SIZE, functools.partial(predict, trained))


def finetune(
    run: Run, recipe: AnyRecipe, folder: Path, start: Path, backbone: Path, fold: int | None
) -> None:
    """`train` on crops that bins have kept and people have labelled, starting from a package.

    `folder` is what `bin-daemon samples export` wrote, `start` the folder of the package. Whole
    pictures are refused: a bin shows its network crops.

    Raises ExportError where the recipe is of another kind, the folder is no export, or `train`
    raises it; UsageError where the tables of the folder do not fit its pictures; ModelError where
    `start` is no package.
    """
    if not isinstance(recipe, FoldedRecipe):
        raise ExportError(
            f"recipe {recipe.name}: trains a network of kind '{recipe.network.kind}'; "
            f"--finetune-from goes on with a package of kind 'folded'"
        )
    if whole := [one.path for one in listed(folder) if not one.cropped]:
        raise ExportError(
            f"{folder}: {whole[0].relative_to(folder)} is no crop of a bin ({len(whole)} such "
            f"pictures). `bin-daemon teach --from` with an empty view cuts whole pictures and "
            f"keeps the crops, which `samples export` then writes. What was kept without a view "
            f"is taken out by `samples delete ID...`; ids are the names of the exported files"
        )
    train(run, recipe, folder, backbone, fold, read_shipped(start))


def claim(
    run: Run,
    recipe: FoldedRecipe,
    data: Path,
    backbone: Path,
    fold: int | None,
    shipped: Shipped | None = None,
) -> tuple[Parts, tuple[str, ...]]:
    """`claim_run` with the arguments of `train`: the pictures by part, and the labels."""
    learnt = "all folds" if fold is None else f"folds other than {fold}, by group"
    start, licences = {}, {"backbone": "Apache-2.0"}
    if shipped is not None:
        package = shipped.package
        sha256 = package.manifest.files[MODEL].sha256
        start = {"start": f"{package.id}, model.tflite sha256 {sha256}"}
        for name, words in package.manifest.licences.items():
            licences[f"{name} of {package.id}"] = words
    provenance = {
        "data": f"{recipe.data.title}, {learnt}",
        "backbone": "MobileNetV2 1.0/224, ImageNet (TF-slim checkpoint), batch norm folded",
        **start,
    }
    if recipe.training.rendered:
        provenance["rendered"] = (
            "items and chambers drawn by export/rendering/studio, for training only"
        )
    licences |= {"data": recipe.data.licence, "weights": recipe.weights_licence}
    about = {"size": SIZE, "provenance": provenance, "licences": licences}
    parts, labels = claim_run(run, recipe, data, fold, backbone, about, start=start)
    if shipped is not None:
        new = [label for label in labels if label not in package.labels]
        gone = [label for label in package.labels if label not in labels]
        run.log(
            f"train: starts from {package.id}; new classes: {', '.join(new) or 'none'}; without "
            f"pictures, so the model will not know them: {', '.join(gone) or 'none'}"
        )
    return parts, labels


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
