"""Temperature, thresholds and figures of a classifier from its logits: pure functions.

`logits` is float (n, classes), `truth` int (n,) of class indices. Numbers to trust probabilities by
flow out. The workshop fits what a package ships with them, teaching what a bin has learnt; nothing
is read or written here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bin_daemon.core.softmax import softmax

Floats = npt.NDArray[np.float32]
Real = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

Z = 1.0
"""Standard errors by which the bound lies below the share seen: one-sided, about 84 %."""
GRID = np.arange(0.30, 0.996, 0.005).round(3)
"""Thresholds that are tried; the last is taken where none is good enough."""
_REPLICATES = 500


def confusion(found: Counts, truth: Counts, classes: int) -> Counts:
    """Counts, int64 (classes, classes): rows are the truth, columns what was found."""
    return np.bincount(truth * classes + found, minlength=classes**2).reshape(classes, classes)


def accuracy(table: npt.NDArray[Any]) -> float:
    """Share of right answers of a confusion table."""
    return float(np.trace(table) / max(table.sum(), 1))


def per_class(table: npt.NDArray[Any]) -> dict[str, Doubles]:
    """Precision, recall and F1 of each class of a confusion table; 0 where undefined."""
    right = np.diag(table).astype(np.float64)
    precision = right / np.maximum(table.sum(axis=0), 1)
    recall = right / np.maximum(table.sum(axis=1), 1)
    f1 = 2 * right / np.maximum(table.sum(axis=0) + table.sum(axis=1), 1)
    return {"precision": precision, "recall": recall, "f1": f1}


def macro(figure: str, table: npt.NDArray[Any]) -> float:
    """Mean of "precision", "recall" or "f1" over the classes, each counting the same.

    A class without a picture in the table has no recall to speak of and is left out.
    """
    there = table.sum(axis=1) > 0
    return float(per_class(table)[figure][there].mean()) if there.any() else 0.0


def resampled(
    found: Counts, truth: Counts, groups: npt.NDArray[Any], classes: int, replicates: int
) -> Doubles:
    """Confusion tables of bootstrap draws, float64 (replicates, classes, classes).

    Pictures of one group show one thing and are no independent witnesses: groups are drawn, never
    pictures. The draws are the same every time. groups: (n,) of any names.
    """
    names, member = np.unique(groups, return_inverse=True)
    tables = np.zeros((len(names), classes * classes))
    np.add.at(tables, (member, truth * classes + found), 1)
    drawn = np.random.default_rng(0).integers(0, len(names), (replicates, len(names)))
    counts = np.stack([np.bincount(row, minlength=len(names)) for row in drawn])
    return np.asarray((counts @ tables).reshape(-1, classes, classes))


def scores(
    logits: Real, truth: Counts, groups: npt.NDArray[Any], labels: Sequence[str]
) -> dict[str, Any]:
    """Accuracy, macro-F1, their standard errors by group, and figures of each class in `truth`."""
    found = logits.argmax(axis=1)
    table = confusion(found, truth, len(labels))
    by_class = per_class(table)
    draws = resampled(found, truth, groups, len(labels), _REPLICATES)
    return {
        "accuracy": accuracy(table),
        "accuracy_se": float(np.std([accuracy(draw) for draw in draws])),
        "macro_f1": macro("f1", table),
        "macro_f1_se": float(np.std([macro("f1", draw) for draw in draws])),
        "classes": {
            labels[at]: {
                **{name: float(values[at]) for name, values in by_class.items()},
                "count": int(table[at].sum()),
            }
            for at in np.unique(truth)
        },
    }


def clustered_se(values: Real, groups: npt.NDArray[Any]) -> float:
    """Standard error of a mean of values that belong together in groups (Liang and Zeger 1986)."""
    sums = np.bincount(np.unique(groups, return_inverse=True)[1], values - values.mean())
    count = len(sums)
    return float(np.sqrt((sums**2).sum() * count / max(count - 1, 1)) / len(values))


def negative_log_likelihood(
    logits: Real, truth: Counts, temperature: float, doubt: float = 0.0
) -> float:
    """Mean negative log likelihood in nats; doubt: share that counts for the other classes."""
    logs = np.log(np.maximum(softmax(logits, temperature), 1e-12))
    chosen = logs[np.arange(len(truth)), truth]
    others = (logs.sum(axis=1) - chosen) / (logs.shape[1] - 1)
    return float(-((1 - doubt) * chosen + doubt * others).mean())


def fit_temperature(logits: Real, truth: Counts, doubt: float = 0.0) -> float:
    """The softmax temperature (0.2 to 5) of least negative log likelihood, Guo et al. 2017.

    doubt: few pictures may all be right, and then the likelihood sets no bound to how sure
    one may be. A doubt of 1 / (n + 2) sets one, as in Platt 1999. The loss is convex in
    1 / temperature, so a golden-section search finds the least; of no pictures it is 1.
    """
    if not len(truth):
        return 1.0
    golden = (math.sqrt(5.0) - 1.0) / 2.0
    low, high = math.log(0.2), math.log(5.0)
    while high - low > 1e-3:
        left, right = high - golden * (high - low), low + golden * (high - low)
        losses = [negative_log_likelihood(logits, truth, math.exp(x), doubt) for x in (left, right)]
        low, high = (low, right) if losses[0] <= losses[1] else (left, high)
    return math.exp((low + high) / 2.0)


def wilson_bounds(right: Real, of: Real, z: float = Z) -> tuple[Doubles, Doubles]:
    """Lower and upper bound of a share from `right` out of `of` (Wilson 1927); 0 to 1 for 0."""
    n = np.maximum(of, 1e-9)
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    spread = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - spread, middle + spread


def accepted(
    probability: Real, truth: Counts, thresholds: Real, residual: frozenset[int] = frozenset()
) -> tuple[Flags, Flags]:
    """Which pictures pass their class's threshold, and which are right; bool (n,) each.

    What is taken for one of the classes in `residual` goes where the unsure goes, so it is never
    among the accepted.
    """
    found = probability.argmax(axis=1)
    passed = probability.max(axis=1) >= thresholds[found]
    return passed & ~np.isin(found, list(residual)), found == truth


def fit_thresholds(
    probability: Real,
    truth: Counts,
    target: float,
    residual: frozenset[int] = frozenset(),
    weights: Real | None = None,
) -> Doubles:
    """Least confidence at which to trust each class, float64 (classes,).

    One threshold for all, and a higher one for a class that is shown to need it: thresholds that
    each class chose for itself were lucky ones more often than good ones. A class's own is the
    lowest from which on the upper Wilson bound of its share right reaches `target`; the common one
    is the lowest for which the lower bound, over all that is accepted, does.

    probability: float (n, classes), after the temperature. target: share that is to be right among
    the accepted. residual: classes that are never accepted; they take the common threshold.
    """
    found, sure = probability.argmax(axis=1), probability.max(axis=1)
    right = found == truth
    counts = np.ones(len(truth)) if weights is None else weights
    own = np.full(probability.shape[1], GRID[0])
    for label in set(found.tolist()) - residual:
        mine = found == label
        _, upper = wilson_bounds(*_above(sure[mine], right[mine], counts[mine]))
        own[label] = min(GRID[upper >= target], default=GRID[-1])
    kept = (sure >= own[found]) & ~np.isin(found, list(residual))
    lower, _ = wilson_bounds(*_above(sure[kept], right[kept], counts[kept]))
    return np.maximum(own, min(GRID[lower >= target], default=GRID[-1]))


@dataclass(frozen=True, slots=True)
class CrossFit:
    """What n pictures got from temperatures and thresholds that were fit to other ones.

    confidence: float64 (n,), of the top class. right, accepted: bool (n,).
    """

    confidence: Doubles
    right: Flags
    accepted: Flags


def cross_fit(
    logits: Real,
    truth: Counts,
    part: Counts,
    fitted: Callable[[Flags], tuple[float, Doubles]],
    residual: frozenset[int] = frozenset(),
) -> CrossFit:
    """Judge each part with the temperature and thresholds that were fit to all the other parts.

    part: int (n,); a group of pictures lies in one of them. fitted: gives temperature and
    thresholds of the pictures that a mask, bool (n,), chooses. residual: see `accepted`.
    """
    confidence = np.empty(len(truth))
    right, passed = np.empty(len(truth), bool), np.empty(len(truth), bool)
    for held in np.unique(part):
        mine = part == held
        temperature, thresholds = fitted(~mine)
        likely = softmax(logits[mine], temperature)
        confidence[mine] = likely.max(axis=1)
        passed[mine], right[mine] = accepted(likely, truth[mine], thresholds, residual)
    return CrossFit(confidence, right, passed)


def _above(sure: Real, right: Flags, weights: Real) -> tuple[Doubles, Doubles]:
    """The weight of the right pictures, and of all, from each threshold of the grid on."""
    order = np.argsort(sure)
    first = np.searchsorted(sure[order], GRID)

    def summed(each: Real) -> Doubles:
        return np.append(np.cumsum(each[order][::-1])[::-1], 0.0)[first]

    return summed(weights * right), summed(weights)
