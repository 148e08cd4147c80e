"""`python -m export`: what a person sees who asks for something that cannot be done."""

from pathlib import Path

import pytest

from export.__main__ import main
from export.runs import Run


@pytest.mark.parametrize(
    ("step", "asks_for"),
    [("quantize", "export train"), ("evaluate", "export quantize"), ("package", "export quantize")],
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
    assert main(["train", "--run", str(tmp_path / "run"), "--data", str(tmp_path / "void")]) == 2

    assert "groups.csv: no such file" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_fold_that_does_not_exist_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--run", str(tmp_path / "run"), "--fold", "5"]) == 2

    assert "--fold 5: must be 0 to 4" in capsys.readouterr().err


def test_an_unknown_step_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bake"])

    assert stop.value.code == 2
    assert "invalid choice: 'bake'" in capsys.readouterr().err


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
