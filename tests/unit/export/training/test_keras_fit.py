"""Keras's own training loop: it goes on where it was broken off, and says how it went."""

import csv
import shutil
from pathlib import Path

import pytest

from export.data.pictures import Picture, find_pictures, label_of
from export.recipes.load import override, read_recipe
from export.recipes.schema import KerasRecipe
from export.run import Run
from export.views.shapes import render

LABELS = ("can", "leaf")
SIDE = 32

pytestmark = pytest.mark.tensorflow


def recipe(epochs: int) -> KerasRecipe:
    changes = {"network.size": SIDE, "training.epochs": epochs, "training.batch": 4}
    made = override(read_recipe("organic-recyclable2"), {"labels": list(LABELS), **changes})
    assert isinstance(made, KerasRecipe)
    return made


def fit(folder: Path, epochs: int) -> Run:
    """Trains a small network on drawn pictures, in the run that lies in `folder`."""
    import keras

    from export.training.keras_fit import fit

    keras.utils.set_random_seed(1)
    pixels = keras.Input((SIDE, SIDE, 3))
    embedding = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(pixels))
    model = keras.Model(pixels, [keras.layers.Dense(2)(embedding), embedding])
    run = Run(folder / "run")
    run.create()
    files = find_pictures(folder / "pictures")
    pictures = [Picture(file, label_of(file), file, 0) for file in files]
    parts = {"train": pictures[::2], "validation": pictures[1::2]}
    fit(run, recipe(epochs), model, folder / "pictures", parts, LABELS)
    return run


def epochs_of(run: Run) -> list[str]:
    with run.path("curves.csv").open(newline="") as stream:
        return [row["epoch"] for row in csv.DictReader(stream)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    render(tmp_path / "pictures", LABELS, 10)
    return tmp_path


def test_each_epoch_has_a_row_and_a_line(folder: Path) -> None:
    run = fit(folder, 2)

    with run.path("curves.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert list(rows[0]) == [
        "epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "seconds"
    ]  # fmt: skip
    assert 0 <= float(rows[1]["validation_accuracy"]) <= 1
    assert f"train: epoch 2/2, loss {rows[1]['loss']}" in run.path("log.txt").read_text()


def test_a_training_goes_on_after_the_epochs_it_has(folder: Path) -> None:
    fit(folder, 1)
    run = fit(folder, 3)

    assert epochs_of(run) == ["1", "2", "3"]
    assert "train: goes on after epoch 1" in run.path("log.txt").read_text()


def test_a_checkpoint_that_was_torn_gives_way_to_the_one_before(folder: Path) -> None:
    checkpoint = fit(folder, 2).path("checkpoint")
    for name in ("latest.weights.h5", "training_metadata.json"):  # as before the next is written
        shutil.copy(checkpoint / name, checkpoint / f"{name}.bkp")
    last = checkpoint / "latest.weights.h5"
    last.write_bytes(last.read_bytes()[:1000])

    run = fit(folder, 3)

    assert epochs_of(run) == ["1", "2", "3"]
    assert "train: goes on after epoch 2" in run.path("log.txt").read_text()


def test_curves_of_a_training_without_checkpoint_are_started_again(folder: Path) -> None:
    shutil.rmtree(fit(folder, 2).path("checkpoint"))

    assert epochs_of(fit(folder, 1)) == ["1"]
