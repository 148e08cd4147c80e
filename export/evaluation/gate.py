"""The gate: what a model must reach before it is packaged, and whether it does.

It measures nothing. The only way round it is a person's word, which stands in card and manifest
beside what was missed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from export.errors import ExportError
from export.evaluation import metrics
from export.evaluation.chambers import STEPS

TARGET_PRECISION = 0.985
"""Share right among the accepted that thresholds aim at where the recipe does not say."""

AT_LEAST = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "recall": "recall of {}",
    "accepted_precision": "share right among the accepted",
    "accepted_share": "share accepted",
    "chambers": "accuracy in {}",
}
AT_MOST = {
    "ece": "expected calibration error",
    "int8_loss": "accuracy lost by int8",
    "unknown_accepted": "share accepted of unknown things never shown",
    "kilobytes": "size of the model in kB",
}


@dataclass(frozen=True, slots=True)
class Demands:
    """What a recipe asks of its model."""

    limits: Mapping[str, Any]
    """By the keys of `AT_LEAST` and `AT_MOST`; `recall` and `chambers` are mappings."""
    residual_labels: tuple[str, ...]
    """Classes that are never accepted."""

    @property
    def target_precision(self) -> float:
        """Share right among the accepted that thresholds aim at."""
        return float(self.limits.get("accepted_precision", TARGET_PRECISION))


def demands(config: Mapping[str, Any]) -> Demands:
    """What the configuration of a run demands; raises ExportError for what the gate cannot know."""
    limits, residual = config.get("gate") or {}, config.get("residual_labels") or ()
    limits = {key: limit for key, limit in limits.items() if limit not in (None, {})}
    if unknown := limits.keys() - {*AT_LEAST, *AT_MOST}:
        raise ExportError(
            f"gate of {config['recipe']}: no such demand: {', '.join(sorted(unknown))}; "
            f"there are {', '.join([*AT_LEAST, *AT_MOST])}"
        )
    return Demands(limits, tuple(residual))


def quoted(report: Mapping[str, Any]) -> dict[str, Any]:
    """The block of figures that gate, card and manifest quote: the pooled one where there is one.

    Raises ExportError where the run has no figures yet.
    """
    figures: dict[str, Any] | None = report.get("pooled") or report.get("held_out")
    if not figures:
        raise ExportError(
            "this run holds no pictures out, so it has no figures of its own; train its folds, and "
            "run `python -m export evaluate --run RUN --pool FOLD-RUN ...`"
        )
    return figures


def verdict(report: Mapping[str, Any], asked: Demands) -> dict[str, Any]:
    """Hold the figures of evaluation.json against the demands.

    Returns passed; judged_on, the pictures in words; and checks, one for each demand: figure,
    limit, sense ("at least" or "at most"), found (None where not measured), passed, missed_by.
    """
    figures = report.get("pooled") or report.get("held_out") or {}
    checks = list(_checks(_found(report, figures), asked.limits))
    passed = all(check["passed"] for check in checks)
    return {"passed": passed, "judged_on": figures.get("data"), "checks": checks}


def _checks(found: Mapping[str, Any], limits: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for names, sense in ((AT_LEAST, "at least"), (AT_MOST, "at most")):
        for key, name in names.items():
            limit = limits.get(key)
            if isinstance(limit, Mapping):
                for one, least in limit.items():
                    yield _check(name.format(one), sense, least, (found[key] or {}).get(one))
            elif limit is not None:
                yield _check(name, sense, limit, found[key])


def _found(report: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures by the keys of the gate; None for what was not measured."""
    int8, plain = figures.get("int8") or {}, figures.get("float") or {}
    calibration = figures.get("calibration") or {}
    both = bool(int8) and bool(plain)
    classes = int8.get("per_class", {}).items()
    last_steps = {
        name: next(steps[step] for step in reversed(STEPS) if step in steps)
        for name, steps in ((n, one["steps"]) for n, one in report.get("chambers", {}).items())
    }
    return {
        "accuracy": int8.get("accuracy"),
        "macro_f1": int8.get("macro_f1"),
        "recall": {label: row["recall"] for label, row in classes if row["pictures"]},
        "accepted_precision": calibration.get("accepted_precision"),
        "accepted_share": calibration.get("accepted_share"),
        "ece": calibration.get("ece"),
        "int8_loss": round(plain["accuracy"] - int8["accuracy"], metrics.DIGITS) if both else None,
        "chambers": {name: step["accuracy"] for name, step in last_steps.items()},
        "unknown_accepted": report.get("unknown", {}).get("accepted_share"),
        "kilobytes": report["model_bytes"] / 1000,
    }


def _check(name: str, sense: str, limit: float, found: float | None) -> dict[str, Any]:
    asked = {"figure": name, "sense": sense, "limit": limit}
    if found is None or math.isnan(found):
        return {**asked, "found": None, "missed_by": None, "passed": False}
    gap = max(0.0, limit - found if sense == "at least" else found - limit)
    return {**asked, "found": found, "missed_by": round(gap, metrics.DIGITS), "passed": gap == 0.0}


def words(check: Mapping[str, Any]) -> str:
    """One check as a line for people."""
    asked = f"{check['sense']} {check['limit']:g} wanted"
    if check["found"] is None:
        return f"{check['figure']}: not measured, {asked}"
    line = f"{check['figure']} {check['found']:g}, {asked}"
    return line if check["passed"] else f"{line}: misses it by {check['missed_by']:g}"


def refuse_what_misses(result: Mapping[str, Any]) -> None:
    """Raise ExportError, with a line for each demand that was missed."""
    missed = [words(check) for check in result["checks"] if not check["passed"]]
    if missed:
        raise ExportError(
            "the gate refuses this model; make it better, or ask less in its recipe "
            "and run `train` once more, which only notes it:\n  " + "\n  ".join(missed)
        )
