"""Make the model package of a run that has been evaluated: the folder that a bin installs.

The manifest with the hash of each file is written last. Before, the package is opened elsewhere as
the daemon does, and its golden inputs run on every runtime.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.errors import ModelError
from bin_daemon.core.files import READABLE, write_whole
from bin_daemon.core.messages import Array
from bin_daemon.model import package as model_store
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.package import (
    FileEntry,
    InputSpec,
    Manifest,
    OutputSpec,
    open_package,
)
from bin_daemon.model.runtime import Runtime
from export.conversion.golden import TOLERANCE_STEPS, pack, record
from export.errors import ExportError
from export.evaluation import gate
from export.evaluation.evaluate import read_evaluation
from export.evaluation.runtimes import RUNTIMES, TfliteFile
from export.networks.mobilenet import MEAN, STD
from export.packaging.card import card
from export.report.plots import confusion_plot, reliability_plot
from export.run import REPOSITORY, Run

CARD = "card.md"
CONFUSION = "confusion.svg"
RELIABILITY = "reliability.svg"
MINIMUM_RUNTIME = {"ai-edge-litert": "1.0.1", "tflite-runtime": "2.14.0"}
"""Oldest releases on which the golden inputs of a folded network were seen to pass."""


def package(
    run: Run, folder: Path, version: int | None = None, *, despite: str | None = None
) -> Manifest:
    """Write the package of an evaluated run into `folder`, in place of the one that it held.

    The model is named after the folder; `version` is the recipe's unless given. `despite` says why
    it is packaged although the gate refuses it, which card and manifest repeat.

    Raises ExportError where a step before is missing, the figures are of another model file, or the
    gate refuses them; ModelError where the finished package fails its own golden inputs on a
    runtime.
    """
    content = run.need("model.tflite", "quantize").read_bytes()
    report, config = read_evaluation(run), run.read_json("config.json", "train")
    # The run may ask for other things by now than when the figures were made.
    report["gate"] = gate.verdict(report, gate.demands(config))
    if despite is None:
        gate.refuse_what_misses(report["gate"])
    elif not report["gate"]["passed"]:
        report["gate"]["despite"] = despite
    version = version or config.get("version", 1)
    runtimes = [name for name in RUNTIMES if "invoke_ms" in report["runtimes"].get(name, {})]
    golden = record(content)
    spread = golden_spread(content, golden, runtimes)
    if spread > TOLERANCE_STEPS / 2:
        raise ExportError(
            f"runtimes differ by {spread:.1f} steps on the golden inputs, more than half of the "
            f"{TOLERANCE_STEPS} allowed: too little is left for other processors"
        )
    figures, labels = gate.quoted(report), config["labels"]
    table, bins = np.array(figures["int8"]["confusion"]), figures["calibration"]["reliability"]
    files = {
        model_store.MODEL: content,
        model_store.LABELS: ("\n".join(labels) + "\n").encode(),
        model_store.GOLDEN: pack(golden),
        CONFUSION: confusion_plot(table, labels, "int8: held-out pictures").encode(),
        RELIABILITY: reliability_plot(bins, "int8, cross-fitted").encode(),
    }
    outputs = OutputSpec(**TfliteFile(content, report["main_runtime"]).positions)
    teachable = outputs.embedding is not None
    files[CARD] = card(folder.name, version, report, config, teachable=teachable).encode()
    manifest = _manifest(folder.name, version, config, report, files, outputs, runtimes)
    text = json.dumps(asdict(manifest), indent=2, ensure_ascii=False) + "\n"
    files[model_store.MANIFEST] = text.encode()
    with tempfile.TemporaryDirectory() as tried:
        # Opened as the daemon does, apart from the package that it takes the place of.
        apart = Path(tried) / folder.name
        _write(apart, files)
        made = open_package(apart)
        made.verify()
        for runtime in runtimes:
            Classifier(made, runtime).check_golden()
    _write(folder, files)
    run.log(
        f"package: {manifest.name}@{manifest.version} in {folder.name}; golden inputs pass on "
        f"{' and '.join(runtimes)}, which differ by {spread:.1f} steps at most"
    )
    return manifest


def _manifest(
    name: str,
    version: int,
    config: dict[str, Any],
    report: dict[str, Any],
    files: dict[str, bytes],
    outputs: OutputSpec,
    runtimes: Sequence[Runtime],
) -> Manifest:
    """The manifest of the package that holds `files` and runs on `runtimes`."""
    calibration, size = gate.quoted(report)["calibration"], config["size"]
    pixels = config.get("input", {"mean": MEAN, "std": STD})
    mean, std = tuple(pixels["mean"]), tuple(pixels["std"])
    tested = MINIMUM_RUNTIME if config["kind"] == "folded" else report["versions"]
    return Manifest(
        format=1,
        name=name,
        version=version,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        files={
            file: FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
            for file, data in files.items()
        },
        signature=None,
        input=InputSpec(width=size, height=size, colour="RGB", dtype="uint8", mean=mean, std=std),
        outputs=outputs,
        temperature=calibration["temperature"],
        thresholds=calibration["thresholds"],
        metrics=_metrics(report),
        minimum_runtime={runtime: tested[runtime] for runtime in runtimes},
        provenance={
            **config["provenance"],
            "recipe": config["recipe"],
            "settings": config["settings"],
            **_commit(),
            "versions": report["versions"],
        },
        licences=config["licences"],
    )


def golden_spread(content: bytes, golden: dict[str, Array], runtimes: Sequence[Runtime]) -> float:
    """Largest difference of a logit between runtimes on the golden inputs, in steps."""
    worst = max(
        np.abs(TfliteFile(content, runtime).run(golden["inputs"]).logits - golden["logits"]).max()
        for runtime in runtimes
    )
    return float(worst / golden["logit_step"])


def _metrics(report: dict[str, Any]) -> dict[str, Any]:
    """The part of the figures that a fleet may want to read from the manifest."""
    figures = gate.quoted(report)
    int8, plain, calibration = figures["int8"], figures["float"], figures["calibration"]
    measured = ("accuracy", "accuracy_interval", "macro_f1", "macro_f1_interval", "per_class")
    fitted = ("ece", "accepted_share", "accepted_precision", "target_precision")
    return {
        **{name: int8[name] for name in measured},
        **{name: calibration[name] for name in (*fitted, "residual_labels")},
        "float_accuracy": plain["accuracy"] if plain else None,
        "macro_auc": figures["roc"]["macro_auc"],
        "chambers": {
            name: {step: found["accuracy"] for step, found in chamber["steps"].items()}
            for name, chamber in report["chambers"].items()
        },
        "unknown": report["unknown"],
        "gate": report["gate"],
        "data": figures["data"],
        "command": report["command"],
    }


def _commit() -> dict[str, str]:
    """The commit of the workshop, with "-dirty" where its code was changed; none without git."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(REPOSITORY), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--", "export", "bin_daemon")
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": f"{commit}-dirty" if changed else commit}


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Write the files, the manifest last: a package without it is not taken for one.

    What a former package in the folder lists and this one does not is removed.
    """
    try:
        former = set(open_package(folder).manifest.files)
    except ModelError:  # there is none, or it is damaged: then nobody knows what was its own
        former = set()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / model_store.MANIFEST).unlink(missing_ok=True)
        for name in former - files.keys():
            (folder / name).unlink(missing_ok=True)
        for name, content in files.items():
            write_whole(folder / name, content, synced=False, mode=READABLE)
    except OSError as error:
        raise ExportError(f"{folder}: cannot write the package: {error}") from error
