"""Measure the int8 file itself, on every runtime, on pictures its training has not seen.

Pictures of real chambers tell how far it carries. Leaves `evaluation.json` with all figures and the
verdict of the gate, and `predictions.npz`.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.data.csv_tables import read_table
from export.data.pictures import Picture, label_indices, load_squares, read_split, spread
from export.errors import ExportError
from export.evaluation import chambers, gate, out_of_distribution, robustness
from export.evaluation.figures import Judged, block, decide, figures, halves
from export.evaluation.runtimes import RUNTIMES, ModelOutputs, TfliteFile
from export.run import Run, training_time, versions
from export.views.renderings import EMPTIES, STUDIO

EVALUATION = "evaluation.json"
PREDICTIONS = "predictions.npz"
POOLED = "pooled.json"
AGREEMENT_PICTURES = 100  # of the training, to compare runtimes on where none are held out


def evaluate(run: Run, data: Path, arguments: list[str]) -> dict[str, Any]:
    """Measure a quantised model; returns and saves what `evaluation.json` holds.

    A runtime that refuses the model is named with its words and does not stop the others. A run
    that holds nothing out has the figures of its folds, which `export.evaluation.pooling` left, and
    of its own file speed, size, agreement and what the chambers beside `data` show.

    Raises ExportError where something is missing, or no runtime takes the model.
    """
    content = run.need("model.tflite", "quantize").read_bytes()
    config = run.read_json("config.json", "train")
    labels, size, asked = tuple(config["labels"]), config["size"], gate.demands(config)
    parts = read_split(run)
    held_out = parts["held_out"]
    shown = held_out or spread(parts["train"], AGREEMENT_PICTURES)
    squares = load_squares(data, [picture.file for picture in shown], size)
    models, refused = _open(content)
    outputs = {name: model.run(squares) for name, model in models.items()}
    main = next(iter(outputs))
    float_logits = _float_logits(run, config["kind"]) if held_out else None
    report: dict[str, Any] = {
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "model_bytes": len(content),
        "labels": list(labels),
        "command": command(arguments),
        "versions": versions(),
        **training_time(run),
        "main_runtime": main,
        "runtimes": {name: {"invoke_ms": _latency(out)} for name, out in outputs.items()}
        | {name: {"refused": why} for name, why in refused.items()},
        "agreement": {
            "on": "held-out pictures" if held_out else "training pictures",
            **_agreement(outputs, float_logits),
        },
        "held_out": None,
        "robustness": [],
        "chambers": _chambers(data.parent, labels, size, models[main]),
        "unknown": {},
    }
    if held_out:
        judged = _judged(run, labels, held_out, outputs[main].logits, float_logits)
        report["held_out"] = _held_out(judged, config, asked)
        for name, out in outputs.items():
            report["runtimes"][name] |= figures(out.logits, judged.truth, judged.groups, labels)
        calibration = report["held_out"]["calibration"]
        report["robustness"] = _robustness(models[main], squares, judged.truth, calibration)
    if quotable := _pooled(run) or report["held_out"]:
        organic = data.parent / "organic"
        report["unknown"] = out_of_distribution.measure(
            organic if organic.is_dir() and "organic" not in labels else None,
            spread(sorted(STUDIO.glob(f"{EMPTIES}/**/*.jpg")), out_of_distribution.DRAWN),
            size,
            lambda pictures: decide(models[main].run(pictures).logits, quotable["calibration"])[1],
        )
    finish(run, report, asked)
    return report


def _held_out(judged: Judged, config: Mapping[str, Any], asked: gate.Demands) -> dict[str, Any]:
    """The figures of the held-out pictures, and in words which pictures those are."""
    name, fold, groups = Path(config["data"]).name, config.get("fold"), len(set(judged.groups))
    part = "held-out part" if fold is None else f"fold {fold}"
    return block(
        judged,
        data=f"{name}, {part} ({len(judged.truth)} pictures in {groups} groups)",
        method="cross-fitted on halves of the held-out pictures by group",
        target=asked.target_precision,
        residual=asked.residual_labels,
    )


def read_evaluation(run: Run) -> dict[str, Any]:
    """What `evaluation.json` holds; raises ExportError where it is missing or of another model."""
    found: dict[str, Any] = run.read_json(EVALUATION, "evaluate")
    content = run.need("model.tflite", "quantize").read_bytes()
    if found["model_sha256"] != hashlib.sha256(content).hexdigest():
        raise ExportError(
            f"{run.folder}: evaluation.json is of another model.tflite; evaluate this one first"
        )
    return found


def _pooled(run: Run) -> dict[str, Any] | None:
    """The figures of the folds of a run that holds nothing out, if they have been pooled."""
    return run.read_json(POOLED, "evaluate") if run.path(POOLED).is_file() else None


def finish(run: Run, report: dict[str, Any], asked: gate.Demands) -> None:
    """Add pooled figures and the verdict of the gate, save, and say the most important."""
    report["pooled"] = _pooled(run)
    report["gate"] = gate.verdict(report, asked)
    run.write_json(EVALUATION, report)
    if report["held_out"]:
        say(run, "float", report["held_out"]["float"])
        for name, found in report["runtimes"].items():
            if "refused" not in found:
                say(run, name, found)
    for found in report["runtimes"].values():
        if "refused" in found:
            run.log(f"evaluate: {found['refused']}")
    for check in report["gate"]["checks"]:
        run.log(f"evaluate: gate {'passed' if check['passed'] else 'MISSED'}: {gate.words(check)}")


def say(run: Run, name: str, found: dict[str, Any] | None) -> None:
    """Log the main figures of a block's `int8` or `float`; nothing where there are none."""
    if found:
        low, high = found["accuracy_interval"]
        run.log(
            f"evaluate: {name}: accuracy {found['accuracy']:.4f} [{low:.3f}, {high:.3f}], "
            f"macro-F1 {found['macro_f1']:.4f}"
        )


