"""What becomes of a plan's phases; the phases themselves need TensorFlow and are tested with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.recipes.schema import FoldedTraining
from export.run import Run
from export.training import loop


@pytest.fixture
def phases(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """Phases that add as much as 100 times their share of weak light, and a list of their calls."""
    calls = []

    def phase(run, views, classes, start, plan, *, before, total):
        calls.append((before, plan.epochs, total))
        return {"kernel": start["kernel"] + 1 + 100 * np.float32(plan.weak_light_share)}

    monkeypatch.setattr(loop, "_phase", phase)
    return calls


def trained(**plan):
    plan = FoldedTraining(small_epochs=2, large_epochs=1, **plan)
    start = {"kernel": np.zeros((2, 3), np.float32)}
    return loop.learn(Run(Path("nowhere")), None, 3, start, plan)["kernel"]


def test_without_fine_tuning_the_mixture_is_what_is_learnt(phases: list) -> None:
    assert np.all(trained() == 1)
    assert phases == [(0, 3, 3)]


def test_every_fine_tuning_phase_goes_on_from_the_mixture_and_their_mean_is_learnt(
    phases: list,
) -> None:
    found = trained(board_epochs=4, board_weak_light_shares=(0.0, 0.5))
    assert phases == [(0, 3, 11), (3, 4, 11), (7, 4, 11)]
    assert np.all(found == (2 + 52) / 2)
    assert found.dtype == np.float32
