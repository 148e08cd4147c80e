"""Measure the int8 file itself, on every runtime, on pictures its training has not seen.

Reads `model.tflite` of a run, the held-out fold of its split, and (to tell how far it carries,
never to train) pictures of real chambers. Leaves `evaluation.json` and `predictions.npz`.
"""

from __future__ import annotations

import csv
import hashlib
import shlex
from pathlib import Path

import numpy as np

from . import metrics
from .data import FOLDS, LABELS, group_order, label_indices, list_pictures, load_squares
from .errors import ExportError
from .runs import Run, versions
from .runtimes import RUNTIMES, Model, Outputs
from .train import SIZE

TARGET_PRECISION = 0.97
CHAMBERS = ("chamber_a", "chamber_b")
MAIN_RUNTIME = RUNTIMES[0]


def evaluate(run: Run, data: Path, arguments: list[str]) -> dict:
    """Measure a run's model; returns and saves what `evaluation.json` holds.

    Args:
        run: a run that has been quantised.
        data: the folder of the labelled pictures; chambers are looked for beside it.
        arguments: command line of this step, kept beside the figures.

    Raises:
        ExportError: something is missing, or the pictures are not those of the run's split.
    """
    content = run.need("model.tflite", "quantize").read_bytes()
    fold = run.read_json("config.json", "train")["fold"]
    pictures = [picture for picture in list_pictures(data) if picture.fold == fold]
    if [p.file for p in pictures] != run.read_json("split.json", "train")["held_out"]:
        raise ExportError(f"{data}: its fold {fold} is not the one held out in {run.folder}")
    truth = label_indices(pictures)
    groups = np.array([picture.group for picture in pictures])
    squares = load_squares(data, [picture.file for picture in pictures], SIZE)
    outputs = {runtime: Model(content, runtime).run(squares) for runtime in RUNTIMES}
    with np.load(run.need("float.npz", "train")) as archive:
        float_logits = archive["logits"]

    main = outputs[MAIN_RUNTIME]
    report = {
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "model_bytes": len(content),
        "data": f"TrashNet fold {fold} of {FOLDS} ({len(truth)} pictures, "
        f"{len(set(groups))} groups)",
        "command": shlex.join(["python", "-m", "export", *arguments]),
        "versions": versions(),
        "float": _figures(float_logits, truth, groups),
        "runtimes": {
            name: {**_figures(out.logits, truth, groups), "invoke_ms": _latency(out)}
            for name, out in outputs.items()
        },
        "agreement": _agreement(outputs, float_logits),
        "calibration": _calibration(main.logits, truth, groups),
        "chambers": {},
    }
    for chamber in CHAMBERS:
        if (data.parent / chamber).is_dir():
            report["chambers"][chamber] = measure_chamber(content, data.parent / chamber)
    np.savez_compressed(
        run.path("predictions.npz"),
        logits=main.logits,
        float_logits=float_logits,
        truth=truth,
        groups=groups,
    )
    run.write_json("evaluation.json", report)
    for name, figures in [("float", report["float"]), *report["runtimes"].items()]:
        low, high = figures["accuracy_interval"]
        run.log(
            f"evaluate: {name}: accuracy {figures['accuracy']:.4f} [{low:.3f}, {high:.3f}], "
            f"macro-F1 {figures['macro_f1']:.4f}"
        )
    return report


def pool(run: Run, others: list[Run]) -> dict:
    """Figures over the held-out folds of several evaluated runs together, as `pooled.json`.

    Each picture is judged by the one model that has not seen it, so the figures are of the recipe,
    not of one file.

    Raises:
        ExportError: a run has not been evaluated, two hold out the same fold, or they follow
            different recipes.
    """
    runs = [run, *others]
    configs = [one.read_json("config.json", "train") for one in runs]
    folds = [config["fold"] for config in configs]
    if len(set(folds)) < len(folds):
        raise ExportError(f"cannot pool: the runs hold out the folds {folds}, some of them twice")
    if any(config["recipe"] != configs[0]["recipe"] for config in configs):
        raise ExportError("cannot pool: the runs follow different recipes")
    parts: dict[str, list[np.ndarray]] = {}
    for one in runs:
        with np.load(one.need("predictions.npz", "evaluate")) as archive:
            for name in archive.files:
                parts.setdefault(name, []).append(archive[name])
    logits, float_logits, truth, groups = (
        np.concatenate(parts[name]) for name in ("logits", "float_logits", "truth", "groups")
    )
    report = {
        "folds": folds,
        "pictures": len(truth),
        "float": _figures(float_logits, truth, groups),
        "int8": _figures(logits, truth, groups),
    }
    run.write_json("pooled.json", report)
    for name in ("float", "int8"):
        low, high = report[name]["accuracy_interval"]
        run.log(
            f"evaluate: folds {folds} pooled, {name}: accuracy {report[name]['accuracy']:.4f} "
            f"[{low:.3f}, {high:.3f}], macro-F1 {report[name]['macro_f1']:.4f}"
        )
    return report


