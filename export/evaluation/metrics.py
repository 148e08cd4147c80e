"""Figures of a classifier that only the workshop needs: pure functions on numpy arrays.

`right` says bool (n,) which pictures were judged rightly, `confidence` float (n,) how surely. What
a bin computes too is in `bin_daemon.model.calibration`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bin_daemon.core.messages import Array

BINS = 15
"""Bins of the expected calibration error, as in Guo et al. 2017, arXiv:1706.04599."""
REPLICATES = 2000  # bootstrap draws behind an interval
DIGITS = 5  # decimals that figures are kept with
CURVE_POINTS = 80  # of a curve that are kept for drawing; areas are of the whole curve


def interval(figure: Callable[[Array], float], tables: Array) -> tuple[float, float]:
    """95 % bootstrap interval (percentile method) of a figure over `resampled` tables."""
    low, high = np.percentile([figure(table) for table in tables], (2.5, 97.5))
    return float(low), float(high)


def reliability(confidence: Array, right: Array) -> list[tuple[float, float, int]]:
    """Mean confidence, share right and count of each filled bin of equal width."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        (float(confidence[mine].mean()), float(right[mine].mean()), int(mine.sum()))
        for mine in (bins == b for b in np.unique(bins))
    ]


def calibration_error(confidence: Array, right: Array) -> float:
    """Expected calibration error of the top class, 15 bins of equal width (Guo et al. 2017)."""
    rows = reliability(confidence, right)
    return sum(count * abs(sure - share) for sure, share, count in rows) / len(confidence)


def roc(score: Array, positive: Array) -> tuple[Array, Array]:
    """Receiver operating characteristic: false and true positive rates, from (0, 0) to (1, 1).

    One point for each score that occurs, so that ties become slanted lines. Takes float (n,),
    higher for more likely positive, and bool (n,), of which some are true and some are not.
    """
    _, taken, hits = _as_threshold_falls(score, positive)
    true_rate = np.append(0.0, hits / positive.sum())
    false_rate = np.append(0.0, (taken - hits) / (~positive).sum())
    return false_rate, true_rate


def area_under(x: Array, y: Array) -> float:
    """Area under a curve by trapezia; of a ROC curve that is the Mann-Whitney statistic."""
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2.0))


def coverage_precision(confidence: Array, right: Array) -> tuple[Array, Array, Array]:
    """Falling thresholds, share accepted, share right among the accepted; float64 (m,) each."""
    thresholds, taken, hits = _as_threshold_falls(confidence, right)
    return thresholds, taken / len(confidence), hits / taken


def _as_threshold_falls(score: Array, right: Array) -> tuple[Array, Array, Array]:
    """Each score that occurs, falling; how many reach it; and how many of those are right."""
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    taken = np.flatnonzero(last_of_tie) + 1
    return score[order][last_of_tie], taken, np.cumsum(right[order])[last_of_tie]


def thinned(*columns: Array) -> list[list[float]]:
    """At most `CURVE_POINTS` rows of a curve, its first and last among them, rounded."""
    length = len(columns[0])
    kept = np.unique(np.linspace(0, length - 1, min(length, CURVE_POINTS)).round().astype(int))
    return [[round(float(column[i]), 4) for column in columns] for i in kept]
