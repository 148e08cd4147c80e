"""Measure the int8 file itself, on every runtime, on pictures its training has not seen.

Reads `model.tflite` of a run, the held-out part of its split, and (to tell how far it carries,
never to train) pictures of real chambers. Leaves `evaluation.json` with all figures and the verdict
of the gate, and `predictions.npz`.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bin_daemon.core.messages import Array
from export.data.csv_tables import read_table
from export.data.pictures import (
    Picture,
    group_order,
    label_indices,
    load_squares,
    read_split,
    spread,
)
from export.errors import ExportError
from export.evaluation import chambers, cross_fit, gate, metrics, robustness
from export.evaluation.figures import block, figures
from export.evaluation.runtimes import RUNTIMES, Model, Outputs
from export.run import Run, training_time, versions
from export.views import unknown
from export.views.renderings import EMPTIES, STUDIO

EVALUATION = "evaluation.json"
PREDICTIONS = "predictions.npz"
POOLED = "pooled.json"
AGREEMENT_PICTURES = 100
"""Training pictures on which runtimes are compared where none are held out."""


def evaluate(run: Run, data: Path, arguments: list[str]) -> dict:
    """Measure a run's model; returns and saves what `evaluation.json` holds.

    A runtime that refuses the model is named with its words and does not stop the others. A run
    that holds nothing out has the figures of its folds, which `export.evaluation.pooling` left, and
    of its own file speed, size, agreement and what chambers show.

    Args:
        run: a run that has been quantised.
        data: the folder of the labelled pictures; chambers are looked for beside it.
        arguments: command line of this step, kept beside the figures.

    Raises:
        ExportError: something is missing, or no runtime takes the model.
    """
    content = run.need("model.tflite", "quantize").read_bytes()
    config = run.read_json("config.json", "train")
    labels, asked = tuple(config["labels"]), gate.demands(config)
    parts = read_split(run)
    held_out = parts["held_out"]
    shown = held_out or spread(parts["train"], AGREEMENT_PICTURES)
    squares = load_squares(data, [picture.file for picture in shown], config["size"])
    models, refused = _open(content)
    outputs = {name: model.run(squares) for name, model in models.items()}
    main = next(iter(outputs))
    float_logits = _float_logits(run, config["kind"]) if held_out else None
    report: dict = {
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "model_bytes": len(content),
        "labels": list(labels),
        "command": command(arguments),
        "versions": versions(),
        **training_time(run),
        "main_runtime": main,
        "runtimes": {
            **{name: {"invoke_ms": _latency(out)} for name, out in outputs.items()},
            **{name: {"refused": why} for name, why in refused.items()},
        },
        "agreement": {
            "on": "held-out pictures" if held_out else "training pictures",
            **_agreement(outputs, float_logits),
        },
        "held_out": None,
        "robustness": [],
        "chambers": {},
        "unknown": {},
    }
    if held_out:
        truth = label_indices(held_out, labels)
        groups = np.array([picture.group for picture in held_out])
        if float_logits is not None and len(float_logits) != len(truth):
            raise ExportError(
                f"{run.path('float.npz')}: is of {len(float_logits)} pictures, the split holds "
                f"{len(truth)} out; train again"
            )
        fold = config.get("fold")
        report["held_out"] = block(
            labels,
            outputs[main].logits,
            float_logits,
            truth,
            groups,
            cross_fit.halves(groups, group_order),
            data=f"{data_name(config)}, {'held-out part' if fold is None else f'fold {fold}'} "
            f"({len(truth)} pictures in {len(set(groups))} groups)",
            method="cross-fitted on halves of the held-out pictures by group",
            target=asked.target_precision,
            residual=asked.residual_labels,
        )
        for name, out in outputs.items():
            report["runtimes"][name] |= figures(out.logits, truth, groups, labels)
        _save_predictions(run, held_out, outputs[main].logits, float_logits, truth, groups)
        report["robustness"] = _robustness(models[main], squares, truth, report["held_out"])
    for chamber in chambers.CHAMBERS:
        if _knows(data.parent / chamber, labels):
            report["chambers"][chamber] = chambers.measure(
                data.parent / chamber,
                labels,
                config["size"],
                lambda pictures: models[main].run(pictures).logits,
            )
    judged = _pooled(run) or report["held_out"]
    if judged:
        report["unknown"] = unknown.measure(
            _organic(data, labels),
            _rendered_empties(),
            config["size"],
            _acceptor(models[main], judged["calibration"]),
        )
    finish(run, report, asked)
    return report


def read_evaluation(run: Run) -> dict:
    """What `evaluation.json` holds, which is of the model that the run has now.

    Raises:
        ExportError: it is not there, or of another model.
    """
    found: dict = run.read_json(EVALUATION, "evaluate")
    content = run.need("model.tflite", "quantize").read_bytes()
    if found["model_sha256"] != hashlib.sha256(content).hexdigest():
        raise ExportError(
            f"{run.folder}: evaluation.json is of another model.tflite; evaluate this one first"
        )
    return found


def _pooled(run: Run) -> dict | None:
    """The figures of the folds of a run that holds nothing out, if they have been pooled."""
    return run.read_json(POOLED, "evaluate") if run.path(POOLED).is_file() else None


def _organic(data: Path, labels: Sequence[str]) -> Path | None:
    """The folder of fruit and vegetables beside the data, for a model that does not know them."""
    folder = data.parent / "organic"
    return folder if folder.is_dir() and "organic" not in labels else None


def _rendered_empties() -> list[Path]:
    """Rendered chambers with nothing in them, where `make studio` has been run."""
    return spread(sorted(STUDIO.glob(f"{EMPTIES}/**/*.jpg")), unknown.DRAWN)


def _acceptor(model: Model, calibration: dict) -> Callable[[Array], Array]:
    """Says which pictures a model would accept with the temperature and thresholds it ships."""
    judge = _judge(model, calibration)
    return lambda pictures: judge(pictures)[1]


def finish(run: Run, report: dict, asked: gate.Demands) -> None:
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


def say(run: Run, name: str, found: dict | None) -> None:
    """Log the main figures of a block's `int8` or `float`; nothing where there are none."""
    if found:
        low, high = found["accuracy_interval"]
        run.log(
            f"evaluate: {name}: accuracy {found['accuracy']:.4f} [{low:.3f}, {high:.3f}], "
            f"macro-F1 {found['macro_f1']:.4f}"
        )


