"""What a training sees: which views it draws from, and in which order.

Pictures with their folds flow in; out flow batches of views with soft targets, each epoch's order
fixed by the recipe's seed. Views come from banks that all folds share; a fold takes from them only
what it may see.
"""

from __future__ import annotations

import functools
import hashlib
import queue
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .augment import blend
from .bank import Stem, open_bank, photograph_views, unknown_views
from .data import Picture, label_indices
from .network import Weights
from .recipe import FoldedRecipe, FoldedTraining
from .runs import Run, relative


@dataclass(frozen=True, slots=True)
class Material:
    """What a training draws from.

    photographs: (n, 1 + clean + chamber, ...) views. labels: int64 (n,) of them. clean: how many
    of the views are on the board. rendered: (m, views, ...) and their labels, m may be 0.
    unknown: (u, 1, ...), u may be 0.
    """

    photographs: np.ndarray
    labels: np.ndarray
    clean: int
    rendered: np.ndarray
    rendered_labels: np.ndarray
    unknown: np.ndarray


def learnable(pictures: Sequence[Picture]) -> np.ndarray:
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
    weights: Weights,
    fold: int | None,
) -> Material:
    """Open the banks, which all folds share, and take from them what this fold may see."""
    plan = recipe.training
    stem = Stem(weights, plan.frozen_blocks)
    banks = run.folder.parent / "banks"
    files = [picture.file for picture in pictures]
    clear = [picture.label in plan.clear for picture in pictures]
    make = functools.partial(
        photograph_views, data, files, clear, plan.clean_views, plan.chamber_views
    )
    facts = [
        relative(data),
        [[file, (data / file).stat().st_size] for file in files],
        plan.clean_views,
        plan.chamber_views,
        list(plan.clear),
        _fingerprint(weights) if plan.frozen_blocks else "",
    ]
    photographs = open_bank(run, banks, data.name, facts, len(files), make, stem)
    unknown = np.empty((0, 1, *photographs.shape[2:]), photographs.dtype)
    if plan.unknown_views:
        unknown = open_bank(
            run, banks, "unknown", [plan.unknown_views, facts[-1]], plan.unknown_views,
            unknown_views, stem,
        )  # fmt: skip
    seen = learnable(pictures) & np.array([picture.fold != fold for picture in pictures])
    return Material(
        # Drawing at random from a file would wait for the disk; a bank fits the memory of a PC.
        photographs=photographs[np.flatnonzero(seen)],
        labels=label_indices(pictures, labels)[seen],
        clean=plan.clean_views,
        rendered=unknown[:0],
        rendered_labels=np.empty(0, np.int64),
        unknown=unknown,
    )


def _fingerprint(weights: Weights) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(weights[name].tobytes())
    return digest.hexdigest()[:16]


def epoch_order(labels: np.ndarray, plan: FoldedTraining, epoch: int) -> np.ndarray:
    """Which pictures an epoch shows, shuffled: each once, those of rare classes more often.

    A class is repeated (largest count / its count) ** balance times on average.
    """
    rng = np.random.default_rng((plan.seed, epoch, 0))
    counts = np.bincount(labels)
    repeats = (counts.max() / np.maximum(counts, 1)) ** plan.balance
    times = np.floor(repeats[labels] + rng.random(len(labels))).astype(int)
    return rng.permutation(np.repeat(np.arange(len(labels)), times))


def batches(
    material: Material, classes: int, plan: FoldedTraining, epoch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of an epoch: views (batch, ...) and float32 targets (batch, classes).

    Each photograph of the epoch is shown on its board or in a chamber; a share of every batch more
    is rendered, and a share shows nothing of any class, with all classes equally right.
    """
    rng = np.random.default_rng((plan.seed, epoch, 1))
    order = epoch_order(material.labels, plan, epoch)
    flat = plan.label_smoothing / classes
    soft = np.eye(classes, dtype=np.float32) * (1.0 - plan.label_smoothing) + np.float32(flat)
    total = material.photographs.shape[1]
    rendered = round(plan.batch * plan.rendered_share) if len(material.rendered) else 0
    unknown = round(plan.batch * plan.unknown_share) if len(material.unknown) else 0
    rare = _evenly(material.rendered_labels)
    for first in range(0, len(order) - plan.batch + 1, plan.batch):
        chosen = order[first : first + plan.batch]
        in_chamber = rng.random(plan.batch) < plan.chamber_share
        view = rng.integers(0, 1 + material.clean, plan.batch)
        if total > 1 + material.clean:
            view = np.where(in_chamber, rng.integers(1 + material.clean, total, plan.batch), view)
        views = [material.photographs[chosen, view]]
        targets = [soft[material.labels[chosen]]]
        if rendered:
            picked = rng.choice(len(material.rendered), rendered, p=rare)
            views.append(
                material.rendered[picked, rng.integers(0, material.rendered.shape[1], rendered)]
            )
            targets.append(soft[material.rendered_labels[picked]])
        if unknown:
            views.append(material.unknown[rng.integers(0, len(material.unknown), unknown), 0])
            targets.append(np.full((unknown, classes), 1.0 / classes, np.float32))
        mixed = rng.permutation(plan.batch + rendered + unknown)
        yield blend(
            np.concatenate(views)[mixed], np.concatenate(targets)[mixed], plan.blend_share, rng
        )


def _evenly(labels: np.ndarray) -> np.ndarray:
    """Chances, float64 (n,), with which every class is drawn equally often."""
    counts = np.bincount(labels) if len(labels) else np.ones(1)
    chances = 1.0 / counts[labels]
    return chances / max(float(chances.sum()), 1e-12)


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
