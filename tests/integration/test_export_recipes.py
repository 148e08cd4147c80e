"""Published backbones, trained for real on drawn pictures; `make recipes` trains all of them."""

import csv
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from workshop_python import REPOSITORY, tensorflow_python

from bin_daemon.model.package import open_package
from export.evaluation.runtimes import Model
from export.networks.mobilenet import EMBEDDING
from export.networks.package_weights import dequantised
from export.run import Run
from export.training.rehearse import LEAST_AGREEMENT, Outcome, rehearse
from export.views.shapes import render

TINY = ("network.size=64", "training.epochs=6", "network.head.dropout=0")


@pytest.fixture(scope="module")
def python() -> str:
    return tensorflow_python()


def as_it_should_be(outcome: Outcome) -> None:
    assert outcome.last_loss < outcome.first_loss
    assert outcome.float_accuracy > 0.8
    assert all(share >= LEAST_AGREEMENT for share in outcome.agreement.values())
    assert set(outcome.agreement) == {"ai-edge-litert", "tflite-runtime"}


def test_a_small_backbone_learns_and_its_int8_file_agrees_on_both_runtimes(
    python: str, tmp_path: Path
) -> None:
    (outcome,) = rehearse(tmp_path, ["MobileNetV3Small"], python=python, changes=TINY)

    as_it_should_be(outcome)


def test_a_frozen_backbone_keeps_its_folded_weights_and_its_head_learns(
    python: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "folded.npz", **dequantised(open_package(REPOSITORY / "models" / "waste6")))

    (outcome,) = rehearse(
        tmp_path,
        ["MobileNetV2"],
        python=python,
        weights=tmp_path / "folded.npz",
        changes=("network.size=96", "training.epochs=6", "network.head.dropout=0"),
    )

    as_it_should_be(outcome)
    model = Model(Run(tmp_path / "MobileNetV2").path("model.tflite").read_bytes(), "tflite-runtime")
    found = model.run(np.zeros((1, 96, 96, 3), np.uint8))
    assert found.logits.shape == (1, 7)
    assert found.embedding.shape == (1, EMBEDDING)


def train(python: str, folder: Path, *more: str) -> list[str]:
    """The command of a small training of three epochs."""
    settings = ("network.size=64", "training.epochs=3", "training.batch=8", "training.seed=3")
    flags = [flag for setting in settings for flag in ("--set", setting)]
    where = ["--run", str(folder / "run"), "--data", str(folder / "pictures")]
    named = ["--recipe", "organic-recyclable2", "--backbone-name", "MobileNetV3Small"]
    return [python, "-m", "export", "train", *named, *where, *flags, *more]


def test_a_training_that_was_killed_goes_on_after_its_last_whole_epoch(
    python: str, tmp_path: Path
) -> None:
    render(tmp_path / "pictures", ("organic", "recyclable"), 20)
    command = [*train(python, tmp_path, "--weights", "none"), "--set", "network.trained=all"]
    log = tmp_path / "run" / "log.txt"
    first = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    try:
        while first.poll() is None and not (log.is_file() and "epoch 1/3" in log.read_text()):
            time.sleep(0.1)
    finally:
        first.kill()
        first.wait()

    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)

    text = log.read_text()
    assert "train: goes on after epoch" in text
    assert text.count("epoch 1/3") == 1
    with (tmp_path / "run" / "curves.csv").open(newline="") as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["1", "2", "3"]
    with np.load(tmp_path / "run" / "float.npz") as archive:
        assert archive["logits"].shape == (len(archive["truth"]), 2)
        assert archive["embedding"].shape == (len(archive["truth"]), 576)


def test_imagenet_weights_that_cannot_be_had_are_never_replaced_in_silence(
    python: str, tmp_path: Path
) -> None:
    render(tmp_path / "pictures", ("organic", "recyclable"), 20)
    nowhere = {"https_proxy": "http://127.0.0.1:9", "KERAS_HOME": str(tmp_path / "keras")}

    done = subprocess.run(
        train(python, tmp_path),
        cwd=REPOSITORY,
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "the ImageNet weights of MobileNetV3Small cannot be had from Keras" in done.stderr
    assert "--weights none" in done.stderr
    assert not (tmp_path / "run" / "model.keras").exists()
