"""All figures of one set of held-out pictures, as plain data for JSON.

Logits, truth and groups flow in; a block of figures flows out that report, card, gate and manifest
quote. A single held-out part and several folds taken together are measured by the same function.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from bin_daemon.core.softmax import softmax
from bin_daemon.model import calibration
from export.data.pictures import group_order
from export.evaluation import metrics


@dataclass(frozen=True, slots=True)
class Judged:
    """What a model said of n pictures whose class is known."""

    labels: Sequence[str]
    logits: Array  # float (n, classes), of the int8 file
    float_logits: Array | None  # the same of the float network, where there is one
    truth: Array  # int (n,)
    groups: Array  # (n,); pictures of one object share one
    part: Array  # int (n,); temperature and thresholds are cross-fitted between parts


def block(
    judged: Judged, *, data: str, method: str, target: float, residual: Sequence[str] = ()
) -> dict[str, Any]:
    """Measure int8 logits, and float logits beside them where there are any.

    `data` says what the pictures are, `method` what the parts; `target` is the share that is to be
    right among the accepted; `residual` labels go where the unsure goes and are never accepted.

    Returns `data`, `pictures`, `groups`; `int8` and `float` (accuracy, macro averages and per_class
    with intervals, confusion); `calibration` (temperature and thresholds fit on all pictures, and
    figures cross-fitted); `roc` and `coverage_precision`, as points for drawing.
    """
    truth, groups, labels = judged.truth, judged.groups, judged.labels
    calibrated = _calibration(judged, method, target, residual)
    plain = judged.float_logits
    return {
        "data": data,
        "pictures": len(truth),
        "groups": len(set(groups.tolist())),
        "int8": figures(judged.logits, truth, groups, labels),
        "float": None if plain is None else figures(plain, truth, groups, labels),
        "calibration": calibrated,
        "roc": _roc(softmax(judged.logits, calibrated["temperature"]), truth, labels),
    }


def figures(logits: Array, truth: Array, groups: Array, labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, macro averages and each class, with 95 % intervals by group, and the confusion."""
    found, classes = logits.argmax(axis=1), len(labels)
    table = calibration.confusion(found, truth, classes)
    drawn = calibration.resampled(found, truth, groups, classes, metrics.REPLICATES)
    scores = calibration.per_class(table)
    recalls = np.array([calibration.per_class(one)["recall"] for one in drawn])
    low, high = np.percentile(recalls, (2.5, 97.5), axis=0)
    macro_f1 = functools.partial(calibration.macro, "f1")
    return {
        "accuracy": _round(calibration.accuracy(table)),
        "accuracy_interval": _rounded(metrics.interval(calibration.accuracy, drawn)),
        "macro_precision": _round(calibration.macro("precision", table)),
        "macro_recall": _round(calibration.macro("recall", table)),
        "macro_f1": _round(macro_f1(table)),
        "macro_f1_interval": _rounded(metrics.interval(macro_f1, drawn)),
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


def decide(logits: Array, fitted: Mapping[str, Any]) -> tuple[Array, Array]:
    """Probabilities (n, classes) of logits, and which pictures are accepted, bool (n,).

    `fitted` is the `calibration` of a block, whose temperature and thresholds are taken.
    """
    labels, thresholds = zip(*fitted["thresholds"].items(), strict=True)
    never = frozenset(labels.index(label) for label in fitted["residual_labels"])
    probability = softmax(logits, fitted["temperature"])
    any_truth = np.zeros(len(probability), np.int64)
    return probability, calibration.accepted(probability, any_truth, np.array(thresholds), never)[0]


def halves(groups: Array) -> Array:
    """Split groups in two by the last bit of their hash; int64 (n,) of 0 and 1.

    Where all groups fall into one half, the first picture's group becomes the other.
    """
    half = np.array([group_order(str(group))[-1] & 1 for group in groups], np.int64)
    if len(groups) and half.min() == half.max():
        half = (groups == groups[0]).astype(np.int64)
    return half


def _calibration(
    judged: Judged, method: str, target: float, residual: Sequence[str]
) -> dict[str, Any]:
    """Temperature and thresholds to ship, fit on all pictures, and what they are worth.

    Their figures are cross-fitted: each part is judged with what the other parts gave.
    """
    logits, truth = judged.logits, judged.truth
    never = frozenset(judged.labels.index(label) for label in residual)

    def fit(some: Array) -> tuple[float, Array]:
        temperature = calibration.fit_temperature(logits[some], truth[some])
        probability = softmax(logits[some], temperature)
        return temperature, calibration.fit_thresholds(probability, truth[some], target, never)

    temperature, thresholds = fit(np.ones(len(truth), bool))
    crossed = calibration.cross_fit(logits, truth, judged.part, fit, never)
    plain, passed = softmax(logits), crossed.accepted
    # What goes where the unsure goes is never accepted, however low the threshold.
    counted = ~np.isin(logits.argmax(axis=1), list(never))
    curve = metrics.coverage_precision(
        np.where(counted, crossed.confidence, -1.0), crossed.right & counted
    )
    reached = curve[0] >= 0.0
    return {
        "temperature": _round(temperature),
        "thresholds": dict(zip(judged.labels, thresholds.tolist(), strict=True)),
        "target_precision": target,
        "residual_labels": list(residual),
        "method": f"{method}; ECE of the top class, {metrics.BINS} bins of equal width",
        "ece": _round(metrics.calibration_error(crossed.confidence, crossed.right)),
        "ece_without_temperature": _round(
            metrics.calibration_error(plain.max(axis=1), plain.argmax(axis=1) == truth)
        ),
        "nll": _round(calibration.negative_log_likelihood(logits, truth, temperature)),
        "accepted": int(passed.sum()),
        "accepted_right": int(crossed.right[passed].sum()),
        "accepted_share": _round(passed.mean()),
        "accepted_precision": _round(crossed.right[passed].mean()) if passed.any() else None,
        "reliability": [
            [_round(sure), _round(share), count]
            for sure, share, count in metrics.reliability(crossed.confidence, crossed.right)
        ],
        "coverage_precision": metrics.thinned(*(column[reached] for column in curve)),
    }


def _roc(probability: Array, truth: Array, labels: Sequence[str]) -> dict[str, Any]:
    """One-vs-rest ROC of each class that has pictures and is not all there is; area and points."""
    curves, areas = {}, []
    for i, label in enumerate(labels):
        positive = truth == i
        if positive.any() and not positive.all():
            false_rate, true_rate = metrics.roc(probability[:, i], positive)
            areas.append(_round(metrics.area_under(false_rate, true_rate)))
            points = metrics.thinned(false_rate, true_rate)
            curves[label] = {"auc": areas[-1], "points": points}
    return {"per_class": curves, "macro_auc": _round(np.mean(areas)) if areas else None}


def _round(number: float | np.floating[Any]) -> float:
    return round(float(number), metrics.DIGITS)


def _rounded(pair: Sequence[float]) -> list[float]:
    return [_round(number) for number in pair]
