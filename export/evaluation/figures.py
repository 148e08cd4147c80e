"""All figures of one set of held-out pictures, as plain data for JSON.

Logits, truth and groups flow in; a block of figures flows out that report, card, gate and manifest
quote. A single held-out part and several folds taken together are measured by the same function.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bin_daemon.core.messages import Array
from bin_daemon.model.calibration import fit_temperature, fit_thresholds
from export.evaluation import cross_fit, metrics


def block(
    labels: Sequence[str],
    logits: Array,
    float_logits: Array | None,
    truth: Array,
    groups: Array,
    part: Array,
    *,
    data: str,
    method: str,
    target: float,
    residual: Sequence[str] = (),
) -> dict:
    """Measure int8 logits, and float logits beside them where there are any.

    Args:
        labels: the classes.
        logits: float (n, classes) of the int8 file; float_logits the same of the float network.
        truth: int (n,).
        groups: (n,), pictures of one object share one.
        part: int (n,), the parts between which temperature and thresholds are cross-fitted.
        data: what the pictures are, in words.
        method: what the parts are, in words.
        target: share that is to be right among the accepted.
        residual: labels that are never accepted, because they go where the unsure goes.

    Returns:
        data, pictures, groups; int8 and float (accuracy, macro averages and per_class with
        intervals, confusion); calibration (temperature and thresholds fit on all pictures, and
        figures cross-fitted); roc and coverage_precision, as points for drawing.
    """
    calibrated = _calibration(labels, logits, truth, part, method, target, residual)
    probability = metrics.softmax(logits, calibrated["temperature"])
    return {
        "data": data,
        "pictures": len(truth),
        "groups": len(set(groups.tolist())),
        "int8": figures(logits, truth, groups, labels),
        "float": None if float_logits is None else figures(float_logits, truth, groups, labels),
        "calibration": calibrated,
        "roc": _roc(probability, truth, labels),
    }


def figures(logits: Array, truth: Array, groups: Array, labels: Sequence[str]) -> dict:
    """Accuracy, macro averages and each class, with 95 % intervals by group, and the confusion."""
    classes = len(labels)
    found = logits.argmax(axis=1)
    table = metrics.confusion(found, truth, classes)
    drawn = metrics.resampled(found, truth, groups, classes)
    scores = metrics.per_class(table)
    recalls = np.array([metrics.per_class(one)["recall"] for one in drawn])
    low, high = np.percentile(recalls, (2.5, 97.5), axis=0)
    return {
        "accuracy": _round(metrics.accuracy(table)),
        "accuracy_interval": _rounded(metrics.interval(metrics.accuracy, drawn)),
        "macro_precision": _round(metrics.macro("precision", table)),
        "macro_recall": _round(metrics.macro("recall", table)),
        "macro_f1": _round(metrics.macro_f1(table)),
        "macro_f1_interval": _rounded(metrics.interval(metrics.macro_f1, drawn)),
        "per_class": {
            label: {
                "pictures": int(table[i].sum()),
                **{name: _round(values[i]) for name, values in scores.items()},
                "recall_interval": _rounded((low[i], high[i])),
            }
            for i, label in enumerate(labels)
        },
        "confusion": table.tolist(),
    }


def _calibration(
    labels: Sequence[str],
    logits: Array,
    truth: Array,
    part: Array,
    method: str,
    target: float,
    residual: Sequence[str],
) -> dict:
    """Temperature and thresholds to ship, and what they are worth where they were not fit.

    Both are fit on all pictures. Their figures are cross-fitted: each part is judged with what the
    other parts gave.
    """
    never = frozenset(labels.index(label) for label in residual)
    crossed = cross_fit.cross_fit(logits, truth, part, target, never)
    temperature = fit_temperature(logits, truth)
    fitted = metrics.softmax(logits, temperature)
    thresholds = fit_thresholds(fitted, truth, target, never)
    plain = metrics.softmax(logits)
    passed = crossed.accepted
    found = fitted.argmax(axis=1)
    counted = ~np.isin(found, list(never))
    curve = metrics.coverage_precision(
        np.where(counted, crossed.confidence, -1.0), crossed.right & counted
    )
    kept = curve[0] >= 0.0
    return {
        "temperature": _round(temperature),
        "thresholds": dict(zip(labels, thresholds.tolist(), strict=True)),
        "target_precision": target,
        "residual_labels": list(residual),
        "method": f"{method}; ECE of the top class, {metrics.BINS} bins of equal width",
        "ece": _round(metrics.calibration_error(crossed.confidence, crossed.right)),
        "ece_without_temperature": _round(
            metrics.calibration_error(plain.max(axis=1), plain.argmax(axis=1) == truth)
        ),
        "nll": _round(metrics.negative_log_likelihood(logits, truth, temperature)),
        "accepted": int(passed.sum()),
        "accepted_right": int(crossed.right[passed].sum()),
        "accepted_share": _round(passed.mean()),
        "accepted_precision": _round(crossed.right[passed].mean()) if passed.any() else None,
        "reliability": [
            [_round(sure), _round(share), count]
            for sure, share, count in metrics.reliability(crossed.confidence, crossed.right)
        ],
        "coverage_precision": metrics.thinned(*(column[kept] for column in curve)),
    }


def _roc(probability: Array, truth: Array, labels: Sequence[str]) -> dict:
    """One-vs-rest ROC of each class that has pictures and is not all there is; area and points."""
    curves = {}
    for i, label in enumerate(labels):
        positive = truth == i
        if positive.any() and not positive.all():
            false_rate, true_rate = metrics.roc(probability[:, i], positive)
            curves[label] = {
                "auc": _round(metrics.area_under(false_rate, true_rate)),
                "points": metrics.thinned(false_rate, true_rate),
            }
    areas = [curve["auc"] for curve in curves.values()]
    return {"per_class": curves, "macro_auc": _round(np.mean(areas)) if areas else None}


def _round(number: float) -> float:
    return round(float(number), metrics.DIGITS)


def _rounded(pair: Sequence[float]) -> list[float]:
    return [_round(number) for number in pair]
