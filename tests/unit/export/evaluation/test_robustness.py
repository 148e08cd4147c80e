"""Disturbing pictures: the same every time, stronger means stronger, and the board alone goes."""

import numpy as np
import pytest

from export.evaluation import robustness
from export.evaluation.robustness import CONDITIONS, disturbed

SIDE = 96
EACH = pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)


def on_a_board() -> np.ndarray:
    """A striped red item on a nearly white board, uint8 (SIDE, SIDE, 3)."""
    rng = np.random.default_rng(5)
    square = np.full((SIDE, SIDE, 3), 225.0) + rng.normal(0, 2, (SIDE, SIDE, 1))
    square[30:70, 34:62] = (190, 40, 30)
    square[40:44, 34:62] = (60, 10, 90)
    return square.clip(0, 255).astype(np.uint8)


@EACH
def test_picture_strength_and_seed_alone_decide(condition: robustness.Condition) -> None:
    square, strength = on_a_board(), condition.strengths[-1]

    first = disturbed(square, condition, strength, 3)
    second = disturbed(square.copy(), condition, strength, 3)

    assert first is not None
    assert first.shape == square.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert np.array_equal(square, on_a_board())


@EACH
def test_a_stronger_disturbance_changes_more(condition: robustness.Condition) -> None:
    square = on_a_board()
    changed = [
        np.abs(disturbed(square, condition, strength, 3) - square.astype(float)).mean()
        for strength in condition.strengths
    ]

    assert changed[0] > 0.2
    assert changed == sorted(changed)


def condition(name: str) -> robustness.Condition:
    return next(one for one in CONDITIONS if one.name == name)


def test_half_the_light_is_half_of_linear_light() -> None:
    grey = np.full((SIDE, SIDE, 3), 200, np.uint8)

    dark = disturbed(grey, condition("dark"), 0.5, 0)

    assert dark[0, 0, 0] == round(255 * ((200 / 255) ** 2.2 / 2) ** (1 / 2.2))


def test_another_ground_leaves_the_item_as_it_is() -> None:
    square = on_a_board()

    moved = disturbed(square, condition("ground"), 0.85, 0)

    assert np.abs(moved[45:65, 40:56].astype(int) - square[45:65, 40:56]).max() <= 12
    assert moved[:10].max() < 80


def test_a_picture_without_a_board_has_no_ground_to_replace() -> None:
    pixels = np.random.default_rng(0).integers(0, 60, (SIDE, SIDE, 3), np.uint8)

    assert disturbed(pixels, condition("ground"), 0.3, 0) is None


def test_half_size_shows_the_picture_in_the_middle_of_its_own_board() -> None:
    small = disturbed(on_a_board(), condition("scale"), 0.5, 0)

    assert small[:20].min() > 200
    assert small[44, 46, 0] - int(small[44, 46, 1]) > 60


def judge_by_red(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A classifier that looks at the middle: class 1 for red; sure where it is bright."""
    middle = pictures[:, 40:60, 40:56].astype(float).mean(axis=(1, 2))
    return (middle[:, 0] > 1.5 * middle[:, 1]).astype(int), middle[:, 0] > 120


def test_the_table_tells_what_each_condition_costs() -> None:
    blank = np.random.default_rng(1).integers(0, 40, (SIDE, SIDE, 3), np.uint8)
    squares, truth = np.stack([on_a_board(), blank]), np.array([1, 0])

    rows = robustness.measure(squares, truth, 2, judge_by_red)
    by_name = {(row["condition"], row["strength"]): row for row in rows}

    clean = by_name["clean", None]
    assert (clean["accuracy"], clean["loss"], clean["accepted"]) == (1.0, 0.0, 1)
    assert len(rows) == 1 + sum(len(one.strengths) for one in CONDITIONS)
    assert by_name["dark", 0.1]["accepted"] == 0
    assert by_name["dark", 0.1]["accepted_precision"] is None
    # Only one of the two lies on a board: the loss is that of this one alone.
    assert by_name["ground", 0.6]["pictures"] == 1
    assert by_name["ground", 0.6]["loss"] == 0.0


def test_tables_of_several_models_are_summed_picture_by_picture() -> None:
    def table(right: int, wrong: int) -> list[dict]:
        found = np.array([0] * right + [1] * wrong)
        answer = (found, np.ones(len(found), bool))
        truth = np.zeros(len(found), int)
        about = {"condition": "dark", "text": "", "strength": 0.5}
        return [robustness.row(about, truth, 2, answer, clean_found=truth)]

    (row,) = robustness.summed([table(3, 1), table(6, 0)])

    assert row["pictures"] == 10
    assert row["accuracy"] == 0.9
    assert row["loss"] == pytest.approx(0.1)
    assert row["accepted_precision"] == 0.9
