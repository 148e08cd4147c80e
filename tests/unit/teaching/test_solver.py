"""The solver against what the mathematics says of its answer."""

from __future__ import annotations

import numpy as np
import pytest

from bin_daemon.core.softmax import softmax
from bin_daemon.model.head import unit
from bin_daemon.teaching.solver import compact, fit, fits

CLASSES = 4


@pytest.fixture
def lesson():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, CLASSES, 60)
    centres = rng.normal(size=(CLASSES, 90))
    features = unit(np.abs(centres[labels] + rng.normal(0, 1.5, (60, 90))))
    prior = (
        rng.normal(size=(90, CLASSES)).astype(np.float32),
        rng.normal(size=CLASSES).astype(np.float32),
    )
    return features, labels, prior


@pytest.mark.parametrize("strength", [0.003, 0.1, 5.0])
def test_the_gradient_of_the_penalised_loss_vanishes_at_the_answer(lesson, strength):
    features, labels, prior = lesson
    kernel, bias = fit(features, labels, prior, strength)
    likely = softmax(features @ kernel + bias)
    rest = likely - np.eye(CLASSES)[labels]
    gradient = features.T @ rest + strength * (kernel - prior[0])
    assert np.abs(gradient).max() < 1e-4
    assert np.abs(rest.sum(axis=0) + strength * (bias - prior[1])).max() < 1e-4


def test_several_strengths_at_once_give_what_each_gives_alone(lesson):
    features, labels, prior = lesson
    strengths = [0.001, 1.0, 0.03]
    together = dict(fits(features, labels, prior, strengths))
    assert sorted(together) == sorted(strengths)
    for strength, (kernel, bias) in together.items():
        alone = fit(features, labels, prior, strength)
        np.testing.assert_allclose(kernel, alone[0], atol=1e-4)
        np.testing.assert_allclose(bias, alone[1], atol=1e-4)


def test_a_strong_pull_leaves_the_known_head_as_it_is(lesson):
    features, labels, prior = lesson
    kernel, bias = fit(features, labels, prior, 1e9)
    assert kernel == pytest.approx(prior[0], abs=1e-6)
    assert bias == pytest.approx(prior[1], abs=1e-6)


def test_a_weak_pull_learns_every_picture(lesson):
    features, labels, prior = lesson
    kernel, bias = fit(features, labels, prior, 1e-4)
    assert ((features @ kernel + bias).argmax(axis=1) == labels).all()


def test_a_class_without_pictures_changes_only_by_what_it_is_not(lesson):
    features, labels, prior = lesson
    taught = labels != 3
    kernel, bias = fit(features[taught], labels[taught], prior, 1.0)
    fell = features[taught] @ (kernel[:, 3] - prior[0][:, 3]) + bias[3] - prior[1][3]
    assert fell.mean() < 0
    change = np.linalg.norm(kernel - prior[0], axis=0)
    assert change[3] < change[:3].min()


def test_more_pictures_than_numbers_are_solved_too():
    rng = np.random.default_rng(2)
    features = unit(rng.normal(size=(300, 8)))
    labels = (features[:, 0] > 0).astype(np.int64)
    nothing = np.zeros((8, 2), np.float32), np.zeros(2, np.float32)
    kernel, bias = fit(features, labels, nothing, 0.01)
    assert ((features @ kernel + bias).argmax(axis=1) == labels).mean() > 0.98


def test_the_compact_problem_has_the_same_answer_for_any_part_of_the_pictures(lesson):
    features, labels, prior = lesson
    small, small_prior = compact(features, prior)
    assert small.shape == (60, 60)
    kernel, bias = fit(features[:40], labels[:40], prior, 0.03)
    small_kernel, small_bias = fit(small[:40], labels[:40], small_prior, 0.03)
    assert small @ small_kernel + small_bias == pytest.approx(features @ kernel + bias, abs=1e-3)


def test_embeddings_are_scaled_to_length_one_and_nothing_else():
    given = np.array([[3.0, 4.0], [0.0, 0.5]], np.float32)
    assert unit(given) == pytest.approx(np.array([[0.6, 0.8], [0.0, 1.0]]))
    assert unit(given[0]) == pytest.approx(unit(given)[0])
    assert np.isfinite(unit(np.zeros(3, np.float32))).all()
