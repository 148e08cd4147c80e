"""What a training sees: cached views, and batches drawn from them."""

from __future__ import annotations

import dataclasses
import errno
import functools
import multiprocessing
import os
import time

import cv2
import numpy as np
import pytest

from export.data.pictures import Picture
from export.errors import ExportError
from export.recipes.schema import FoldedTraining
from export.run import Run
from export.views.batches import TrainingViews, batches, epoch_order, learnable, prefetch
from export.views.renderings import Rendered
from export.views.view_cache import cached_views, rendered_views


def made(count, i):
    return np.full((count, 4, 4, 3), i, np.uint8)


def broken(limit, i):
    if i >= limit:
        raise OSError(28, "no space left")
    return made(2, i)


def counted(calls, i):
    """Slow enough for two to meet; a line in `calls` for each source made."""
    time.sleep(0.2)
    with calls.open("a") as stream:
        stream.write(f"{i}\n")
    return made(2, i)


def opened_at_once(folder, together):
    """What each of two processes does: open the views when both are ready."""
    run = Run(folder / "run")
    together.wait()
    kept = opened(run, folder, functools.partial(counted, folder / "calls"))
    assert [int(kept[i].mean()) for i in range(9)] == list(range(9))


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "run")
    run.create()
    return run


def opened(run, tmp_path, make, facts="same"):
    return cached_views(run, tmp_path / "cache", "drawn", facts, 9, make)


def test_the_views_of_each_source_are_kept(run, tmp_path):
    kept = opened(run, tmp_path, functools.partial(made, 2))
    assert kept.shape == (9, 2, 4, 4, 3)
    assert [int(kept[i].mean()) for i in range(9)] == list(range(9))


def test_views_that_are_there_are_used_as_they_are(run, tmp_path):
    opened(run, tmp_path, functools.partial(made, 2))
    again = opened(run, tmp_path, functools.partial(broken, 0))
    assert int(again[8].mean()) == 8


def test_other_facts_make_other_views(run, tmp_path):
    opened(run, tmp_path, functools.partial(made, 2))
    assert opened(run, tmp_path, functools.partial(made, 3), "other").shape[1] == 3


def test_what_broke_off_says_why(run, tmp_path):
    with pytest.raises(ExportError, match="cannot keep the views"):
        opened(run, tmp_path, functools.partial(broken, 4))


def test_views_that_the_disk_cannot_hold_say_so(run, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ExportError, match="cannot keep the views: .*No space left"):
        opened(run, tmp_path, functools.partial(made, 2))
    monkeypatch.undo()
    assert opened(run, tmp_path, functools.partial(made, 2)).shape == (9, 2, 4, 4, 3)


