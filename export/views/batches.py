"""What a training sees: which views it draws from, and in which order.

Pictures with their folds flow in; out flow batches of views with soft targets, each epoch's order
fixed by the recipe's seed. All folds share the cached views; a fold takes only what it may see.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.data.pictures import Picture, label_indices, main_labels
from export.recipes.schema import FoldedRecipe, FoldedTraining
from export.run import REPOSITORY, Run, relative
from export.views.augment import blend, in_weak_light, jitter
from export.views.renderings import Rendered, read_renderings
from export.views.view_cache import cached_views, photograph_views, rendered_views, unknown_views

CACHE = "banks"  # the folder of cached views, beside the runs
Batch = tuple[Array, Array]
"""Pixels uint8 (batch, size, size, 3), targets float32 (batch, classes)."""


@dataclass(frozen=True, slots=True)
class TrainingViews:
    """What a training draws from; `s` is the side of a view, 224."""

    photographs: Array  # uint8 (n, 1 + clean + chamber, s, s, 3), of all photographs
    chosen: Array  # int (m,): the photographs that this training may see
    labels: Array  # int64 (m,): their classes
    clean: int  # how many views show the whole photograph, beside the first
    unknown: Array  # uint8 (u, 1, s, s, 3), out of distribution; u may be 0
    rendered: Array  # uint8 (r, v, s, s, 3); r may be 0
    rendered_labels: Array  # int64 (r,)


def learnable(pictures: Sequence[Picture]) -> Array:
    """Pictures to learn from, bool (n,): not those whose group is mostly of another class.

    Near-identical pictures with different labels teach noise; which of them is right is for a
    person to say. They are still measured on.
    """
    main = main_labels((picture.group, picture.label) for picture in pictures)
    return np.array([picture.label == main[picture.group][0] for picture in pictures], bool)


def gather(
    run: Run,
    recipe: FoldedRecipe,
    data: Path,
    pictures: list[Picture],
    labels: Sequence[str],
    fold: int | None,
) -> TrainingViews:
    """Open the views, which all folds share, and say what of them this fold may see."""
    plan = recipe.training
    cached = functools.partial(cached_views, run, run.folder.parent / CACHE)
    files, counts = [picture.file for picture in pictures], (plan.clean_views, plan.chamber_views)
    make = functools.partial(photograph_views, data, files, *counts)
    photographs = cached(
        data.name, [relative(data), _sizes(data, files), *counts], len(files), make
    )
    unknown = rendered = np.empty((0, 1, *photographs.shape[2:]), np.uint8)
    if count := plan.unknown_views:
        unknown = cached("unknown", count, count, unknown_views)
    items: list[Rendered] = []
    if plan.rendered is not None:
        studio = REPOSITORY / plan.rendered
        items = read_renderings(studio, labels)
        make = functools.partial(rendered_views, studio, items, plan.rendered_views)
        facts = [_sizes(studio, [item.file for item in items]), plan.rendered_views]
        rendered = cached("rendered", facts, len(items), make)
    seen = learnable(pictures) & np.array([picture.fold != fold for picture in pictures])
    return TrainingViews(
        photographs=photographs,
        chosen=np.flatnonzero(seen),
        labels=label_indices(pictures, labels)[seen],
        clean=plan.clean_views,
        unknown=unknown,
        rendered=rendered,
        rendered_labels=np.array([labels.index(item.label) for item in items], np.int64),
    )


def _sizes(folder: Path, files: Sequence[str]) -> list[list[Any]]:
    return [[file, (folder / file).stat().st_size] for file in files]


def epoch_order(labels: Array, plan: FoldedTraining, epoch: int) -> Array:
    """Which pictures an epoch shows, shuffled: each once, those of rare classes more often.

    A class is repeated (largest count / its count) ** balance times on average.
    """
    rng = np.random.default_rng((plan.seed, epoch, 0))
    counts = np.bincount(labels)
    repeats = (counts.max() / np.maximum(counts, 1)) ** plan.balance
    times = np.floor(repeats[labels] + rng.random(len(labels))).astype(int)
    return rng.permutation(np.repeat(np.arange(len(labels)), times))


def batches(
    views: TrainingViews, classes: int, plan: FoldedTraining, epoch: int
) -> Iterator[Batch]:
    """Batches of an epoch.

    Each photograph of the epoch is shown as a whole or in a chamber; a share of every batch more
    is out of distribution, with all classes equally right, and another share rendered items.
    """
    rng, weak_light_rng = (np.random.default_rng((plan.seed, epoch, part)) for part in (1, 2))
    order = epoch_order(views.labels, plan, epoch)
    flat = plan.label_smoothing / classes
    soft = np.eye(classes, dtype=np.float32) * (1.0 - plan.label_smoothing) + np.float32(flat)
    unknown = round(plan.batch * plan.unknown_share) if len(views.unknown) else 0
    rendered = round(plan.batch * plan.rendered_share) if len(views.rendered) else 0
    # Rendered items of rare classes are drawn more often, as photographs are.
    likely = (
        np.bincount(views.rendered_labels)[views.rendered_labels].astype(float) ** -plan.balance
    )
    likely /= likely.sum()
    for first in range(0, len(order) - plan.batch + 1, plan.batch):
        members = order[first : first + plan.batch]
        shown = _shown(views, members, plan.chamber_share, rng)
        shown += [views.unknown[i, 0] for i in rng.integers(0, len(views.unknown), unknown)]
        items = rng.choice(len(views.rendered), rendered, p=likely) if rendered else members[:0]
        which = rng.integers(0, views.rendered.shape[1], rendered)
        shown += [views.rendered[i, k] for i, k in zip(items, which, strict=True)]
        targets = np.concatenate(
            [
                soft[views.labels[members]],
                np.full((unknown, classes), 1.0 / classes, np.float32),
                soft[views.rendered_labels[items]],
            ]
        )
        mixed = rng.permutation(len(shown))
        pixels = np.stack([jitter(shown[i], plan.size(epoch), rng) for i in mixed])
        for i in np.flatnonzero(weak_light_rng.random(len(pixels)) < plan.weak_light_share):
            pixels[i] = in_weak_light(pixels[i], weak_light_rng)
        yield blend(pixels, targets[mixed], plan.blend_share, rng)


def _shown(
    views: TrainingViews, members: Array, chamber_share: float, rng: np.random.Generator
) -> list[Array]:
    """A view of each of these photographs, whole or, for a share of them, in a chamber."""
    whole, total = 1 + views.clean, views.photographs.shape[1]
    which = rng.integers(0, whole, len(members))
    if total > whole:
        in_chamber = rng.random(len(members)) < chamber_share
        which = np.where(in_chamber, rng.integers(whole, total, len(members)), which)
    return [views.photographs[views.chosen[i], k] for i, k in zip(members, which, strict=True)]


def prefetch(batches: Iterator[Batch], depth: int = 4) -> Iterator[Batch]:
    """Make batches in a thread of their own while TensorFlow works on the one before."""
    with ThreadPoolExecutor(1, "batches") as thread:
        ready = deque(thread.submit(next, batches, None) for _ in range(depth))
        while (batch := ready.popleft().result()) is not None:
            ready.append(thread.submit(next, batches, None))
            yield batch
