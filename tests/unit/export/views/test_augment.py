"""Random changes to training pictures: repeatable, and of the shape the network is fed."""

import cv2
import numpy as np
import pytest

from export.views.augment import augment, blend, in_weak_light, recolour, rewarp


def picture(side: int = 96) -> np.ndarray:
    rng = np.random.default_rng(3)
    return cv2.resize(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), (side, side))


def test_the_same_generator_gives_the_same_picture() -> None:
    first = augment(picture(), 64, np.random.default_rng(9))
    again = augment(picture(), 64, np.random.default_rng(9))

    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, augment(picture(), 64, np.random.default_rng(10)))


def test_what_lies_outside_continues_the_border() -> None:
    plain = np.full((96, 96, 3), (200, 190, 180), np.uint8)

    for seed in range(40):
        warped = rewarp(plain, 64, np.random.default_rng(seed)).astype(int)
        assert np.abs(warped - (200, 190, 180)).max() < 40


def test_the_middle_stays_in_view() -> None:
    marked = np.zeros((96, 96, 3), np.uint8)
    marked[36:60, 36:60] = 255

    seen = [rewarp(marked, 64, np.random.default_rng(seed)).max() for seed in range(60)]

    assert np.mean(np.array(seen) == 255) > 0.95


def test_colour_changes_stay_moderate_on_average() -> None:
    change = [
        np.abs(recolour(picture(), np.random.default_rng(seed)).mean() - picture().mean())
        for seed in range(60)
    ]

    assert 5 < np.mean(change) < 50


def test_weak_light_darkens_and_brings_noise() -> None:
    grey = np.full((64, 64, 3), 160, np.uint8)

    seen = [in_weak_light(grey, np.random.default_rng(seed)) for seed in range(60)]

    assert all(one.shape == grey.shape and one.dtype == np.uint8 for one in seen)
    assert np.mean([one.mean() for one in seen]) < 120
    assert np.mean([one.std() > 2 for one in seen]) > 0.5


@pytest.mark.parametrize("seed", range(6))
def test_blended_targets_still_sum_to_one(seed: int) -> None:
    pictures = np.stack([picture() + np.uint8(i) for i in range(4)])
    targets = np.eye(6, dtype=np.float32)[[0, 1, 2, 3]]

    mixed, soft = blend(pictures, targets, 1.0, np.random.default_rng(seed))

    assert mixed.shape == pictures.shape
    assert mixed.dtype == np.uint8
    assert soft.sum(axis=1) == pytest.approx(1.0)
    assert soft.dtype == np.float32


def test_cutmix_targets_tell_the_share_of_pixels() -> None:
    pictures = np.zeros((2, 50, 50, 3), np.uint8)
    pictures[1] = 255
    targets = np.eye(2, dtype=np.float32)
    blends = [blend(pictures, targets, 1.0, np.random.default_rng(seed)) for seed in range(40)]

    cut = [(mixed[0], soft[0]) for mixed, soft in blends if set(np.unique(mixed[0])) == {0, 255}]

    assert len(cut) > 5
    for first, soft in cut:
        assert soft[1] == pytest.approx(first.mean() / 255, abs=1e-6)


def test_a_share_of_nought_blends_nothing() -> None:
    pictures, targets = np.stack([picture()] * 2), np.eye(2, dtype=np.float32)

    mixed, soft = blend(pictures, targets, 0.0, np.random.default_rng(1))

    assert mixed is pictures
    assert soft is targets
