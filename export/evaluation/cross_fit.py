"""Fit temperature and thresholds, and tell what they are worth on pictures that took no part.

Logits, truth and the part each picture belongs to flow in; fits and cross-fitted judgements flow
out. The arithmetic is that of `bin_daemon.model.calibration`, by which a bin calibrates what it is
taught.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bin_daemon.core.messages import Array
from bin_daemon.model import calibration


def fit(
    logits: Array, truth: Array, target: float, residual: frozenset[int] = frozenset()
) -> tuple[float, Array]:
    """The temperature, and with it the threshold of each class, float64 (classes,).

    Args:
        logits: float (n, classes).
        truth: int (n,).
        target: share that is to be right among the accepted.
        residual: classes that are never accepted.
    """
    temperature = calibration.fit_temperature(logits, truth)
    probability = calibration.softmax(logits, temperature)
    return temperature, calibration.fit_thresholds(probability, truth, target, residual)


def cross_fit(
    logits: Array, truth: Array, part: Array, target: float, residual: frozenset[int] = frozenset()
) -> calibration.CrossFit:
    """Judge each part with what `fit` makes of all the other parts.

    part: int (n,) of at least two parts; a group of pictures lies in one of them. The rest is as
    `fit` takes it.
    """

    def fitted(others: Array) -> tuple[float, Array]:
        return fit(logits[others], truth[others], target, residual)

    return calibration.cross_fit(logits, truth, part, fitted, residual)


def halves(groups: Array, order: Callable[[str], bytes]) -> Array:
    """Split groups in two by the last bit of their hash; int64 (n,) of 0 and 1.

    Where all groups fall into one half, the first picture's group becomes the other.
    """
    half = np.array([order(str(group))[-1] & 1 for group in groups], np.int64)
    if len(groups) and half.min() == half.max():
        half = (groups == groups[0]).astype(np.int64)
    return half
