"""The chamber tells empty, moving, at rest, several, a hand and a blocked view apart."""

import dataclasses

import numpy as np
import pytest
from chamber_scenes import (
    GROUNDS,
    Watcher,
    empty,
    views,
    with_arm,
    with_can,
    with_clear_bottle,
    with_shadow,
)

from bin_daemon.chamber.chamber import Chamber
from bin_daemon.chamber.crop import is_same
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.errors import PictureError
from bin_daemon.core.messages import Frame, View

ITEM_VIEWS = {View.ITEM, View.ITEMS}


@pytest.fixture
def background() -> np.ndarray:
    return empty()


def test_it_learns_the_empty_view_from_the_first_still_frames(background: np.ndarray) -> None:
    watcher = Watcher(background, frames=0)
    seen = watcher.watch(background, 10)
    assert seen[0].view is View.LEARNING
    assert seen[-1].view is View.EMPTY
    assert watcher.chamber.reference is not None
    assert abs(float(watcher.chamber.reference.mean()) - float(background.mean())) < 2


def test_it_does_not_learn_while_something_moves(background: np.ndarray) -> None:
    watcher = Watcher(background, frames=0)
    seen = watcher.watch(lambda i: with_can(background, (60 + 30 * i, 250)), 15)
    assert views(seen) == {View.LEARNING}


@pytest.mark.parametrize("kind", GROUNDS)
def test_noise_and_shake_of_an_idle_camera_stay_empty(kind: str) -> None:
    scene = empty(kind)
    assert views(Watcher(scene).watch(scene, 40)) == {View.EMPTY}


@pytest.mark.parametrize("noise", [0.0, 6.0])
def test_the_tolerance_follows_the_noise_of_the_camera(
    background: np.ndarray, noise: float
) -> None:
    watcher = Watcher(background, frames=0)
    watcher.watch(background, 10, noise=noise)
    assert views(watcher.watch(background, 30, noise=noise)) == {View.EMPTY}
    assert watcher.watch(with_can(background), 8, noise=noise)[-1].view is View.ITEM


@pytest.mark.parametrize("kind", GROUNDS)
def test_a_lamp_that_fades_to_half_and_jumps_back_stays_empty(kind: str) -> None:
    scene = empty(kind)
    watcher = Watcher(scene)
    fading = [watcher.watch(scene, 1, light=1 - 0.005 * i)[0] for i in range(100)]
    assert views(fading) == {View.EMPTY}
    assert views(watcher.watch(scene, 10, light=1.0)) == {View.EMPTY}
    assert views(watcher.watch(scene, 10, light=0.7)) == {View.EMPTY}


def test_another_colour_or_side_of_the_light_stays_empty(background: np.ndarray) -> None:
    watcher = Watcher(background)
    assert views(watcher.watch(background, 10, light=(1.2, 1.0, 0.8))) == {View.EMPTY}
    slope = np.linspace(0.6, 1.2, background.shape[1], dtype=np.float32)[None, :, None]
    assert views(watcher.watch(background * slope, 10)) == {View.EMPTY}


def test_the_reference_follows_slow_light_but_not_an_item(background: np.ndarray) -> None:
    watcher = Watcher(background)
    watcher.watch(background, 60, light=0.7)
    followed = watcher.chamber.reference
    watcher.watch(with_can(background), 60, light=0.7)
    kept = watcher.chamber.reference
    assert followed is not None
    assert kept is not None
    assert abs(float(followed.mean()) / float(background.mean()) - 0.7) < 0.03
    assert np.abs(followed.astype(int) - kept).max() <= 6


@pytest.mark.parametrize("kind", GROUNDS)
@pytest.mark.parametrize(("depth", "blur"), [(0.6, 15.0), (0.6, 0.0), (0.75, 5.0)])
def test_a_shadow_alone_is_no_item(kind: str, depth: float, blur: float) -> None:
    scene = empty(kind)
    seen = Watcher(scene).watch(with_shadow(scene, depth, blur), 15)
    assert not views(seen) & (ITEM_VIEWS | {View.HAND})


