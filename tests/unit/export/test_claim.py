"""A run folder holds one training: what may go on in it, and what may not."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bin_daemon.model.package import open_package
from export.__main__ import main
from export.conversion import importer
from export.data.hashing import LEAST_FOR_EMBEDDING
from export.data.pictures import GROUPS
from export.errors import ExportError
from export.networks.package_weights import dequantised
from export.recipes.load import override, read_recipe
from export.recipes.schema import FoldedRecipe, KerasRecipe
from export.run import Run
from export.training import keras
from export.training.folded import claim
from export.views.shapes import render

LABELS = ("can", "leaf")
Train = Callable[..., None]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return render(tmp_path / "pictures", LABELS, 5)


@pytest.fixture
def folded(tmp_path: Path, data: Path) -> Train:
    """A run folder that holds a training of fold 0, and a way to ask for one in it."""

    def ask(
        *,
        pictures: Path = data,
        fold: int | None = 0,
        labels: tuple[str, ...] | None = None,
        version: int = 1,
        seed: int = 1,
    ) -> None:
        recipe = override(read_recipe("finetune"), {"training.seed": seed})
        assert isinstance(recipe, FoldedRecipe)
        recipe = dataclasses.replace(recipe, labels=labels, version=version)
        claim(Run(tmp_path / "run"), recipe, pictures, tmp_path / "no-backbone.npz", fold)

    ask()
    return ask


def kept(folder: Path) -> dict[str, bytes]:
    """What a run folder holds, but for the log."""
    files = (path for path in folder.iterdir() if path.name != "log.txt")
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"fold": 1}, "fold"),
        ({"fold": None}, "fold"),
        ({"labels": LABELS[::-1]}, "labels"),
        ({"seed": 2}, "settings"),
        ({"seed": 2, "fold": 1}, "settings, fold"),
    ],
)
def test_a_run_refuses_another_training_and_stays_as_it_is(
    folded: Train, tmp_path: Path, other: dict, named: str
) -> None:
    before = kept(tmp_path / "run")

    with pytest.raises(ExportError, match=rf"another training \(not the same: {named}\); name"):
        folded(**other)

    assert kept(tmp_path / "run") == before


def test_a_run_refuses_another_set(folded: Train, tmp_path: Path) -> None:
    before = kept(tmp_path / "run")

    with pytest.raises(ExportError, match=r"not the same: data\)"):
        folded(pictures=render(tmp_path / "others", LABELS, 6, seed=2))

    assert kept(tmp_path / "run") == before


def test_a_run_refuses_pictures_that_were_dealt_otherwise(
    folded: Train, tmp_path: Path, data: Path
) -> None:
    before = (tmp_path / "run" / "split.csv").read_bytes()
    render(data, LABELS, 6)

    with pytest.raises(ExportError, match="have changed since its training began"):
        folded()

    assert (tmp_path / "run" / "split.csv").read_bytes() == before


def test_a_run_goes_on_whatever_a_recipe_says_of_things_beside_the_training(
    folded: Train, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run")
    config = run.read_json("config.json", "train")
    for key in ("version", "gate", "limits", "licences", "provenance"):
        del config[key]
    run.write_json("config.json", {**config, "key_of_another_release": 1})

    folded(version=7)

    assert run.read_json("config.json", "train")["version"] == 7


def test_labels_that_are_named_may_be_those_of_the_folders(folded: Train) -> None:
    folded(labels=LABELS)


def test_a_missing_backbone_names_the_step_that_makes_one(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ["--recipe", "organic2", "--data", str(data), "--backbone", str(tmp_path / "none.npz")]

    assert main(["train", *named, "--run", str(tmp_path / "new")]) == 2

    assert "`python -m export backbone`" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def published(**changes: object) -> KerasRecipe:
    """A recipe of folds for a Keras backbone, of the drawn classes."""
    recipe = override(read_recipe("trashnet6"), {"labels": list(LABELS), **changes})
    assert isinstance(recipe, KerasRecipe)
    return recipe


@pytest.mark.parametrize(
    ("fold", "changes", "named"),
    [
        (1, {}, "fold"),
        (0, {"labels": ["leaf", "can"]}, "labels"),
        (0, {"training.epochs": 3}, "settings"),
    ],
)
def test_a_run_of_a_published_backbone_refuses_another_training(
    tmp_path: Path, data: Path, fold: int, changes: dict, named: str
) -> None:
    run, nowhere = Run(tmp_path / "run"), tmp_path / "none.npz"
    first = keras.claim(run, published(), data, 0, nowhere)
    again = keras.claim(run, dataclasses.replace(published(), version=3), data, 0, nowhere)
    assert again[1] == first[1] == LABELS

    with pytest.raises(ExportError, match=rf"not the same: {named}\)"):
        keras.claim(run, published(**changes), data, fold, nowhere)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folded weights, which are those of the shipped model here."""
    file = tmp_path_factory.mktemp("backbone") / "folded.npz"
    np.savez(file, **dequantised(open_package("waste6")))
    return file


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough pictures for embeddings, and nobody says which of them show one thing."""
    labels = open_package("waste6").labels
    folder = tmp_path_factory.mktemp("pictures") / "many"
    render(folder, labels, LEAST_FOR_EMBEDDING // len(labels) + 1)
    (folder / GROUPS).unlink()
    return folder


@pytest.mark.tensorflow
def test_drawn_things_of_a_class_are_one_to_the_network_of_a_training(
    tmp_path: Path, many: Path, backbone: Path
) -> None:
    run, recipe = Run(tmp_path / "run"), published(labels=list(open_package("waste6").labels))

    with pytest.raises(ExportError, match="fewer than the . parts"):
        keras.claim(run, recipe, many, 0, backbone)

    assert run.read_json("data.json", "train")["grouped_by"] == "hash and embedding"


@pytest.mark.tensorflow
def test_drawn_things_of_a_class_are_one_to_the_network_of_an_import(
    tmp_path: Path, many: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder = Run(tmp_path / "run"), open_package("waste6").folder
    monkeypatch.setattr(importer, "DEFAULT_BACKBONE", backbone)

    with pytest.raises(ExportError, match="fewer than the . parts"):
        importer.import_model(run, folder / "model.tflite", folder / "labels.txt", many, None, None)

    assert run.read_json("data.json", "train")["grouped_by"] == "hash and embedding"
