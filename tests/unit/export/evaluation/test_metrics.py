"""Figures of a classifier and what is fitted to it, against cases worked out by hand."""

import numpy as np
import pytest

from bin_daemon.core.softmax import softmax
from bin_daemon.model import calibration
from bin_daemon.model.calibration import GRID, fit_temperature, fit_thresholds, wilson_bounds
from export.data.pictures import group_order
from export.evaluation import figures, metrics


def test_a_confusion_table_has_the_truth_in_its_rows() -> None:
    table = calibration.confusion(np.array([1, 1, 0, 2]), np.array([0, 1, 0, 2]), 3)

    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert calibration.accuracy(table) == 0.75


def test_macro_f1_counts_every_class_the_same() -> None:
    table = np.array([[90, 0], [5, 5]])

    scores = calibration.per_class(table)

    assert scores["precision"] == pytest.approx([90 / 95, 1.0])
    assert scores["recall"] == pytest.approx([1.0, 0.5])
    assert calibration.macro("f1", table) == pytest.approx((180 / 185 + 10 / 15) / 2)


def test_a_class_that_never_occurs_scores_nought_without_a_warning() -> None:
    assert calibration.per_class(np.array([[3, 0], [0, 0]]))["f1"].tolist() == [1.0, 0.0]


def test_macro_averages_leave_out_a_class_without_pictures() -> None:
    table = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])

    assert calibration.macro("recall", table) == pytest.approx((0.75 + 1.0) / 2)
    assert calibration.macro("precision", table) == pytest.approx((1.0 + 0.8) / 2)


def test_intervals_widen_when_pictures_share_groups() -> None:
    truth = np.zeros(200, int)
    found = np.repeat(np.arange(20) % 4 == 0, 10).astype(int)
    alone, together = np.arange(200), np.repeat(np.arange(20), 10)

    narrow = metrics.interval(
        calibration.accuracy, calibration.resampled(found, truth, alone, 2, 2000)
    )
    wide = metrics.interval(
        calibration.accuracy, calibration.resampled(found, truth, together, 2, 2000)
    )

    assert narrow[0] < 0.75 < narrow[1]
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_a_roc_curve_counts_each_pair_of_positive_and_negative() -> None:
    score = np.array([0.9, 0.8, 0.7, 0.6])
    positive = np.array([True, False, True, False])

    false_rate, true_rate = metrics.roc(score, positive)

    assert list(zip(false_rate, true_rate, strict=True)) == [
        (0.0, 0.0),
        (0.0, 0.5),
        (0.5, 0.5),
        (0.5, 1.0),
        (1.0, 1.0),
    ]
    assert metrics.area_under(false_rate, true_rate) == pytest.approx(3 / 4)


def test_scores_that_tell_nothing_have_half_the_area_under_their_roc() -> None:
    curve = metrics.roc(np.full(10, 0.5), np.arange(10) < 3)

    assert metrics.area_under(*curve) == pytest.approx(0.5)


def test_coverage_rises_and_precision_is_that_of_what_is_accepted() -> None:
    confidence = np.array([0.6, 0.9, 0.8, 0.6])
    right = np.array([False, True, True, True])

    threshold, coverage, precision = metrics.coverage_precision(confidence, right)

    assert threshold.tolist() == [0.9, 0.8, 0.6]
    assert coverage.tolist() == [0.25, 0.5, 1.0]
    assert precision.tolist() == [1.0, 1.0, 0.75]


def test_a_thinned_curve_keeps_its_ends() -> None:
    points = metrics.thinned(np.arange(1000.0), np.arange(1000.0) / 7)

    assert len(points) == metrics.CURVE_POINTS
    assert points[0] == [0.0, 0.0]
    assert points[-1] == [999.0, 142.7143]


def test_what_goes_where_the_unsure_goes_is_never_accepted() -> None:
    probability = np.array([[0.9, 0.1], [0.1, 0.9]])

    passed, right = calibration.accepted(
        probability, np.array([0, 1]), np.array([0.5, 0.5]), frozenset({1})
    )

    assert passed.tolist() == [True, False]
    assert right.tolist() == [True, True]


def test_the_temperature_that_made_the_logits_is_found_again() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (6000, 4))
    truth = np.array([rng.choice(4, p=row) for row in softmax(logits)])

    assert fit_temperature(logits * 1.8, truth) == pytest.approx(1.8, rel=0.08)


