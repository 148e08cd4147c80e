"""What temperature and thresholds are worth on pictures that took no part in their fit.

Logits, truth and the part each picture belongs to flow in, cross-fitted judgements flow out. The
fits are `bin_daemon.calibration`, the same that a bin uses for what it is taught.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bin_daemon.calibration import accepted, fit_temperature, fit_thresholds, probabilities


@dataclass(frozen=True, slots=True)
class CrossFit:
    """What n pictures got from temperatures and thresholds fit on other parts.

    confidence: float64 (n,), of the top class. right, accepted: bool (n,).
    """

    confidence: np.ndarray
    right: np.ndarray
    accepted: np.ndarray


def cross_fit(
    logits: np.ndarray,
    truth: np.ndarray,
    part: np.ndarray,
    target: float,
    residual: frozenset[int] = frozenset(),
) -> CrossFit:
    """Judge each part with temperature and thresholds that were fit on all the other parts.

    Args:
        logits: float (n, classes). truth: int (n,).
        part: int (n,) of at least two parts; a group of pictures lies in one of them.
        target, residual: as in `fit_thresholds`.
    """
    confidence = np.empty(len(truth))
    right, passed = np.empty(len(truth), bool), np.empty(len(truth), bool)
    for held in np.unique(part):
        mine, others = part == held, part != held
        temperature = fit_temperature(logits[others], truth[others])
        learnt = probabilities(logits[others], temperature)
        thresholds = fit_thresholds(learnt, truth[others], target, residual)
        judged = probabilities(logits[mine], temperature)
        confidence[mine] = judged.max(axis=1)
        passed[mine], right[mine] = accepted(judged, truth[mine], thresholds, residual)
    return CrossFit(confidence, right, passed)


def halves(groups: np.ndarray, order: Callable[[str], bytes]) -> np.ndarray:
    """Split groups in two by the last bit of their hash; int64 (n,) of 0 and 1.

    Where all groups fall into one half, the first picture's group becomes the other.
    """
    half = np.array([order(str(group))[-1] & 1 for group in groups], np.int64)
    if len(groups) and half.min() == half.max():
        half = (groups == groups[0]).astype(np.int64)
    return half
