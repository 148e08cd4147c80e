"""Published backbones, trained for real on drawn pictures; `make recipes` trains all of them."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from workshop_python import REPOSITORY, tensorflow_python

from bin_daemon.model.package import open_package
from export.evaluation.runtimes import TfliteFile
from export.networks.mobilenet import EMBEDDING
from export.networks.package_weights import dequantised
from export.run import Run
from export.training.rehearse import LEAST_AGREEMENT, Rehearsal, rehearse
from export.views.shapes import render

EPOCHS = 6
SMALL = ("network.size=64", f"training.epochs={EPOCHS}", "network.head.dropout=0")
REHEARSE = """
import sys
from pathlib import Path
from export.training.rehearse import rehearse

folder, name, python, *changes = sys.argv[1:]
rehearse(Path(folder), [name], python=python, changes=changes)
"""


@pytest.fixture(scope="module")
def python() -> str:
    return tensorflow_python()


def check(outcome: Rehearsal) -> None:
    """The backbone learnt, and its int8 file decides as it does on both runtimes."""
    assert outcome.last_loss < outcome.first_loss
    assert outcome.float_accuracy > 0.8
    assert all(share >= LEAST_AGREEMENT for share in outcome.agreement.values())
    assert set(outcome.agreement) == {"ai-edge-litert", "tflite-runtime"}


@dataclass(frozen=True, slots=True)
class Resumed:
    """A rehearsal that was killed in its training and called again.

    finished: the epochs in its log when it was killed.
    """

    run: Run
    finished: int
    outcome: Rehearsal


@pytest.fixture(scope="module")
def resumed(python: str, tmp_path_factory: pytest.TempPathFactory) -> Resumed:
    folder = tmp_path_factory.mktemp("resumed")
    run = Run(folder / "MobileNetV3Small")
    log = run.path("log.txt")
    first = subprocess.Popen(
        [sys.executable, "-c", REHEARSE, str(folder), run.folder.name, python, *SMALL],
        cwd=REPOSITORY,
        start_new_session=True,  # so that the training that it starts is killed with it
        stdout=subprocess.DEVNULL,
    )
    try:
        while first.poll() is None and not (log.is_file() and "epoch 1/" in log.read_text()):
            time.sleep(0.1)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    finished = log.read_text().count(f"/{EPOCHS}")

    (outcome,) = rehearse(folder, [run.folder.name], python=python, changes=SMALL)

    return Resumed(run, finished, outcome)


def test_a_training_that_was_killed_goes_on_after_its_last_whole_epoch(resumed: Resumed) -> None:
    text = resumed.run.path("log.txt").read_text()

    assert 1 <= resumed.finished < EPOCHS
    assert f"train: goes on after epoch {resumed.finished}" in text
    assert text.count(f"epoch {resumed.finished}/{EPOCHS}") == 1
    with resumed.run.path("curves.csv").open(newline="") as stream:
        epochs = [int(row["epoch"]) for row in csv.DictReader(stream)]
    assert epochs == list(range(1, EPOCHS + 1))
    with np.load(resumed.run.path("float.npz")) as archive:
        assert archive["logits"].shape == (len(archive["truth"]), 2)
        assert archive["embedding"].shape == (len(archive["truth"]), 576)


def test_a_small_backbone_learns_and_its_int8_file_agrees_on_both_runtimes(
    resumed: Resumed,
) -> None:
    check(resumed.outcome)


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

    check(outcome)
    model = TfliteFile(
        Run(tmp_path / "MobileNetV2").path("model.tflite").read_bytes(), "tflite-runtime"
    )
    found = model.run(np.zeros((1, 96, 96, 3), np.uint8))
    assert found.logits.shape == (1, 7)
    assert found.embedding.shape == (1, EMBEDDING)


def test_imagenet_weights_that_cannot_be_had_are_never_replaced_in_silence(
    python: str, tmp_path: Path
) -> None:
    render(tmp_path / "pictures", ("organic", "recyclable"), 20)
    nowhere = {"https_proxy": "http://127.0.0.1:9", "KERAS_HOME": str(tmp_path / "keras")}
    named = ["--recipe", "organic-recyclable2", "--backbone-name", "MobileNetV3Small"]
    where = ["--run", str(tmp_path / "run"), "--data", str(tmp_path / "pictures")]

    done = subprocess.run(
        [python, "-m", "export", "train", *named, *where, "--set", "network.size=64"],
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