def test_calibration_error_is_the_gap_between_confidence_and_truth() -> None:
    sure = np.full(100, 0.9)
    right = np.arange(100) < 60

    assert metrics.calibration_error(sure, right) == pytest.approx(0.3)
    assert metrics.calibration_error(sure, np.arange(100) < 90) == pytest.approx(0.0)


def judged(rng: np.random.Generator, count: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a classifier that is right as often as it is sure, and the truth."""
    sure = rng.beta(10, 0.7, count).clip(0.51, 0.999)
    found = rng.integers(0, classes, count)
    probability = np.repeat(((1 - sure) / (classes - 1))[:, None], classes, axis=1)
    probability[np.arange(count), found] = sure
    wrong = (found + rng.integers(1, classes, count)) % classes
    return probability, np.where(rng.random(count) < sure, found, wrong)


@pytest.mark.parametrize("target", [0.95, 0.985])
def test_thresholds_keep_their_word_on_pictures_they_were_not_fit_on(target: float) -> None:
    rng = np.random.default_rng(1)
    probability, truth = judged(rng, 30_000, 4)
    kept = []
    for _ in range(10):
        mine = judged(rng, 1500, 4)
        thresholds = fit_thresholds(*mine, target)
        passed, right = calibration.accepted(probability, truth, thresholds)
        kept.append((right[passed].mean(), passed.mean()))
    precision, coverage = np.mean(kept, axis=0)

    assert target <= precision <= target + 0.5 * (1 - target)
    assert coverage > 0.15


def test_only_a_class_that_is_surer_than_it_should_be_gets_a_higher_threshold() -> None:
    rng = np.random.default_rng(2)
    probability, truth = judged(rng, 6000, 3)
    misled = (probability.argmax(axis=1) == 2) & (rng.random(6000) < 0.2)
    truth[misled & (probability.max(axis=1) < 0.97)] = 0

    thresholds = fit_thresholds(probability, truth, 0.95)

    assert thresholds[0] == thresholds[1] < 0.95
    assert thresholds[2] > thresholds[0] + 0.05


def test_a_class_never_found_takes_the_common_threshold() -> None:
    probability = np.tile([0.9, 0.1], (400, 1))

    thresholds = fit_thresholds(probability, np.zeros(400, int), 0.9)

    assert thresholds.tolist() == [0.3, 0.3]


def test_a_handful_of_pictures_is_not_trusted_to_reach_the_target() -> None:
    probability = np.tile([0.9, 0.1], (5, 1))

    thresholds = fit_thresholds(probability, np.zeros(5, int), 0.97)

    assert thresholds.tolist() == [GRID[-1]] * 2


def test_mistakes_for_the_residual_class_cost_no_coverage() -> None:
    probability, truth = judged(np.random.default_rng(3), 4000, 3)
    confused = (probability.argmax(axis=1) == 2) & (np.arange(4000) % 2 == 0)
    truth = np.where(confused, 0, truth)

    with_it = fit_thresholds(probability, truth, 0.95)
    without = fit_thresholds(probability, truth, 0.95, frozenset({2}))

    passed, right = calibration.accepted(probability, truth, without, frozenset({2}))
    assert without[0] <= with_it[0]
    assert right[passed].mean() >= 0.95


def test_a_wilson_bound_is_that_of_the_textbook() -> None:
    low, high = wilson_bounds(np.array([8, 0]), np.array([10, 0]), z=1.96)

    assert (low[0], high[0]) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert (low[1], high[1]) == pytest.approx((0.0, 1.0), abs=1e-6)


def test_no_part_is_judged_with_what_was_fit_on_it() -> None:
    logits = np.array([[3.0, 0.0]] * 800)
    truth, part = np.repeat([0, 1], 400), np.repeat([0, 1], 400)
    judged = figures.Judged(("can", "leaf"), logits, None, truth, np.arange(800), part)

    found = figures.block(judged, data="drawn", method="by halves", target=0.9)["calibration"]

    # The first half, all hits, was fit on mistakes alone and trusts nothing; the second trusts all.
    assert found["accepted"] == 400
    assert found["accepted_right"] == 0
    assert found["ece"] > 0.5


def test_a_group_lies_in_one_half_only() -> None:
    groups = np.repeat([str(i) for i in range(50)], 3)

    second = figures.halves(groups).reshape(50, 3)

    assert (second == second[:, :1]).all()
    assert 10 < second[:, 0].sum() < 40


def test_there_are_two_halves_even_where_the_hashes_agree() -> None:
    alike = [str(i) for i in range(100) if group_order(str(i))[-1] & 1][:4]

    halves = figures.halves(np.array(alike))

    assert halves.tolist() == [1, 0, 0, 0]