def _open(content: bytes) -> tuple[dict[str, TfliteFile], dict[str, str]]:
    """The model on each runtime that takes it, and why the others do not.

    Raises ExportError where none takes it.
    """
    models: dict[str, TfliteFile] = {}
    refused: dict[str, str] = {}
    for runtime in RUNTIMES:
        try:
            models[runtime] = TfliteFile(content, runtime)
        except ExportError as error:
            refused[runtime] = str(error)
    if not models:
        raise ExportError("no runtime takes the model:\n  " + "\n  ".join(refused.values()))
    return models, refused


def _float_logits(run: Run, kind: str) -> Array | None:
    """What the float network gave; an imported model may come without one."""
    if kind == "imported" and not run.path("float.npz").is_file():
        return None
    with np.load(run.need("float.npz", "train")) as archive:
        return np.asarray(archive["logits"])


def _judged(
    run: Run,
    labels: Sequence[str],
    pictures: Sequence[Picture],
    logits: Array,
    float_logits: Array | None,
) -> Judged:
    """What was said of the held-out pictures; saved as `predictions.npz` too.

    Raises ExportError where the float logits are of other pictures.
    """
    truth = label_indices(pictures, labels)
    groups = np.array([picture.group for picture in pictures])
    if float_logits is not None and len(float_logits) != len(truth):
        raise ExportError(
            f"{run.path('float.npz')}: is of {len(float_logits)} pictures, the split holds "
            f"{len(truth)} out; train again"
        )
    run.write_arrays(
        PREDICTIONS,
        files=np.array([picture.file for picture in pictures]),
        logits=logits,
        float_logits=np.empty((0, logits.shape[1])) if float_logits is None else float_logits,
        truth=truth,
        groups=groups,
    )
    return Judged(labels, logits, float_logits, truth, groups, halves(groups))


def _chambers(
    folder: Path, labels: tuple[str, ...], size: int, model: TfliteFile
) -> dict[str, dict[str, Any]]:
    """Figures on each chamber beside the data with an item of one of the labels in it."""
    found = {}
    for chamber in (folder / name for name in chambers.CHAMBERS):
        if (table := chamber / chambers.LABELS).is_file():
            shown = {row["class"] for _, row in read_table(table, ("file", "class"))}
            if not shown.isdisjoint(labels):
                found[chamber.name] = chambers.measure(
                    chamber, labels, size, lambda pictures: model.run(pictures).logits
                )
    return found


def _robustness(
    model: TfliteFile, squares: Array, truth: Array, calibration: dict[str, Any]
) -> list[dict[str, Any]]:
    """The robustness table of a model, with the temperature and thresholds it would ship with."""

    def judge(pictures: Array) -> tuple[Array, Array]:
        probability, accepted = decide(model.run(pictures).logits, calibration)
        return probability.argmax(axis=1), accepted

    chosen = spread(range(len(truth)), robustness.PICTURES)
    classes = len(calibration["thresholds"])
    return robustness.measure(squares[chosen], truth[chosen], classes, judge)


def _latency(outputs: ModelOutputs) -> dict[str, Any]:
    median, slow = np.percentile(outputs.invoke_ms, (50, 95))
    return {"median": round(float(median), 2), "p95": round(float(slow), 2), "threads": 1}


def _agreement(outputs: dict[str, ModelOutputs], float_logits: Array | None) -> dict[str, Any]:
    """How far the runtimes are apart on the same pictures, and int8 from float."""
    first, *others = (out.logits for out in outputs.values())
    found: dict[str, Any] = {"pictures": len(first)}

    def same_decision(other: Array) -> float:
        return round(float(np.mean(first.argmax(1) == other.argmax(1))), 4)

    if others:
        differences = [float(np.abs(first - other).max()) for other in others]
        found["largest_logit_difference"] = round(max(differences), 4)
        found["same_decision"] = min(map(same_decision, others))
    if float_logits is not None:
        error = np.sqrt(np.mean((first - float_logits) ** 2))
        found["rms_error_to_float"] = round(float(error), 4)
        found["same_decision_as_float"] = same_decision(float_logits)
    return found


def command(arguments: Sequence[str]) -> str:
    """The command line of a step, to keep beside what it found."""
    return shlex.join(["python", "-m", "export", *arguments])
