"""What every training begins and ends with, whatever its network.

A run folder is claimed for one training, and the pictures are dealt into parts. In the end, when
nothing is left to choose, the held-out ones are looked at once. Nothing here learns from a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.data.check import check_data
from export.data.pictures import (
    FOLDS,
    SPLIT,
    Picture,
    label_indices,
    labels_of,
    load_squares,
    read_split,
    split,
    write_split,
)
from export.errors import ExportError
from export.networks.mobilenet import embedding_at_hand
from export.recipes.load import settings
from export.recipes.schema import AnyRecipe, KerasRecipe
from export.run import Run, claimed, relative, versions

Parts = dict[str, list[Picture]]


def claim_run(
    run: Run,
    recipe: AnyRecipe,
    data: Path,
    fold: int | None,
    backbone: Path,
    about: Mapping[str, Any],
    *,
    start: Mapping[str, str] | None = None,
    shares: Sequence[float] | None = None,
) -> tuple[Parts, tuple[str, ...]]:
    """Make the run folder and say in it what is trained, or check that it says the same.

    run: where everything is kept. recipe: what to train, and how. data: folder of
    `<class>/<picture>`. fold: the one that is held out; None holds out nothing. backbone: folded
    weights to find near-duplicates with, where they are at hand. about: what else `config.json`
    says, which decides nothing. start: what the training starts from, where that is not the
    recipe's choice. shares: of the pictures for each part; None deals into folds.

    Returns the pictures by part, and the labels. Raises ExportError where the pictures are unfit,
    or the run folder holds another training.
    """
    run.create()
    asked: dict[str, Any] = {
        "settings": {**settings(recipe), **(start or {})},
        "data": relative(data),
        "fold": fold,
        **({"labels": list(recipe.labels)} if recipe.labels else {}),
    }
    # Before the report on the pictures of another training is overwritten.
    known = claimed(run, asked)
    if known and isinstance(recipe, KerasRecipe):  # whose pictures are read by the split alone
        run.write_json("config.json", {**known, **recipe.of_package()})
        return read_split(run), tuple(known["labels"])
    count, embed = FOLDS if shares is None else sum(map(bool, shares)), embedding_at_hand(backbone)
    pictures = check_data(run, data, recipe.labels, parts=count, embed=embed)
    labels = recipe.labels or labels_of(pictures)
    asked["labels"] = list(labels)
    if claimed(run, asked) is None:
        run.write_json("versions.json", versions())
    if shares is not None:
        parts = split(pictures, shares)
    else:
        learnt = [picture for picture in pictures if picture.fold != fold]
        held_out = [picture for picture in pictures if picture.fold == fold]
        parts = {"train": learnt, "validation": [], "held_out": held_out}
    if run.path(SPLIT).is_file() and _files(read_split(run)) != _files(parts):
        raise ExportError(
            f"{run.folder}: the pictures or their groups have changed since its training began; "
            f"name another run with --run"
        )
    write_split(run, parts)
    also = {**recipe.of_package(), "recipe": recipe.name, "kind": recipe.network.kind}
    run.write_json("config.json", {**asked, **also, **about})
    counts = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
    run.log(f"train: {recipe.name}: {counts}")
    return parts, labels


def _files(parts: Parts) -> dict[str, list[str]]:
    return {part: [picture.file for picture in pictures] for part, pictures in parts.items()}


def measure(
    run: Run,
    data: Path,
    held_out: Sequence[Picture],
    labels: Sequence[str],
    size: int,
    answer: Callable[[Array], Sequence[Array]],
) -> None:
    """Write `float.npz` (logits, embedding, truth) of the held-out pictures; log the accuracy.

    run: where it is kept. data: folder of the pictures. held_out: the pictures; where there are
    none, nothing is measured. labels: the classes in the order of the logits. size: side of the
    network's input in pixels. answer: uint8 (n, size, size, 3) to logits (n, classes) and
    embeddings (n, d).
    """
    if not held_out:
        run.log("train: nothing is held out, so nothing is measured")
        return
    logits, embedding = answer(load_squares(data, [one.file for one in held_out], size))
    truth = label_indices(held_out, labels)
    run.write_arrays("float.npz", logits=logits, embedding=embedding, truth=truth)
    run.log(f"train: float accuracy on the held-out part {np.mean(logits.argmax(1) == truth):.4f}")
