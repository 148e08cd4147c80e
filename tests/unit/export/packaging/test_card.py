"""Packaging an evaluated run: version, runtimes, gate, card, and what stood there before."""

import json
from pathlib import Path

import pytest
from drawn_runs import evaluation_of

from export.errors import ExportError
from export.packaging.card import card
from export.packaging.package import package
from export.run import Run


@pytest.mark.parametrize(("asked", "version"), [(None, 4), (7, 7)])
def test_the_recipe_names_the_version_unless_another_is_asked_for(
    good: Run, tmp_path: Path, asked: int | None, version: int
) -> None:
    made = package(good, tmp_path / "drawn", asked)

    assert made.version == version
    assert f"# drawn, version {version}\n" in (tmp_path / "drawn" / "card.md").read_text()


def test_a_package_names_those_runtimes_alone_that_take_it(good: Run, tmp_path: Path) -> None:
    told = evaluation_of(good)
    main = told["main_runtime"]
    for name in told["runtimes"].keys() - {main}:
        told["runtimes"][name] = {"refused": "op FANCY has version 9"}
    good.write_json("evaluation.json", told)

    assert package(good, tmp_path / "drawn").minimum_runtime == {main: told["versions"][main]}


def test_a_package_takes_the_place_of_the_one_before(good: Run, tmp_path: Path) -> None:
    folder = tmp_path / "drawn"
    made = package(good, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["confusion.png"] = manifest["files"]["card.md"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "confusion.png").touch()
    (folder / "notes.txt").touch()

    package(good, folder)

    assert {path.name for path in folder.iterdir()} == {*made.files, "manifest.json", "notes.txt"}


def test_what_the_gate_refuses_is_packaged_on_a_persons_word_which_the_card_repeats(
    good: Run, tmp_path: Path
) -> None:
    config = good.read_json("config.json", "train")
    good.write_json("config.json", {**config, "gate": {"accuracy": 1.1}})

    with pytest.raises(ExportError, match="misses it by"):
        package(good, tmp_path / "drawn")
    made = package(good, tmp_path / "drawn", despite="Better than nothing.")

    assert made.metrics["gate"]["despite"] == "Better than nothing."
    words = (tmp_path / "drawn/card.md").read_text(encoding="utf-8")
    assert "**Gate**: missed. Packaged all the same: Better than nothing." in words
    assert "at least 1.1 wanted: misses it by" in words


def test_the_card_says_how_long_the_training_took_and_where(good: Run) -> None:
    config, told = good.read_json("config.json", "train"), evaluation_of(good)

    def written() -> str:
        return card("drawn", 1, told, config, teachable=True)

    assert "3 minutes on aarch64, 4 cores, Linux" in written()
    del told["trained_on"]
    assert "3 minutes" in written()
    assert "aarch64" not in written()
    del told["minutes"]
    assert "minutes" not in written()