def test_two_that_want_the_same_views_at_once_share_them(run, tmp_path):
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(2)
    both = [context.Process(target=opened_at_once, args=(tmp_path, together)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    # The first source is made once more, for its shape; whoever comes second makes none.
    calls = (tmp_path / "calls").read_text().split()
    assert sorted(map(int, calls)) == [0, *range(9)]


@pytest.fixture
def rendered(tmp_path):
    """A red box on a grey floor, in a table of two rows."""
    empty = np.random.default_rng(0).integers(110, 140, (72, 96, 3)).astype(np.uint8)
    mask = np.zeros((72, 96), np.uint8)
    mask[20:50, 30:70] = 255
    picture = np.where(mask[..., None] > 0, np.uint8([200, 30, 40]), empty)
    for name, pixels in (("empty", empty), ("item", picture)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels[..., ::-1])
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    return tmp_path, [Rendered("item.png", "metal", "empty.png", "mask.png")] * 2


def test_views_of_a_rendered_item_differ_and_are_the_same_every_time(rendered):
    views = rendered_views(*rendered, 4, 0)
    assert views.shape == (4, 224, 224, 3)
    assert views.dtype == np.uint8
    assert len({view.tobytes() for view in views}) == 4
    np.testing.assert_array_equal(rendered_views(*rendered, 4, 0), views)
    assert not np.array_equal(rendered_views(*rendered, 4, 1), views)


def test_views_of_a_rendered_item_show_it(rendered):
    views = rendered_views(*rendered, 4, 0).astype(int)
    red = (views[..., 0] - views[..., 1:].max(axis=-1) > 40).mean(axis=(1, 2))
    assert (red > 0.15).all()


def test_pictures_that_contradict_their_group_are_not_learnt_from():
    rows = [("a", "glass", "1"), ("b", "glass", "1"), ("c", "metal", "1"), ("d", "metal", "2")]
    pictures = [Picture(file, label, group, 0) for file, label, group in rows]
    assert learnable(pictures).tolist() == [True, True, False, True]


def views(unknown=0, rendered=0):
    photographs = np.full((90, 5, 8, 8, 3), 10, np.uint8)
    photographs[:, 3:] = 110  # the two views in chambers
    photographs[60:] = 60  # those that this training may not see
    return TrainingViews(
        photographs=photographs,
        chosen=np.arange(60),
        labels=np.repeat([0, 1, 2], [40, 15, 5]),
        clean=2,
        unknown=np.full((unknown, 1, 8, 8, 3), 230, np.uint8),
        rendered=np.full((rendered, 2, 8, 8, 3), 170, np.uint8),
        rendered_labels=np.array([0, 0, 0, 0, 2][:rendered], np.int64),
    )


def drawn(plan, **parts):
    """What kind each view of 30 epochs is (10, 60, 110, 170 or 230), and its targets."""
    pairs = [pair for epoch in range(30) for pair in batches(views(**parts), 3, plan, epoch)]
    levels = np.concatenate([pixels.mean(axis=(1, 2, 3)) for pixels, _ in pairs])
    kinds = np.array([10, 60, 110, 170, 230])
    nearest = kinds[np.abs(levels[:, None] - kinds).argmin(axis=1)]
    return nearest, np.concatenate([targets for _, targets in pairs])


def test_views_come_in_the_shares_that_the_recipe_names():
    plan = FoldedTraining(
        batch=20,
        small_size=32,
        blend_share=0.0,
        chamber_share=0.25,
        unknown_share=0.1,
        rendered_share=0.2,
    )
    kinds, _ = drawn(plan, unknown=4, rendered=5)
    shares = [float(np.mean(kinds == kind)) for kind in (10, 60, 110, 170, 230)]
    np.testing.assert_allclose(shares, np.array([15, 0, 5, 4, 2]) / 26, atol=0.03)


def test_rendered_items_keep_their_class_and_rare_ones_come_more_often():
    plan = FoldedTraining(
        batch=20, small_size=32, blend_share=0.0, rendered_share=0.5, label_smoothing=0.0
    )
    kinds, targets = drawn(plan, rendered=5)
    shown = targets[kinds == 170].mean(axis=0)
    np.testing.assert_allclose(shown, [2 / 3, 0.0, 1 / 3], atol=0.1)  # 4 and 1 to the power of 1/2


def test_nothing_known_has_every_class_equally_right():
    plan = FoldedTraining(batch=20, small_size=32, blend_share=0.0, unknown_share=0.1)
    kinds, targets = drawn(plan, unknown=4)
    np.testing.assert_allclose(targets[kinds == 230], 1 / 3, atol=1e-6)
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, atol=1e-5)


def test_first_epochs_are_small_and_the_last_are_large():
    plan = FoldedTraining(small_epochs=1, small_size=64, large_epochs=1, batch=20)
    sizes = [next(batches(views(), 3, plan, epoch))[0].shape for epoch in range(2)]
    assert sizes == [(20, 64, 64, 3), (20, 224, 224, 3)]


def test_fine_tuning_shows_plain_backgrounds_and_what_is_unknown_alone():
    whole = FoldedTraining(batch=20, large_size=32, blend_share=0.0, board_epochs=3)
    (plan,) = whole.fine_tuning_phases()
    kinds, _ = drawn(plan, unknown=4, rendered=5)
    assert plan.epochs == 3
    assert set(kinds.tolist()) == {10, 230}


def test_a_fine_tuning_phase_shows_its_share_in_weak_light():
    plan = FoldedTraining(
        batch=20,
        large_size=32,
        blend_share=0.0,
        unknown_share=0.0,
        board_epochs=1,
        board_weak_light_shares=(0.0, 0.3),
    )
    lit = dataclasses.replace(views(), photographs=views().photographs + np.uint8(100))
    shown = [
        np.concatenate([pixels for pixels, _ in batches(lit, 3, phase, 0)]).astype(int)
        for phase in plan.fine_tuning_phases()
    ]
    changed = (shown[0] != shown[1]).reshape(len(shown[0]), -1).any(axis=1)
    assert 0.15 < changed.mean() < 0.45
    assert shown[1][changed].mean() < shown[0][changed].mean()


def test_rare_classes_are_shown_more_often_and_orders_differ():
    labels = np.repeat([0, 1], [90, 10])
    plain = epoch_order(labels, FoldedTraining(balance=0.0), 0)
    even = epoch_order(labels, FoldedTraining(balance=1.0), 0)
    assert np.bincount(labels[plain]).tolist() == [90, 10]
    assert np.bincount(labels[even]).tolist() == [90, 90]
    assert not np.array_equal(even, epoch_order(labels, FoldedTraining(balance=1.0), 1))


def test_batches_made_ahead_come_in_order_and_end_with_what_went_wrong():
    def made():
        for i in range(9):
            yield np.array(i), np.array(i)
        raise ExportError("a picture is gone")

    got = []
    with pytest.raises(ExportError, match="a picture is gone"):
        for pixels, _ in prefetch(made()):
            got.append(int(pixels))

    assert got == list(range(9))
