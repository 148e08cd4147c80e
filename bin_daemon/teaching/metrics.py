"""What answers are worth: figures with standard errors that know which pictures belong together.

Logits float (n, k), truth int (n,) and groups int (n,), counted from 0, flow in; plain figures flow
out. Pictures of one thing are no independent witnesses, so errors are of groups, never of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bin_daemon.model.calibration import (
    Counts,
    Doubles,
    Real,
    accuracy,
    confusion,
    macro,
    per_class,
    resampled,
)

_REPLICATES = 500


def scores(logits: Real, truth: Counts, groups: Counts, labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, macro-F1, their standard errors, and the figures of each class that was shown."""
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


def gained(before: Real, after: Real, truth: Counts, groups: Counts) -> tuple[float, float]:
    """How much larger the share of right answers is after than before, and its standard error.

    Paired: of the differences, picture by picture.
    """
    right = [logits.argmax(axis=1) == truth for logits in (before, after)]
    change = right[1].astype(np.float64) - right[0]
    return float(change.mean()), clustered_se(change, groups)


def clustered_se(values: Doubles, groups: Counts) -> float:
    """Standard error of a mean of values that belong together in groups (Liang and Zeger 1986)."""
    sums = np.bincount(groups, values - values.mean())
    count = len(sums)
    return float(np.sqrt((sums**2).sum() * count / max(count - 1, 1)) / len(values))