@pytest.mark.parametrize("kind", GROUNDS)
@pytest.mark.parametrize("colour", [(190, 30, 30), (40, 140, 60), (130, 130, 20)])
def test_an_item_moves_then_rests_then_leaves(kind: str, colour: tuple[int, int, int]) -> None:
    scene = empty(kind)
    watcher = Watcher(scene)
    seen = watcher.watch(with_can(scene, colour=colour), 10)
    order = [o.view for o in seen]
    assert order[:4] == [View.MOVING] * 4  # settle_s is 0.4 at 10 frames a second
    assert order[5:] == [View.ITEM] * 5
    assert views(watcher.watch(scene, 5)) == {View.EMPTY}


def test_the_box_holds_the_item_and_little_else(background: np.ndarray) -> None:
    item = Watcher(background).watch(with_can(background, (330, 250), width=60), 8)[-1].item
    assert item is not None
    x, y, width, height = item.box
    # 120 x 60 turned by 20 degrees spans 133 x 97 around (330, 250).
    assert x == pytest.approx(330 - 67, abs=9)
    assert y == pytest.approx(250 - 49, abs=9)
    assert width == pytest.approx(133, abs=16)
    assert height == pytest.approx(97, abs=16)
    assert item.area == pytest.approx(120 * 60 / (480 * 640), rel=0.3)
    assert item.centre == pytest.approx((330 / 640, 250 / 480), abs=0.02)


@pytest.mark.parametrize("kind", ["grey", "dark", "blue", "wood"])
def test_a_clear_bottle_is_one_item(kind: str) -> None:
    scene = empty(kind)
    last = Watcher(scene).watch(with_clear_bottle(scene), 10)[-1]
    assert last.view is View.ITEM
    assert last.item is not None
    assert last.item.box[2] > 120


def test_a_speck_is_no_item(background: np.ndarray) -> None:
    seen = Watcher(background).watch(with_can(background, width=8), 12)
    assert views(seen) == {View.EMPTY}


def test_two_separate_items_are_counted_and_spanned(background: np.ndarray) -> None:
    scene = with_can(with_can(background, (140, 250)), (480, 300), (235, 235, 235))
    last = Watcher(background).watch(scene, 10)[-1]
    assert last.view is View.ITEMS
    assert last.item is not None
    assert last.item.box[0] < 100
    assert last.item.box[0] + last.item.box[2] > 520


def test_an_item_that_creeps_is_moving(background: np.ndarray) -> None:
    seen = Watcher(background).watch(lambda i: with_can(background, (200 + 4 * i, 250)), 30)
    assert views(seen) == {View.MOVING}


def test_a_light_switch_over_an_item_keeps_one_item(background: np.ndarray) -> None:
    watcher = Watcher(background)
    scene = with_can(background)
    watcher.watch(scene, 8)
    seen = watcher.watch(scene, 10, light=0.7)
    assert views(seen) <= {View.MOVING, View.ITEM}
    assert seen[-1].view is View.ITEM
    assert views(watcher.watch(background, 5, light=0.7)) == {View.EMPTY}


def test_auto_exposure_that_a_large_white_item_darkens_is_compensated(
    background: np.ndarray,
) -> None:
    scene = with_can(background, width=190, colour=(235, 235, 235))
    last = Watcher(background).watch(scene, 10, light=0.75)[-1]
    assert last.view is View.ITEM
    assert last.item is not None
    assert last.item.area == pytest.approx(2 * 190**2 / (480 * 640), rel=0.2)


def test_an_arm_from_the_entrance_is_a_hand_while_it_moves_and_while_it_is_held(
    background: np.ndarray,
) -> None:
    watcher = Watcher(background)
    seen = watcher.watch(lambda i: with_arm(background, 60 + 60 * i), 5)
    seen += watcher.watch(with_arm(background), 15)
    assert views(seen) == {View.HAND}
    assert "top" in seen[-1].reason


def test_what_a_hand_leaves_behind_is_an_item(background: np.ndarray) -> None:
    watcher = Watcher(background)
    watcher.watch(with_arm(background), 8)
    seen = watcher.watch(with_can(background), 8)
    assert [o.view for o in seen[-3:]] == [View.ITEM] * 3


def test_an_item_that_rests_against_the_entrance_becomes_an_item_after_a_while(
    background: np.ndarray,
) -> None:
    seen = Watcher(background).watch(with_can(background, (300, 30)), 30)
    assert views(seen[:18]) == {View.HAND}
    assert seen[-1].view is View.ITEM


