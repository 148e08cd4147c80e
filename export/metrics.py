"""Figures of a classifier from its logits: pure functions on numpy arrays.

`logits` is float (n, classes), `truth` int (n,) of class indices, `groups` any (n,) of group ids.
Pictures of one group show one object, so intervals resample groups, never pictures.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

BINS = 15
"""Bins of the expected calibration error, as in Guo et al. 2017, arXiv:1706.04599."""
REPLICATES = 2000


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Softmax of logits over a temperature, float64 (n, classes)."""
    scaled = logits.astype(np.float64) / temperature
    exponents = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def confusion(found: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Counts, int64 (classes, classes): rows are the truth, columns what was found."""
    return np.bincount(truth * classes + found, minlength=classes**2).reshape(classes, classes)


def accuracy(table: np.ndarray) -> float:
    """Share of right answers of a confusion table."""
    return float(np.trace(table) / max(table.sum(), 1))


def per_class(table: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1 of each class of a confusion table; 0 where undefined."""
    right = np.diag(table).astype(np.float64)
    precision = right / np.maximum(table.sum(axis=0), 1)
    recall = right / np.maximum(table.sum(axis=1), 1)
    f1 = 2 * right / np.maximum(table.sum(axis=0) + table.sum(axis=1), 1)
    return {"precision": precision, "recall": recall, "f1": f1}


def macro_f1(table: np.ndarray) -> float:
    """Mean of the classes' F1, each class counting the same."""
    return float(per_class(table)["f1"].mean())


def interval(
    figure: Callable[[np.ndarray], float],
    found: np.ndarray,
    truth: np.ndarray,
    groups: np.ndarray,
    classes: int,
) -> tuple[float, float]:
    """95 % bootstrap interval (percentile method) of a figure of the confusion table, by group."""
    ids, member = np.unique(groups, return_inverse=True)
    tables = np.zeros((len(ids), classes, classes))
    np.add.at(tables, (member, truth, found), 1)
    rng = np.random.default_rng(0)
    drawn = [
        figure(tables[rng.integers(0, len(ids), len(ids))].sum(axis=0)) for _ in range(REPLICATES)
    ]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def negative_log_likelihood(logits: np.ndarray, truth: np.ndarray, temperature: float) -> float:
    """Mean negative log likelihood in nats."""
    chosen = probabilities(logits, temperature)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The softmax temperature (0.2 to 5) of least negative log likelihood, Guo et al. 2017."""
    candidates = np.geomspace(0.2, 5.0, 400)
    losses = [negative_log_likelihood(logits, truth, value) for value in candidates]
    return float(candidates[int(np.argmin(losses))])


def reliability(confidence: np.ndarray, right: np.ndarray) -> list[tuple[float, float, int]]:
    """Mean confidence, share right and count of each filled bin of equal width."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    members = [bins == b for b in range(BINS)]
    return [
        (float(confidence[mine].mean()), float(right[mine].mean()), int(mine.sum()))
        for mine in members
        if mine.any()
    ]


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error of the top class, 15 bins of equal width (Guo et al. 2017)."""
    rows = reliability(confidence, right)
    return sum(count * abs(sure - share) for sure, share, count in rows) / len(confidence)


def fit_thresholds(
    probability: np.ndarray, truth: np.ndarray, target: float, weight: float = 50.0
) -> np.ndarray:
    """Least confidence at which to trust each class, float64 (classes,).

    For all classes together, and for each class, take the lowest threshold from which on at least
    `target` of what is accepted is right. A class of few pictures says little about its own
    threshold, so each is drawn towards the common one as if that stood for `weight` pictures.
    """
    found, sure = probability.argmax(axis=1), probability.max(axis=1)
    right = found == truth
    common = _lowest_threshold(sure, right, target)
    thresholds = []
    for label in range(probability.shape[1]):
        mine = found == label
        own = _lowest_threshold(sure[mine], right[mine], target) if mine.any() else common
        thresholds.append((mine.sum() * own + weight * common) / (mine.sum() + weight))
    return np.round(np.array(thresholds), 3)


def _lowest_threshold(sure: np.ndarray, right: np.ndarray, target: float) -> float:
    for threshold in np.arange(0.30, 0.96, 0.01):
        passed = sure >= threshold
        # The lowest of many thresholds that happens to pass is a lucky one: one mistake more than
        # was seen is counted against it.
        if right[passed].sum() >= target * (passed.sum() + 1):
            return float(threshold)
    return 0.95


def accepted(
    probability: np.ndarray, truth: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which pictures pass their class's threshold, and which are right; bool (n,) each."""
    found = probability.argmax(axis=1)
    return probability.max(axis=1) >= thresholds[found], found == truth


def halves(groups: np.ndarray, order: Callable[[str], bytes]) -> np.ndarray:
    """Split groups in two by the last bit of their hash; bool (n,), true in the second half."""
    return np.array([bool(order(str(group))[-1] & 1) for group in groups])
