"""Pooling the folds of a recipe: whose figures count, and what is shipped with them."""

from pathlib import Path

import pytest
from drawn_runs import LABELS, evaluation_of, make_run, predicted, without_own_figures

from export.errors import ExportError
from export.evaluation.evaluate import evaluate
from export.evaluation.pooling import pool
from export.report.page import report

pytestmark = pytest.mark.usefixtures("few_drawn_things")


def test_pooled_figures_count_every_held_out_picture_once(tmp_path: Path) -> None:
    runs = [without_own_figures(predicted(tmp_path / str(fold), fold)) for fold in range(3)]

    found = pool(runs[0], runs[1:], ["evaluate"])

    assert found["pictures"] == 600
    assert found["folds"] == [0, 1, 2]
    assert found["int8"]["accuracy"] == pytest.approx(0.985)
    assert found["calibration"]["ece"] < 0.02
    assert evaluation_of(runs[0])["pooled"]["pictures"] == 600


def test_a_model_of_all_pictures_takes_thresholds_and_figures_from_its_folds(
    tmp_path: Path, drawn: Path
) -> None:
    folds = [without_own_figures(predicted(tmp_path / str(fold), fold)) for fold in range(2)]
    whole = make_run(tmp_path / "whole", [])

    pool(whole, folds, ["evaluate"])
    found = evaluate(whole, drawn, [])
    page = report(whole, drawn).read_text()

    assert found["held_out"] is None
    assert found["agreement"]["on"] == "training pictures"
    assert found["pooled"]["folds"] == [0, 1]
    assert set(found["pooled"]["calibration"]["thresholds"]) == set(LABELS)
    assert "2 of 5 folds pooled" in page


def test_what_was_judged_with_other_thresholds_is_no_longer_reported(
    tmp_path: Path, drawn: Path
) -> None:
    folds = [without_own_figures(predicted(tmp_path / str(fold), fold)) for fold in range(3)]
    whole = make_run(tmp_path / "whole", [])
    pool(whole, folds[:2], ["evaluate"])
    assert evaluate(whole, drawn, [])["unknown"]

    pool(whole, folds[:2], ["evaluate"])
    assert evaluation_of(whole)["unknown"]
    pool(whole, folds, ["evaluate"])
    assert not evaluation_of(whole)["unknown"]


def test_a_run_without_any_figures_says_how_to_get_some(tmp_path: Path, drawn: Path) -> None:
    whole = make_run(tmp_path / "whole", [])
    evaluate(whole, drawn, [])

    with pytest.raises(ExportError, match="train its folds"):
        report(whole, drawn)


def test_runs_that_do_not_belong_together_are_not_pooled(tmp_path: Path) -> None:
    first = predicted(tmp_path / "a", 0)

    with pytest.raises(ExportError, match="each once is needed"):
        pool(first, [predicted(tmp_path / "b", 0)], [])
    with pytest.raises(ExportError, match="different recipes .settings differs"):
        pool(first, [predicted(tmp_path / "c", 1, settings={"seed": 2})], [])
    with pytest.raises(ExportError, match="different recipes .labels differs"):
        pool(first, [predicted(tmp_path / "d", 1, labels=["can", "cup"])], [])
    with pytest.raises(ExportError, match="different recipes .data differs"):
        pool(first, [predicted(tmp_path / "e", 1, data="another/set")], [])
    other = predicted(tmp_path / "f", 1)
    other.write_bytes("model.tflite", b"quantised anew")
    with pytest.raises(ExportError, match=r"of another model\.tflite; evaluate this one first"):
        pool(first, [other], [])
