"""What a training sees: which views it draws from, and in which order.

Pictures with their folds flow in; out flow batches of views with soft targets, each epoch's order
fixed by the recipe's seed. Views come from banks that all folds share; a fold takes from them only
what it may see.
"""

from __future__ import annotations

import functools
import queue
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bin_daemon.core.messages import Array
from export.data.pictures import Picture, label_indices
from export.recipes.schema import FoldedRecipe, FoldedTraining
from export.run import REPOSITORY, Run, relative
from export.views.augment import blend, jitter, starve
from export.views.renderings import Rendered, read_renderings
from export.views.view_cache import open_bank, photograph_views, rendered_views, unknown_views


@dataclass(frozen=True, slots=True)
class Material:
    """What a training draws from.

    photographs: uint8 (n, 1 + clean + chamber, s, s, 3) views of all photographs. chosen: int (m,),
    those this training may see. labels: int64 (m,) of them. clean: how many of the views are on the
    board, beside the first. unknown: (u, 1, s, s, 3), u may be 0. rendered: (r, v, s, s, 3) with
    rendered_labels int64 (r,), r may be 0.
    """

    photographs: Array
    chosen: Array
    labels: Array
    clean: int
    unknown: Array
    rendered: Array
    rendered_labels: Array


def learnable(pictures: Sequence[Picture]) -> Array:
    """Pictures to learn from, bool (n,): not those whose group is mostly of another class.

    Near-identical pictures with different labels teach noise; which of them is right is for a
    person to say. They are still measured on.
    """
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for picture in pictures:
        found[picture.group][picture.label] += 1
    main = {
        group: min(counts, key=lambda label: (-counts[label], label))
        for group, counts in found.items()
    }
    return np.array([picture.label == main[picture.group] for picture in pictures], bool)


def gather(
    run: Run,
    recipe: FoldedRecipe,
    data: Path,
    pictures: list[Picture],
    labels: Sequence[str],
    fold: int | None,
) -> Material:
    """Open the banks, which all folds share, and say what of them this fold may see."""
    plan = recipe.training
    banks = run.folder.parent / "banks"
    files = [picture.file for picture in pictures]
    make = functools.partial(photograph_views, data, files, plan.clean_views, plan.chamber_views)
    sizes = [[file, (data / file).stat().st_size] for file in files]
    facts = [relative(data), sizes, plan.clean_views, plan.chamber_views]
    photographs = open_bank(run, banks, data.name, facts, len(files), make)
    unknown = np.empty((0, 1, *photographs.shape[2:]), np.uint8)
    if plan.unknown_views:
        unknown = open_bank(
            run, banks, "unknown", plan.unknown_views, plan.unknown_views, unknown_views
        )
    rendered = np.empty((0, 1, *photographs.shape[2:]), np.uint8)
    items: list[Rendered] = []
    if plan.rendered is not None:
        studio = REPOSITORY / plan.rendered
        items = read_renderings(studio, labels)
        sizes = [[item.file, (studio / item.file).stat().st_size] for item in items]
        make = functools.partial(rendered_views, studio, items, plan.rendered_views)
        facts = [sizes, plan.rendered_views]
        rendered = open_bank(run, banks, "rendered", facts, len(items), make)
    seen = learnable(pictures) & np.array([picture.fold != fold for picture in pictures])
    return Material(
        photographs=photographs,
        chosen=np.flatnonzero(seen),
        labels=label_indices(pictures, labels)[seen],
        clean=plan.clean_views,
        unknown=unknown,
        rendered=rendered,
        rendered_labels=np.array([labels.index(item.label) for item in items], np.int64),
    )


def epoch_order(labels: Array, plan: FoldedTraining, epoch: int) -> Array:
    """Which pictures an epoch shows, shuffled: each once, those of rare classes more often.

    A class is repeated (largest count / its count) ** balance times on average.
    """
    rng = np.random.default_rng((plan.seed, epoch, 0))
    counts = np.bincount(labels)
    repeats = (counts.max() / np.maximum(counts, 1)) ** plan.balance
    times = np.floor(repeats[labels] + rng.random(len(labels))).astype(int)
    return rng.permutation(np.repeat(np.arange(len(labels)), times))


def _likely(labels: Array, balance: float) -> Array:
    """How likely each rendered item is drawn, float (r,): those of rare classes more often."""
    weights = np.bincount(labels)[labels].astype(float) ** -balance
    return weights / weights.sum() if len(weights) else weights


def batches(
    material: Material, classes: int, plan: FoldedTraining, epoch: int
) -> Iterator[tuple[Array, Array]]:
    """Batches of an epoch: uint8 (batch, size, size, 3), float32 targets (batch, classes).

    Each photograph of the epoch is shown on its board or in a chamber; a share of every batch more
    shows nothing of any class, with all classes equally right, and another share rendered items.
    """
    rng, dusk = (np.random.default_rng((plan.seed, epoch, part)) for part in (1, 2))
    order = epoch_order(material.labels, plan, epoch)
    flat = plan.label_smoothing / classes
    soft = np.eye(classes, dtype=np.float32) * (1.0 - plan.label_smoothing) + np.float32(flat)
    on_board, total = 1 + material.clean, material.photographs.shape[1]
    unknown = round(plan.batch * plan.unknown_share) if len(material.unknown) else 0
    rendered = round(plan.batch * plan.rendered_share) if len(material.rendered) else 0
    likely = _likely(material.rendered_labels, plan.balance)
    for first in range(0, len(order) - plan.batch + 1, plan.batch):
        members = order[first : first + plan.batch]
        view = rng.integers(0, on_board, plan.batch)
        if total > on_board:
            in_chamber = rng.random(plan.batch) < plan.chamber_share
            view = np.where(in_chamber, rng.integers(on_board, total, plan.batch), view)
        views = [
            material.photographs[material.chosen[i], k] for i, k in zip(members, view, strict=True)
        ]
        views += [material.unknown[i, 0] for i in rng.integers(0, len(material.unknown), unknown)]
        items = rng.choice(len(material.rendered), rendered, p=likely) if rendered else members[:0]
        view = rng.integers(0, material.rendered.shape[1], rendered)
        views += [material.rendered[i, k] for i, k in zip(items, view, strict=True)]
        targets = np.concatenate(
            [
                soft[material.labels[members]],
                np.full((unknown, classes), 1.0 / classes, np.float32),
                soft[material.rendered_labels[items]],
            ]
        )
        mixed = rng.permutation(len(views))
        pixels = np.stack([jitter(views[i], plan.size(epoch), rng) for i in mixed])
        for i in np.flatnonzero(dusk.random(len(pixels)) < plan.weak_light_share):
            pixels[i] = starve(pixels[i], dusk)
        yield blend(pixels, targets[mixed], plan.blend_share, rng)


def prefetch(batches: Iterator, depth: int = 4) -> Iterator:
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