def _figures(logits: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> dict:
    """Accuracy and macro-F1 with 95 % intervals by group, the confusion table, and each class."""
    classes = len(LABELS)
    found = logits.argmax(axis=1)
    table = metrics.confusion(found, truth, classes)
    scores = metrics.per_class(table)
    return {
        "accuracy": round(metrics.accuracy(table), 4),
        "accuracy_interval": _rounded(
            metrics.interval(metrics.accuracy, found, truth, groups, classes)
        ),
        "macro_f1": round(metrics.macro_f1(table), 4),
        "macro_f1_interval": _rounded(
            metrics.interval(metrics.macro_f1, found, truth, groups, classes)
        ),
        "per_class": {
            label: {
                "pictures": int(table[i].sum()),
                **{name: round(float(values[i]), 4) for name, values in scores.items()},
            }
            for i, label in enumerate(LABELS)
        },
        "confusion": table.tolist(),
    }


def _latency(outputs: Outputs) -> dict:
    """Median and 95th percentile of the time in the network, one thread."""
    median, slow = np.percentile(outputs.invoke_ms, (50, 95))
    return {"median": round(float(median), 2), "p95": round(float(slow), 2), "threads": 1}


def _agreement(outputs: dict[str, Outputs], float_logits: np.ndarray) -> dict:
    """How far the runtimes are apart on the held-out pictures, and int8 from float."""
    first, *others = outputs.values()
    error = first.logits - float_logits
    return {
        "largest_logit_difference": round(
            max(float(np.abs(first.logits - other.logits).max()) for other in others), 4
        ),
        "same_decision": round(
            min(float(np.mean(first.logits.argmax(1) == o.logits.argmax(1))) for o in others), 4
        ),
        "rms_error_to_float": round(float(np.sqrt(np.mean(np.square(error)))), 4),
        "same_decision_as_float": round(
            float(np.mean(first.logits.argmax(1) == float_logits.argmax(1))), 4
        ),
    }


def _calibration(logits: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> dict:
    """Temperature and thresholds to ship, and what they are worth on groups they were not fit on.

    Both are fit on the whole held-out fold. Their figures come from cross-fitting: fit on one half
    of the groups, measured on the other, both ways round, pooled.
    """
    second = metrics.halves(groups, group_order)
    confidence, right = np.empty(len(truth)), np.empty(len(truth), bool)
    passed = np.empty(len(truth), bool)
    for half in (~second, second):
        temperature = metrics.fit_temperature(logits[half], truth[half])
        learnt = metrics.probabilities(logits[half], temperature)
        thresholds = metrics.fit_thresholds(learnt, truth[half], TARGET_PRECISION)
        judged = metrics.probabilities(logits[~half], temperature)
        confidence[~half] = judged.max(axis=1)
        passed[~half], right[~half] = metrics.accepted(judged, truth[~half], thresholds)
    temperature = metrics.fit_temperature(logits, truth)
    fitted = metrics.probabilities(logits, temperature)
    thresholds = metrics.fit_thresholds(fitted, truth, TARGET_PRECISION)
    plain = metrics.probabilities(logits)
    return {
        "temperature": round(temperature, 4),
        "thresholds": dict(zip(LABELS, thresholds.tolist(), strict=True)),
        "method": f"cross-fitted on halves of the fold by group; ECE of the top class, "
        f"{metrics.BINS} bins of equal width",
        "ece": round(metrics.calibration_error(confidence, right), 4),
        "ece_without_temperature": round(
            metrics.calibration_error(plain.max(axis=1), plain.argmax(axis=1) == truth), 4
        ),
        "nll": round(metrics.negative_log_likelihood(logits, truth, temperature), 4),
        "accepted_share": round(float(passed.mean()), 4),
        "accepted_precision": round(float(right[passed].mean()), 4),
        "reliability": metrics.reliability(confidence, right),
    }


def measure_chamber(content: bytes, folder: Path) -> dict:
    """Accuracy on whole frames of a real chamber, with no crop and no reference: the hard way.

    Frames of an empty chamber, and those with a hand or the open lid in view, are left out.

    Returns:
        Frames, accuracy, and for each class frames, recall and what was found.
    """
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = [
            (row["file"], row["class"])
            for row in csv.DictReader(stream)
            if row["class"] in LABELS and not row.get("flag")
        ]
    squares = load_squares(folder, [file for file, _ in rows], SIZE)
    truth = np.array([LABELS.index(label) for _, label in rows])
    found = Model(content, MAIN_RUNTIME).run(squares).logits.argmax(axis=1)
    table = metrics.confusion(found, truth, len(LABELS))
    return {
        "frames": len(rows),
        "accuracy": round(metrics.accuracy(table), 4),
        "per_class": {
            LABELS[i]: {
                "frames": int(table[i].sum()),
                "recall": round(float(table[i, i] / table[i].sum()), 4),
                "found_as": dict(zip(LABELS, table[i].tolist(), strict=True)),
            }
            for i in range(len(LABELS))
            if table[i].any()
        },
    }


def _rounded(pair: tuple[float, float]) -> list[float]:
    return [round(number, 4) for number in pair]
