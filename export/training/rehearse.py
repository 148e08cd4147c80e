"""Rehearse the recipes: train every published backbone for a few minutes on drawn pictures.

Shows whether each still learns, converts to int8, runs on each runtime, and decides there as it
does in float. It says nothing about how good a backbone is on real pictures.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.data.csv_tables import read_table
from export.data.pictures import GROUPS, load_squares, read_split
from export.errors import ExportError
from export.evaluation.runtimes import RUNTIMES, TfliteFile
from export.recipes.load import read_recipe
from export.run import DEFAULT_BACKBONE, REPOSITORY, Run
from export.views.shapes import render

LEAST_AGREEMENT = 0.95
TWO = ("organic", "recyclable")
NINE = tuple(f"class_{number}" for number in range(1, 10))


@dataclass(frozen=True, slots=True)
class Case:
    """One backbone in the recipe that it stands for.

    each: drawn pictures of a class. labels: where the recipe takes them from the folders.
    side: of the input in pixels. batch: pictures a step.
    frozen: train the head alone, on the folded ImageNet weights where they are there.
    """

    backbone: str
    recipe: str
    epochs: int
    each: int = 40
    labels: tuple[str, ...] = ()
    frozen: bool = False
    side: int = 96
    batch: int = 16
    learning_rate: float = 1e-3


CASES = (
    Case("MobileNetV2", "smartbin7", epochs=12, each=60, frozen=True, side=128),
    Case("MobileNetV3Small", "organic-recyclable2", 8, 60, TWO),
    Case("MobileNetV3Large", "waste9", epochs=10, labels=NINE),
    Case("EfficientNetB3", "household6", epochs=20, batch=8),
    Case("InceptionV3", "waste9", epochs=8, labels=NINE),
    Case("ResNet152", "organic-recyclable2", 20, 60, TWO, side=64, batch=8, learning_rate=3e-4),
)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a rehearsal showed.

    agreement: by runtime, the share of held-out pictures on which int8 decides as float does, or
    why the runtime refuses the file.
    """

    backbone: str
    recipe: str
    first_loss: float
    last_loss: float
    float_accuracy: float
    agreement: dict[str, float | str]
    seconds: float

    def faults(self) -> list[str]:
        """What is not as it should be; a runtime that refuses with a reason is no fault."""
        found = []
        if self.last_loss >= self.first_loss:
            found.append(f"the loss did not fall ({self.first_loss} to {self.last_loss})")
        shares = {name: share for name, share in self.agreement.items() if isinstance(share, float)}
        if not shares:
            found.append("no runtime takes the file")
        found += [
            f"int8 on {name} decides as float on {share:.1%} of the pictures only"
            for name, share in shares.items()
            if share < LEAST_AGREEMENT
        ]
        return found


def rehearse(
    folder: Path,
    names: Sequence[str] = (),
    *,
    python: str = sys.executable,
    weights: Path = DEFAULT_BACKBONE,
    changes: Sequence[str] = (),
) -> list[Rehearsal]:
    """Rehearse backbones one after the other, and print a table.

    folder: for drawn pictures and runs; unfinished runs go on. names: of backbones; none means all.
    python: an interpreter that has TensorFlow. weights: folded MobileNetV2 weights for the frozen
    case; from scratch without them. changes: KEY=VALUE for the recipe, after those of the
    rehearsal.

    Raises ExportError where a backbone is not known, a step failed, or an outcome is not as it
    should be.
    """
    known = [case.backbone for case in CASES]
    if unknown := set(names) - set(known):
        raise ExportError(
            f"no such backbone: {', '.join(sorted(unknown))}; known: {', '.join(known)}"
        )
    outcomes = []
    for case in CASES:
        if not names or case.backbone in names:
            outcomes.append(_rehearse(case, folder, python, weights, changes))
            print(table(outcomes[-1:]).splitlines()[-1], flush=True)
    print(table(outcomes), flush=True)
    faults = [f"- {one.backbone}: {fault}" for one in outcomes for fault in one.faults()]
    if faults:
        raise ExportError("\n".join(["not as it should be:", *faults]))
    return outcomes


def _rehearse(
    case: Case, folder: Path, python: str, weights: Path, changes: Sequence[str]
) -> Rehearsal:
    began = time.monotonic()
    labels = read_recipe(case.recipe).labels or case.labels
    pictures = folder / f"pictures-{len(labels)}x{case.each}"
    if not (pictures / GROUPS).is_file():  # which is written last
        render(pictures, labels, case.each)
    run = Run(folder / case.backbone)
    pretrained = case.frozen and weights.is_file()
    settings: dict[str, Any] = {
        "network.size": case.side,
        "network.trained": "head" if pretrained else "all",
        "network.head": "{dense: [64], dropout: 0.1}",
        "training.learning_rate": case.learning_rate,
        # Bounded logits: a few steps from scratch else leave outliers that stretch the int8 range.
        "training.label_smoothing": 0.1,
        "training.batch": case.batch,
        "training.epochs": case.epochs,
    }
    flags = [f"--set={key}={value}" for key, value in settings.items()]
    flags += [f"--set={change}" for change in changes]
    source = str(weights.resolve()) if pretrained else "none"
    named = ["--recipe", case.recipe, "--backbone-name", case.backbone, "--weights", source]
    where = ["--run", str(run.folder), "--data", str(pictures)]
    _step(python, "train", *named, *where, *flags)
    _step(python, "quantize", *where)
    return _rehearsal(case, run, pictures, time.monotonic() - began)


def _step(python: str, *arguments: str) -> None:
    """Run a step in a process of its own: TensorFlow disturbs tflite-runtime in one process."""
    command = [python, "-m", "export", *arguments]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=quiet, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise ExportError(f"`{' '.join(command[1:4])} ...` failed:\n{last}")


def _rehearsal(case: Case, run: Run, pictures: Path, seconds: float) -> Rehearsal:
    """Read the curves, and run the int8 file on each runtime."""
    rows = [row for _, row in read_table(run.path("curves.csv"), ("epoch", "loss"))]
    files = [picture.file for picture in read_split(run)["held_out"]]
    squares = load_squares(pictures, files, run.read_json("config.json", "train")["size"])
    content = run.need("model.tflite", "quantize").read_bytes()
    with np.load(run.path("float.npz")) as archive:
        decided, truth = archive["logits"].argmax(axis=1), archive["truth"]
    agreement: dict[str, float | str] = {}
    for runtime in RUNTIMES:
        try:
            found = TfliteFile(content, runtime).run(squares).logits.argmax(axis=1)
            agreement[runtime] = round(float(np.mean(found == decided)), 4)
        except ExportError as error:
            agreement[runtime] = str(error)
    first, last = (float(rows[at]["loss"]) for at in (0, -1))
    right = round(float(np.mean(decided == truth)), 4)
    outcome = Rehearsal(
        case.backbone, case.recipe, first, last, right, agreement, round(seconds, 1)
    )
    run.write_json("rehearsal.json", asdict(outcome))
    return outcome


def table(outcomes: Sequence[Rehearsal]) -> str:
    """The outcomes for a person, a line each."""
    rows = [("backbone", "recipe", "first loss", "last loss", "float right", *RUNTIMES, "seconds")]
    for one in outcomes:
        shares = [s if isinstance(s, str) else f"{s:.1%}" for s in one.agreement.values()]
        numbers = (f"{one.first_loss:.3f}", f"{one.last_loss:.3f}", f"{one.float_accuracy:.1%}")
        rows.append((one.backbone, one.recipe, *numbers, *shares, f"{one.seconds:.0f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
