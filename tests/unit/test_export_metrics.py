"""Figures of a classifier, against cases that can be worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from export import metrics
from export.data import group_order
from export.errors import ExportError
from export.evaluate import pool
from export.runs import Run


def test_a_confusion_table_has_the_truth_in_its_rows() -> None:
    table = metrics.confusion(np.array([1, 1, 0, 2]), np.array([0, 1, 0, 2]), 3)

    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert metrics.accuracy(table) == 0.75


def test_macro_f1_counts_every_class_the_same() -> None:
    table = np.array([[90, 0], [5, 5]])

    scores = metrics.per_class(table)

    assert scores["precision"] == pytest.approx([90 / 95, 1.0])
    assert scores["recall"] == pytest.approx([1.0, 0.5])
    assert metrics.macro_f1(table) == pytest.approx((180 / 185 + 10 / 15) / 2)


def test_a_class_that_never_occurs_scores_nought_without_a_warning() -> None:
    assert metrics.per_class(np.array([[3, 0], [0, 0]]))["f1"].tolist() == [1.0, 0.0]


def test_intervals_widen_when_pictures_share_groups() -> None:
    truth = np.zeros(200, int)
    found = np.repeat(np.arange(20) % 4 == 0, 10).astype(int)
    alone, together = np.arange(200), np.repeat(np.arange(20), 10)

    narrow = metrics.interval(metrics.accuracy, found, truth, alone, 2)
    wide = metrics.interval(metrics.accuracy, found, truth, together, 2)

    assert narrow[0] < 0.75 < narrow[1]
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_the_temperature_that_made_the_logits_is_found_again() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (6000, 4))
    truth = np.array([rng.choice(4, p=row) for row in metrics.probabilities(logits)])

    assert metrics.fit_temperature(logits * 1.8, truth) == pytest.approx(1.8, rel=0.08)


def test_calibration_error_is_the_gap_between_confidence_and_truth() -> None:
    sure = np.full(100, 0.9)
    right = np.arange(100) < 60

    assert metrics.calibration_error(sure, right) == pytest.approx(0.3)
    assert metrics.calibration_error(sure, np.arange(100) < 90) == pytest.approx(0.0)


def test_thresholds_reach_the_target_precision() -> None:
    rng = np.random.default_rng(1)
    sure = rng.uniform(0.5, 1.0, 8000)
    truth = (rng.random(8000) > sure).astype(int)  # right as often as it is sure
    probability = np.stack([sure, 1 - sure], axis=1)

    thresholds = metrics.fit_thresholds(probability, truth, 0.95)
    passed, right = metrics.accepted(probability, truth, thresholds)

    assert right[passed].mean() == pytest.approx(0.95, abs=0.01)
    assert passed.mean() > 0.1


def test_a_class_never_found_takes_the_common_threshold() -> None:
    probability = np.tile([0.9, 0.1], (40, 1))

    thresholds = metrics.fit_thresholds(probability, np.zeros(40, int), 0.9)

    assert thresholds.tolist() == [0.3, 0.3]


def test_a_handful_of_pictures_is_not_trusted_to_reach_the_target() -> None:
    probability = np.tile([0.9, 0.1], (5, 1))

    thresholds = metrics.fit_thresholds(probability, np.zeros(5, int), 0.97)

    assert thresholds.tolist() == [0.95, 0.95]


def test_a_group_lies_in_one_half_only() -> None:
    groups = np.repeat([str(i) for i in range(50)], 3)

    second = metrics.halves(groups, group_order).reshape(50, 3)

    assert (second.all(axis=1) | ~second.any(axis=1)).all()
    assert 10 < second[:, 0].sum() < 40


def evaluated(folder: Path, fold: int, recipe: dict) -> Run:
    run = Run(folder)
    run.create()
    run.write_json("config.json", {"fold": fold, "recipe": recipe})
    logits = np.eye(6)[np.arange(30) % 6] * 4.0
    truth = np.arange(30) % 6
    truth[:3] = (truth[:3] + 1 + fold) % 6
    groups = np.array([f"{fold}-{i}" for i in range(30)])
    np.savez(
        run.path("predictions.npz"), logits=logits, float_logits=logits, truth=truth, groups=groups
    )
    return run


def test_pooled_figures_count_every_held_out_picture_once(tmp_path: Path) -> None:
    runs = [evaluated(tmp_path / str(fold), fold, {"seed": 1}) for fold in range(2)]

    report = pool(runs[0], runs[1:])

    assert report["pictures"] == 60
    assert report["folds"] == [0, 1]
    assert report["int8"]["accuracy"] == pytest.approx(0.9)


def test_runs_that_do_not_belong_together_are_not_pooled(tmp_path: Path) -> None:
    first = evaluated(tmp_path / "a", 0, {"seed": 1})

    with pytest.raises(ExportError, match="some of them twice"):
        pool(first, [evaluated(tmp_path / "b", 0, {"seed": 1})])
    with pytest.raises(ExportError, match="different recipes"):
        pool(first, [evaluated(tmp_path / "c", 1, {"seed": 2})])