def test_the_entrance_is_where_the_configuration_says(background: np.ndarray) -> None:
    scene = with_can(background, (20, 250))
    assert Watcher(background, entrance=("left",)).watch(scene, 10)[-1].view is View.HAND
    assert Watcher(background, entrance=("top",)).watch(scene, 10)[-1].view is View.ITEM


def test_an_open_lid_along_the_entrance_is_never_an_item(background: np.ndarray) -> None:
    scene = with_can(background)
    scene[20:75] = 240.0
    scene[30:75, 200:260] = (120, 70, 60)
    assert views(Watcher(background).watch(scene, 40)) == {View.HAND}


@pytest.mark.parametrize("kind", GROUNDS)
@pytest.mark.parametrize("colour", [(3, 3, 3), (150, 90, 70), (100, 100, 100), (255, 255, 255)])
def test_a_covered_or_blinded_lens_is_blocked_in_words(
    kind: str, colour: tuple[int, int, int]
) -> None:
    scene = empty(kind)
    watcher = Watcher(scene)
    cover = np.broadcast_to(np.float32(colour), scene.shape).astype(np.float32)
    seen = watcher.watch(cover, 10)
    assert not views(seen) & {View.EMPTY, *ITEM_VIEWS}
    assert seen[-1].reason
    assert watcher.watch(scene, 3)[-1].view is View.EMPTY


def test_the_reason_of_a_dark_view_has_its_figure(background: np.ndarray) -> None:
    last = Watcher(background).watch(background, 2, light=0.02)[-1]
    assert last.view is View.BLOCKED
    assert last.reason.startswith("dark: mean brightness 3 of 255")


def test_it_does_not_learn_the_dark() -> None:
    watcher = Watcher(empty() * 0.01, frames=20)
    assert watcher.chamber.reference is None


def test_only_the_region_is_watched(background: np.ndarray) -> None:
    watcher = Watcher(background, region=(0.5, 0.0, 1.0, 1.0))
    assert views(watcher.watch(with_can(background, (150, 250)), 10)) == {View.EMPTY}
    last = watcher.watch(with_can(background, (480, 250)), 10)[-1]
    assert last.view is View.ITEM
    assert last.item is not None
    assert last.item.box[0] == pytest.approx(480 - 67, abs=9)
    assert last.item.centre == pytest.approx((480 / 640, 250 / 480), abs=0.02)


def test_another_frame_size_is_learnt_again(background: np.ndarray) -> None:
    watcher = Watcher(background)
    seen = watcher.watch(np.ascontiguousarray(background[::2, ::2]), 10)
    assert seen[0].view is View.LEARNING
    assert seen[-1].view is View.EMPTY


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((480, 640, 3), np.nan, np.float32), "NaN"),
        (np.zeros((480, 640), np.uint8), "480x640"),
        (np.zeros((480, 640, 4), np.uint8), "480x640x4"),
        (np.zeros((8, 640, 3), np.uint8), "640x8"),
        (np.zeros((480, 640, 3), np.float64), "float64"),
        (None, "NoneType"),
    ],
)
def test_a_frame_that_no_camera_gives_is_refused_by_name(image: object, words: str) -> None:
    frame = Frame(image, 0.0, 0)  # type: ignore[arg-type]
    with pytest.raises(PictureError, match=f"frame: .*{words}"):
        Chamber(ChamberSection()).observe(frame)


def test_the_same_thing_is_recognised_and_another_is_not(background: np.ndarray) -> None:
    def at_rest(scene: np.ndarray) -> object:
        return Watcher(background).watch(scene, 8)[-1].item

    first, again = at_rest(with_can(background)), at_rest(with_can(background, (332, 251)))
    elsewhere = at_rest(with_can(background, (200, 200)))
    other = at_rest(with_can(background, colour=(230, 230, 235)))
    assert is_same(first, again)  # type: ignore[arg-type]
    assert not is_same(first, elsewhere)  # type: ignore[arg-type]
    assert not is_same(first, other)  # type: ignore[arg-type]
    assert not is_same(first, dataclasses.replace(first, mask=np.zeros((2, 2), bool)))  # type: ignore[type-var, arg-type]
