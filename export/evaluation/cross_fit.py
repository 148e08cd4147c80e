"""What temperature and thresholds are worth on pictures that took no part in their fit.

Logits, truth and the part each picture belongs to flow in, cross-fitted judgements flow out. The
fits are `bin_daemon.model.calibration`, the same that a bin uses for what it is taught.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bin_daemon.core.messages import Array
from bin_daemon.model import calibration
from bin_daemon.model.calibration import CrossFit, fit_temperature, fit_thresholds, softmax


def cross_fit(
    logits: Array,
    truth: Array,
    part: Array,
    target: float,
    residual: frozenset[int] = frozenset(),
) -> CrossFit:
    """Judge each part with temperature and thresholds that were fit on all the other parts.

    Args:
        logits: float (n, classes). truth: int (n,).
        part: int (n,) of at least two parts; a group of pictures lies in one of them.
        target, residual: as in `fit_thresholds`.
    """

    def fitted(some: Array) -> tuple[float, Array]:
        temperature = fit_temperature(logits[some], truth[some])
        learnt = softmax(logits[some], temperature)
        return temperature, fit_thresholds(learnt, truth[some], target, residual)

    return calibration.cross_fit(logits, truth, part, fitted, residual)


def halves(groups: Array, order: Callable[[str], bytes]) -> Array:
    """Split groups in two by the last bit of their hash; int64 (n,) of 0 and 1.

    Where all groups fall into one half, the first picture's group becomes the other.
    """
    half = np.array([order(str(group))[-1] & 1 for group in groups], np.int64)
    if len(groups) and half.min() == half.max():
        half = (groups == groups[0]).astype(np.int64)
    return half