def _open(content: bytes) -> tuple[dict[str, Model], dict[str, str]]:
    """The model on each runtime that takes it, and why the others do not.

    Raises:
        ExportError: none takes it.
    """
    models: dict[str, Model] = {}
    refused: dict[str, str] = {}
    for runtime in RUNTIMES:
        try:
            models[runtime] = Model(content, runtime)
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
        return archive["logits"]


def _save_predictions(
    run: Run,
    pictures: Sequence[Picture],
    logits: Array,
    float_logits: Array | None,
    truth: Array,
    groups: Array,
) -> None:
    run.write_arrays(
        PREDICTIONS,
        files=np.array([picture.file for picture in pictures]),
        logits=logits,
        float_logits=np.empty((0, logits.shape[1])) if float_logits is None else float_logits,
        truth=truth,
        groups=groups,
    )


def _robustness(model: Model, squares: Array, truth: Array, found: dict) -> list[dict]:
    """The robustness table of a model, with the temperature and thresholds it would ship with."""
    judge = _judge(model, found["calibration"])
    kept = spread(range(len(truth)), robustness.PICTURES)
    classes = len(found["calibration"]["thresholds"])
    return robustness.measure(squares[kept], truth[kept], classes, judge)


def _judge(model: Model, calibration: dict) -> Callable[[Array], tuple[Array, Array]]:
    """Gives of pictures what was found, int (n,), and whether it is accepted, bool (n,)."""
    labels = list(calibration["thresholds"])
    thresholds = np.array(list(calibration["thresholds"].values()))
    never = frozenset(labels.index(label) for label in calibration["residual_labels"])

    def judge(pictures: Array) -> tuple[Array, Array]:
        judged = metrics.softmax(model.run(pictures).logits, calibration["temperature"])
        any_truth = np.zeros(len(judged), int)
        return judged.argmax(axis=1), metrics.accepted(judged, any_truth, thresholds, never)[0]

    return judge


def _latency(outputs: Outputs) -> dict:
    """Median and 95th percentile of the time in the network, one thread."""
    median, slow = np.percentile(outputs.invoke_ms, (50, 95))
    return {"median": round(float(median), 2), "p95": round(float(slow), 2), "threads": 1}


def _agreement(outputs: dict[str, Outputs], float_logits: Array | None) -> dict:
    """How far the runtimes are apart on the same pictures, and int8 from float."""
    first, *others = (out.logits for out in outputs.values())
    found: dict = {"pictures": len(first)}
    if others:
        found |= {
            "largest_logit_difference": round(
                max(float(np.abs(first - other).max()) for other in others), 4
            ),
            "same_decision": round(
                min(float(np.mean(first.argmax(1) == other.argmax(1))) for other in others), 4
            ),
        }
    if float_logits is not None:
        same = first.argmax(1) == float_logits.argmax(1)
        found |= {
            "rms_error_to_float": round(float(np.sqrt(np.mean((first - float_logits) ** 2))), 4),
            "same_decision_as_float": round(float(np.mean(same)), 4),
        }
    return found


def _knows(folder: Path, labels: Sequence[str]) -> bool:
    """Whether there is a chamber in a folder with an item of one of the labels in it."""
    table = folder / "labels.csv"
    return table.is_file() and any(
        row["class"] in labels for _, row in read_table(table, ("file", "class"))
    )


def command(arguments: Sequence[str]) -> str:
    """The command line of a step, to keep beside what it found."""
    return shlex.join(["python", "-m", "export", *arguments])


def data_name(config: dict) -> str:
    """The name of the set a run was trained on: its folder's."""
    return Path(config["data"]).name
