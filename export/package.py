"""Make the model package of a run that has been evaluated: the folder that a bin installs.

Reads `model.tflite`, `evaluation.json` and what the run says of itself. Writes model, labels,
golden inputs, card and plots, and last the manifest with the hash of each; then opens the package
as the daemon does and runs its golden inputs on every runtime.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path

import numpy as np

from bin_daemon import model_store
from bin_daemon.classifier import Classifier
from bin_daemon.model_store import (
    FileEntry,
    InputSpec,
    Manifest,
    OutputSpec,
    manifest_json,
    open_package,
)

from .card import card
from .data import LABELS
from .errors import ExportError
from .evaluate import MAIN_RUNTIME
from .golden import TOLERANCE_STEPS, pack, record
from .plots import confusion_plot, reliability_plot
from .quantise import MEAN, STD
from .runs import REPOSITORY, Run
from .runtimes import RUNTIMES, Model
from .train import SIZE

CARD = "card.md"
CONFUSION = "confusion.png"
RELIABILITY = "reliability.png"
MINIMUM_RUNTIME = {"ai-edge-litert": "1.0.1", "tflite-runtime": "2.14.0"}
"""Oldest releases on which the golden inputs of such a model were seen to pass."""


def package(run: Run, folder: Path, version: int) -> Manifest:
    """Write the package of a run into `folder`, replacing what the same files held.

    Raises:
        ExportError: a step before is missing, or the figures are of another model file.
        ModelError: the finished package fails its own golden inputs on a runtime.
    """
    content = run.need("model.tflite", "quantize").read_bytes()
    report = run.read_json("evaluation.json", "evaluate")
    if report["model_sha256"] != hashlib.sha256(content).hexdigest():
        raise ExportError(
            f"{run.folder}: evaluation.json is of another model.tflite; evaluate this one first"
        )
    config = run.read_json("config.json", "train")
    figures = report["runtimes"][MAIN_RUNTIME]
    golden = record(content)
    spread = golden_spread(content, golden)
    if spread > TOLERANCE_STEPS / 2:
        raise ExportError(
            f"runtimes differ by {spread:.1f} steps on the golden inputs, more than half of the "
            f"{TOLERANCE_STEPS} allowed: too little is left for other processors"
        )
    files = {
        model_store.MODEL: content,
        model_store.LABELS: ("\n".join(LABELS) + "\n").encode(),
        model_store.GOLDEN: pack(golden),
        CONFUSION: confusion_plot(
            np.array(figures["confusion"]), LABELS, "int8, held-out fold: pictures"
        ),
        RELIABILITY: reliability_plot(
            report["calibration"]["reliability"], "int8, held-out fold, cross-fitted"
        ),
        CARD: card(folder.name, version, report, config, len(content)).encode(),
    }
    manifest = Manifest(
        format=1,
        name=folder.name,
        version=version,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        files={
            name: FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
            for name, data in files.items()
        },
        signature=None,
        input=InputSpec(width=SIZE, height=SIZE, colour="RGB", dtype="uint8", mean=MEAN, std=STD),
        outputs=OutputSpec(**Model(content, MAIN_RUNTIME).positions),
        temperature=report["calibration"]["temperature"],
        thresholds=report["calibration"]["thresholds"],
        metrics=_metrics(report),
        minimum_runtime=MINIMUM_RUNTIME,
        provenance={
            "backbone": "MobileNetV2 1.0/224, ImageNet (TF-slim checkpoint), batch norm folded",
            "data": f"TrashNet, folds other than {config['fold']}, by group",
            "recipe": config["recipe"],
            **_commit(),
            "versions": report["versions"],
        },
        licences={"backbone": "Apache-2.0", "data": "MIT (TrashNet)", "weights": "MIT"},
    )
    _write(folder, {**files, model_store.MANIFEST: manifest_json(manifest).encode()})
    made = open_package(folder)
    made.verify()
    for runtime in RUNTIMES:
        Classifier(made, runtime).check_golden()
    run.log(
        f"package: {made.id} in {folder.name}; golden inputs pass on {' and '.join(RUNTIMES)}, "
        f"which differ by {spread:.1f} steps at most"
    )
    return manifest


def golden_spread(content: bytes, golden: dict[str, np.ndarray]) -> float:
    """Largest difference of a logit between runtimes on the golden inputs, in steps."""
    worst = max(
        np.abs(Model(content, runtime).run(golden["inputs"]).logits - golden["logits"]).max()
        for runtime in RUNTIMES
    )
    return float(worst / golden["logit_step"])


def _metrics(report: dict) -> dict:
    """The part of the figures that a fleet may want to read from the manifest."""
    figures, calibration = report["runtimes"][MAIN_RUNTIME], report["calibration"]
    return {
        "accuracy": figures["accuracy"],
        "accuracy_interval": figures["accuracy_interval"],
        "macro_f1": figures["macro_f1"],
        "macro_f1_interval": figures["macro_f1_interval"],
        "float_accuracy": report["float"]["accuracy"],
        "ece": calibration["ece"],
        "accepted_share": calibration["accepted_share"],
        "accepted_precision": calibration["accepted_precision"],
        "per_class": figures["per_class"],
        "whole_frame_accuracy": {
            name: chamber["accuracy"] for name, chamber in report["chambers"].items()
        },
        "data": report["data"],
        "command": report["command"],
    }


def _commit() -> dict[str, str]:
    """The commit the workshop was at, or nothing outside a repository."""
    command = ["git", "-C", str(REPOSITORY), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": done.stdout.strip()}


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Write the files, the manifest last: a package without it is not taken for one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / model_store.MANIFEST).unlink(missing_ok=True)
        for name, content in files.items():
            aside = folder / f".{name}.part"
            aside.write_bytes(content)
            os.replace(aside, folder / name)
    except OSError as error:
        raise ExportError(f"{folder}: cannot write the package: {error}") from error
