"""`python -m export`: what a person sees who asks for something that cannot be done."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from export.__main__ import main
from export.data import fetch
from export.run import Run


@pytest.mark.parametrize(
    ("step", "asks_for"),
    [
        ("quantize", "export train"),
        ("evaluate", "export quantize"),
        ("report", "export quantize"),
        ("package", "export quantize"),
    ],
)
def test_a_step_names_the_one_to_run_before_it(
    step: str, asks_for: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([step, "--run", str(tmp_path / "none")]) == 2

    message = capsys.readouterr().err
    assert asks_for in message
    assert "Traceback" not in message


def test_a_folder_without_pictures_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", "--recipe", "smartbin7", "--run", str(run), "--data", "/void"]) == 2

    assert "/void: no such folder" in capsys.readouterr().err
    assert not (run / "config.json").exists()


def test_pictures_that_no_program_can_fetch_are_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "--recipe", "smartbin7"]) == 2

    assert "name a folder with one folder per class with --data" in capsys.readouterr().err


def test_no_checksum_is_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetch, "SETS", tmp_path)

    assert main(["train", "--recipe", "waste9"]) == 2

    message = capsys.readouterr().err
    assert "--sha256" in message
    assert "--data" in message


def test_a_fold_that_does_not_exist_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "--run", str(tmp_path / "run"), "--fold", "5"])

    assert stop.value.code == 2
    assert "argument --fold: '5'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "step",
    [
        "train",
        "quantize",
        "evaluate",
        "report",
        "package",
        "import",
        "recipes",
        "backbone",
        "groups",
        "masks",
        "teach-figures",
        "reel",
        "studio",
    ],
)
def test_every_step_explains_itself(step: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([step, "--help"])

    assert stop.value.code == 0
    assert f"usage: python -m export {step} " in capsys.readouterr().out


def test_teaching_is_not_measured_without_a_chamber(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["teach-figures", "--data", str(tmp_path), "--chamber", "chamber_b"]) == 2

    assert "labels.csv" in capsys.readouterr().err


def test_an_unknown_step_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bake"])

    assert stop.value.code == 2
    assert "invalid choice: 'bake'" in capsys.readouterr().err


def test_an_unknown_recipe_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--recipe", "bread"]) == 2

    assert "smartbin7" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("training.epoch=3", "did you mean 'epochs'"),
        ("training.batch=1", "training.batch: "),
        ("network.backbone=VGG16", "network.backbone: "),
    ],
)
def test_a_setting_that_the_recipe_cannot_have_is_refused(
    setting: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--recipe", "smartbin7", "--set", setting]) == 2

    assert complaint in capsys.readouterr().err


def test_a_setting_without_a_value_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "--set", "training.epochs"])

    assert stop.value.code == 2
    assert "is not KEY=VALUE" in capsys.readouterr().err


def test_import_takes_only_files_of_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"")
    given = ["import", str(file), "--labels", "labels.txt", "--calibrate", str(tmp_path)]

    assert main([*given, "--name", str(tmp_path / "run")]) == 2

    assert "must be a file that ends in .keras, .h5" in capsys.readouterr().err


def test_an_unknown_backbone_is_not_rehearsed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recipes", "VGG16", "--to", str(tmp_path)]) == 2

    assert "no such backbone: VGG16" in capsys.readouterr().err


def test_a_run_keeps_files_whole_and_a_log_in_order(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.create()

    run.write_json("figures.json", {"b": 1, "a": [0.5]})
    run.log("first")
    run.log("second")

    assert run.read_json("figures.json", "evaluate") == {"a": [0.5], "b": 1}
    assert [line.split(" ", 1)[1] for line in run.path("log.txt").read_text().splitlines()] == [
        "first",
        "second",
    ]
    assert {path.name for path in run.folder.iterdir()} == {"figures.json", "log.txt"}


def test_import_says_what_it_needs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["import"]) == 2
    assert "--labels and --calibrate; or --annotations" in capsys.readouterr().err

    assert main(["import", "--annotations", str(tmp_path)]) == 2
    assert "needs --to" in capsys.readouterr().err


def test_annotated_pictures_become_folders(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((80, 90, 3), 120, np.uint8))
    corners = [[20, 20], [60, 20], [60, 70], [20, 70]]
    shape = {"label": "can", "points": corners, "shape_type": "polygon"}
    told = {"imagePath": "a.png", "imageHeight": 80, "imageWidth": 90, "shapes": [shape]}
    (tmp_path / "a.json").write_text(json.dumps(told))
    made = tmp_path / "made"

    assert main(["import", "--annotations", str(tmp_path / "a.json"), "--to", str(made)]) == 0

    assert len(list((made / "crops" / "can").glob("*.png"))) == 1
    assert len(list((made / "cutouts" / "can").glob("*.png"))) == 1
