"""Pool the held-out folds of a recipe: figures of every picture, and what to ship for all of them.

Predictions of evaluated runs flow in; `pooled.json` and `pooled.npz` of one run flow out, with the
temperature and thresholds that a model trained on all pictures is shipped with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.data.pictures import FOLDS, read_split
from export.errors import ExportError
from export.evaluation import gate, robustness
from export.evaluation.evaluate import (
    EVALUATION,
    POOLED,
    PREDICTIONS,
    command,
    finish,
    read_evaluation,
    say,
)
from export.evaluation.figures import Judged, block
from export.run import Run

POOLED_PREDICTIONS = "pooled.npz"


def pool(run: Run, others: list[Run], arguments: list[str]) -> dict[str, Any]:
    """Figures over the held-out folds of evaluated runs together, as `pooled.json` of `run`.

    Each picture is judged by the one model that has not seen it, so the figures are of the recipe,
    not of one file. Temperature and thresholds are fit on all of these judgements; their own
    figures are of each fold with what the other folds gave. `run` may be a fold too.

    Raises ExportError where a run has not been evaluated as it is, two hold out the same fold, or
    they follow different recipes or learnt from different pictures.
    """
    config = run.read_json("config.json", "train")
    members, folds = _members(run, others, config)
    evaluations = [read_evaluation(one) for one in members]
    arrays = _predictions(members, folds)
    asked, count = gate.demands(config), len(arrays["truth"])
    of_all = f"{len(folds)} of {FOLDS} folds" if len(folds) < FOLDS else f"all {FOLDS} folds"
    report = {
        "command": command(arguments),
        "minutes": round(sum(one.get("minutes", 0.0) for one in evaluations), 1),
        "folds": folds,
        "runs": [one.folder.name for one in members],
        **block(
            Judged(
                config["labels"],
                arrays["logits"],
                arrays["float_logits"] if len(arrays.get("float_logits", ())) == count else None,
                arrays["truth"],
                arrays["groups"],
                arrays["fold"],
            ),
            data=f"{Path(config['data']).name}, {of_all} pooled ({count} pictures in "
            f"{len(set(arrays['groups'].tolist()))} groups), each judged by the one model that "
            f"has not seen it",
            method="cross-fitted over folds: each with what the others gave",
            target=asked.target_precision,
            residual=asked.residual_labels,
        ),
        "robustness": robustness.summed([one["robustness"] for one in evaluations]),
    }
    run.write_arrays(POOLED_PREDICTIONS, **arrays)
    run.write_json(POOLED, report)
    for name in ("float", "int8"):
        say(run, f"folds {folds} pooled, {name}", report[name])
    if run.path(EVALUATION).is_file():
        finish(run, _with_what_still_holds(run, report["calibration"]), asked)
    return report


def _members(run: Run, others: list[Run], config: dict[str, Any]) -> tuple[list[Run], list[int]]:
    """The runs that hold a fold out, and which one each; raises ExportError as `pool` does."""
    members = [*([run] if read_split(run)["held_out"] else []), *others]
    configs = [one.read_json("config.json", "train") for one in members]
    folds = [one["fold"] for one in configs]
    if None in folds or len(set(folds)) < len(folds) or len(folds) < 2:
        raise ExportError(f"cannot pool: the runs hold out the folds {folds}; each once is needed")
    for key in ("recipe", "labels", "settings", "size", "data"):
        if any(one.get(key) != config.get(key) for one in configs):
            raise ExportError(f"cannot pool: the runs follow different recipes ({key} differs)")
    return members, folds


def _predictions(members: list[Run], folds: list[int]) -> dict[str, Array]:
    """What the runs said of their pictures, one run after the other, and the `fold` of each."""
    parts: dict[str, list[Array]] = {}
    for run, fold in zip(members, folds, strict=True):
        with np.load(run.need(PREDICTIONS, "evaluate")) as archive:
            for name in archive.files:
                parts.setdefault(name, []).append(archive[name])
            parts.setdefault("fold", []).append(np.full(len(archive["truth"]), fold))
    return {name: np.concatenate(pieces) for name, pieces in parts.items()}


def _with_what_still_holds(run: Run, calibration: dict[str, Any]) -> dict[str, Any]:
    """The figures of the run, without those that were made with other thresholds."""
    found: dict[str, Any] = run.read_json(EVALUATION, "evaluate")
    former = (found.get("pooled") or found.get("held_out") or {}).get("calibration", {})
    if any(former.get(key) != calibration[key] for key in ("temperature", "thresholds")):
        found["unknown"] = {}
        run.log(f"evaluate: evaluate {run.folder.name} once more for what is out of distribution")
    return found
