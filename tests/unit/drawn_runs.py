"""Run folders of drawn pictures with the shipped model, as the steps of the workshop leave them."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np

from export.data.pictures import Picture, write_split
from export.run import REPOSITORY, Run

MODEL = REPOSITORY / "models" / "waste6" / "model.tflite"
LABELS = ["cardboard", "glass", "metal", "paper", "plastic", "trash"]
ONE = Picture("glass/0.png", "glass", "a", 0)


def draw(folder: Path) -> None:
    """A picture of each class: a coloured box on a plain background."""
    rng = np.random.default_rng(0)
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        canvas = np.full((80, 96, 3), 228, np.uint8)
        colour = tuple(int(level) for level in rng.integers(0, 200, 3))
        cv2.rectangle(canvas, (30, 20), (66, 60), colour, -1)
        cv2.imwrite(str(folder / label / "0.png"), canvas)


def make_run(folder: Path, held_out: list[Picture], fold: int | None = None, **more: object) -> Run:
    """A quantised run with the shipped model that holds these pictures out."""
    run = Run(folder)
    run.create()
    config = {
        "recipe": "drawn",
        "kind": "imported",
        "labels": LABELS,
        "size": 224,
        "settings": {},
        "data": "drawn",
        "fold": fold,
        "residual_labels": ["trash"],
        "gate": {"accuracy": 0.999, "kilobytes": 4000},
    }
    run.write_json("config.json", {**config, **more})
    shown = [Picture("metal/0.png", "metal", "shown", 0)]
    write_split(run, {"train": shown, "held_out": held_out})
    run.write_bytes("model.tflite", MODEL.read_bytes())
    return run


def evaluation_of(run: Run) -> dict:
    return json.loads(run.path("evaluation.json").read_text())


def predicted(folder: Path, fold: int, **more: object) -> Run:
    """An evaluated run of one fold: 200 pictures, of which three are wrong, all as sure."""
    held_out = [Picture(f"metal/{fold}-{i}.png", "metal", f"{fold}-{i}", 0) for i in range(200)]
    run = make_run(folder, held_out, fold, **more)
    truth = np.arange(200) % 6
    logits = np.eye(6)[truth] * 6.0
    truth[:3] = (truth[:3] + 1 + fold) % 6
    np.savez(
        run.path("predictions.npz"),
        files=np.array([picture.file for picture in held_out]),
        logits=logits,
        float_logits=logits,
        truth=truth,
        groups=np.array([picture.group for picture in held_out]),
    )
    content = run.need("model.tflite", "quantize").read_bytes()
    found = {"robustness": [], "runtimes": {}, "model_bytes": 1}
    found["model_sha256"] = hashlib.sha256(content).hexdigest()
    run.write_json("evaluation.json", found)
    return run


def without_own_figures(run: Run) -> Run:
    found = evaluation_of(run)
    run.write_json("evaluation.json", {**found, "held_out": None})
    return run
