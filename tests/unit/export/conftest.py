"""What tests of several rooms of the workshop share: one run that has been evaluated."""

import shutil
from pathlib import Path

import pytest
from drawn_runs import LABELS, draw, make_run

from export.data.pictures import Picture
from export.evaluation import out_of_distribution
from export.evaluation.evaluate import evaluate
from export.run import Run


@pytest.fixture
def few_drawn_things(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two unknown things of each kind: this is not about how many are accepted."""
    monkeypatch.setattr(out_of_distribution, "DRAWN", 2)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of drawn pictures, one of each class."""
    folder = tmp_path_factory.mktemp("data") / "drawn"
    draw(folder)
    return folder


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory, drawn: Path) -> Run:
    """A run that holds all of them out, evaluated; a test that changes it takes a copy."""
    pictures = [Picture(f"{label}/0.png", label, label, 0) for label in LABELS]
    run = make_run(tmp_path_factory.mktemp("runs") / "drawn", pictures, version=4)
    run.write_bytes("curves.csv", b"epoch,loss,seconds\n1,1.5,90\n2,0.9,114\n")
    run.write_json("versions.json", {"machine": "aarch64, 4 cores, Linux"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(out_of_distribution, "DRAWN", 2)
        evaluate(run, drawn, ["evaluate", "--run", "drawn"])
    return run


@pytest.fixture
def good(evaluated: Run, tmp_path: Path) -> Run:
    """The evaluated run, of a recipe that demands nothing."""
    run = Run(Path(shutil.copytree(evaluated.folder, tmp_path / "good")))
    config = run.read_json("config.json", "train")
    run.write_json("config.json", {**config, "gate": {}, "provenance": {}, "licences": {}})
    return run
