"""A camera that gives a small picture too: presence is seen in it, the item in the large one."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from chamber_scenes import Watcher, empty, with_arm, with_can, with_clear_bottle, with_shadow

from bin_daemon.chamber.chamber import Chamber
from bin_daemon.core.errors import PictureError
from bin_daemon.core.messages import Frame, Image, Observation, View

TWO_PIXELS = 8  # of the working resolution, a quarter of the picture's


def half(image: Image) -> Image:
    """`image` as an image processor scales it, which is not how the chamber does."""
    size = (image.shape[1] // 2, image.shape[0] // 2)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


class WithSmall(Chamber):
    """A chamber whose frames carry what `scale` makes of them."""

    scale: Callable[[Image], Image] = staticmethod(half)

    def observe(self, frame: Frame) -> Observation:
        return super().observe(dataclasses.replace(frame, small=self.scale(frame.image)))


def watcher(scale: Callable[[Image], Image] | None = half, **section: Any) -> Watcher:
    """One that has seen nothing; without `scale` its frames have no small picture."""
    made = Watcher(empty(), frames=0, **section)
    if scale is not None:
        made.chamber = WithSmall(made.chamber._config)
        made.chamber.scale = scale  # type: ignore[method-assign]
    return made


def last(one: Watcher, *scenes: Any, frames: int = 12) -> Observation:
    """What it makes of the last of the scenes, after an empty chamber."""
    seen = one.watch(empty(), frames)
    for scene in scenes:
        seen = one.watch(scene, frames)
    return seen[-1]


SCENES = {
    "empty": lambda: empty(),
    "can": lambda: with_can(empty()),
    "bottle": lambda: with_clear_bottle(empty()),
    "arm": lambda: with_arm(empty()),
    "shadow": lambda: with_shadow(empty()),
    "cover": lambda: np.full_like(empty(), (150.0, 90.0, 70.0)),
    "dark": lambda: empty() * 0.02,
}


@pytest.mark.parametrize("region", [(0.0, 0.0, 1.0, 1.0), (0.07, 0.11, 0.93, 0.97)])
@pytest.mark.parametrize("scene", SCENES)
def test_both_pictures_lead_to_the_same_view_and_box(
    scene: str, region: tuple[float, float, float, float]
) -> None:
    large, small = (last(watcher(s, region=region), SCENES[scene]()) for s in (None, half))
    assert small.view is large.view
    assert (small.item is None) == (large.item is None)
    if small.item is not None and large.item is not None:
        assert small.item.box == pytest.approx(large.item.box, abs=TWO_PIXELS)
        assert small.item.area == pytest.approx(large.item.area, rel=0.1)
        assert small.item.centre == pytest.approx(large.item.centre, abs=0.01)
        assert small.item.crop.shape[2] == 3


def test_presence_is_seen_in_the_small_picture_alone() -> None:
    one = watcher(lambda image: half(image) // 64)
    assert last(one, with_can(empty())).view is View.BLOCKED


def test_the_item_is_cut_out_of_the_large_picture() -> None:
    item = last(watcher(lambda image: 255 - half(image)), with_can(empty())).item
    assert item is not None
    middle = item.crop[item.crop.shape[0] // 2, item.crop.shape[1] // 2].astype(int)
    assert middle[0] > middle[1] + 50  # a red can, though the small picture is a negative


def test_a_region_too_little_for_the_small_picture_is_seen_in_the_large() -> None:
    part = (0.3, 0.3, 0.6, 0.6)
    one = watcher(lambda image: half(image) // 64, region=part)
    assert last(one, with_can(empty(), centre=(290, 220), width=30)).view is View.ITEM


def test_a_small_picture_of_another_aspect_is_refused() -> None:
    with pytest.raises(PictureError, match=r"320x180 pixels are not the view of 640x480"):
        watcher(lambda image: half(image)[30:210]).watch(empty(), 1)


def test_a_reference_from_the_other_picture_serves_where_the_grid_is_the_same(
    tmp_path: Path,
) -> None:
    for first, second in ((None, half), (half, None)):
        before, after = watcher(first), watcher(second)
        last(before)
        before.chamber.save(tmp_path / "reference.npz")
        assert after.chamber.load(tmp_path / "reference.npz")
        assert after.watch(empty(), 1)[0].view is View.EMPTY
        assert after.watch(with_can(empty()), 10)[-1].view is View.ITEM


def test_a_reference_from_another_grid_is_learnt_again(tmp_path: Path) -> None:
    before = watcher(None)
    last(before)
    before.chamber.save(tmp_path / "reference.npz")
    other = watcher(lambda image: np.asarray(cv2.resize(image, (200, 150)), np.uint8))
    other.chamber.load(tmp_path / "reference.npz")
    seen = other.watch(empty(), 12)
    assert seen[0].view is View.LEARNING
    assert seen[-1].view is View.EMPTY
