"""A camera that was bumped sees the whole chamber displaced; it goes on, and follows."""

from pathlib import Path

import numpy as np
import pytest
from chamber_scenes import GROUNDS, WIDTH, Watcher, fitted, views, with_arm, with_can

from bin_daemon.core.messages import View

# Of the longer side: 1.5 to 4 %.
SHIFTS = [(0, -10), (0, 19), (19, 0), (-19, 0), (14, -14), (-18, 18), (0, 25)]


def drawn(scene: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """A can where it lies in the chamber, not where it lay in the picture before."""
    return with_can(scene, (330 + shift[0], 250 + shift[1]))


@pytest.mark.parametrize("kind", GROUNDS)
@pytest.mark.parametrize("shift", SHIFTS)
def test_an_empty_chamber_stays_empty_for_a_bumped_camera(
    kind: str, shift: tuple[int, int]
) -> None:
    seen = Watcher(fitted(kind)).watch(fitted(kind, shift), 10)
    assert views(seen) == {View.EMPTY}


@pytest.mark.parametrize("kind", GROUNDS)
@pytest.mark.parametrize("shift", SHIFTS)
def test_an_item_that_came_with_the_bump_is_one_item_where_it_lies(
    kind: str, shift: tuple[int, int]
) -> None:
    usual = Watcher(fitted(kind)).watch(drawn(fitted(kind), (0, 0)), 8)[-1].item
    seen = Watcher(fitted(kind)).watch(drawn(fitted(kind, shift), shift), 10)
    assert views(seen) == {View.MOVING, View.ITEM}
    item = seen[-1].item
    assert item is not None
    assert usual is not None
    expected = np.add(usual.box, (*shift, 0, 0))
    assert np.abs(np.array(item.box) - expected).max() <= 12  # three small pixels


def test_the_empty_view_moves_with_the_camera_once_it_was_seen_to_be_empty() -> None:
    shift = (-6, 19)
    watcher = Watcher(fitted())
    watcher.watch(fitted(shift=shift), 60)
    reference = watcher.chamber.reference
    assert reference is not None
    shown = fitted(shift=shift)[2::4, 2::4]
    assert float(np.abs(reference - shown).mean()) < 4
    # Learnt there, it can follow as far again.
    further = (shift[0] * 2, shift[1] * 2)
    assert views(watcher.watch(fitted(shift=further), 5)) == {View.EMPTY}
    assert watcher.watch(drawn(fitted(shift=further), further), 8)[-1].view is View.ITEM


def test_a_camera_that_springs_back_finds_the_empty_view_where_it_was() -> None:
    watcher = Watcher(fitted())
    assert watcher.watch(drawn(fitted(shift=(0, 19)), (0, 19)), 8)[-1].view is View.ITEM
    assert watcher.watch(drawn(fitted(), (0, 0)), 8)[-1].view is View.ITEM
    assert views(watcher.watch(fitted(), 5)) == {View.EMPTY}


@pytest.mark.parametrize("light", [0.75, 1.2])
def test_a_camera_springs_back_in_other_light_than_it_was_bumped_in(light: float) -> None:
    watcher = Watcher(fitted())
    shift = (0, 19)
    watcher.watch(drawn(fitted(shift=shift), shift), 8)
    assert watcher.watch(drawn(fitted(shift=shift), shift), 8, light=light)[-1].view is View.ITEM
    assert watcher.watch(fitted(), 5, light=light)[-1].view is View.EMPTY


def test_a_bump_before_the_empty_view_has_followed_is_not_saved(tmp_path: Path) -> None:
    watcher = Watcher(fitted())
    watcher.watch(drawn(fitted(shift=(0, 19)), (0, 19)), 8)
    watcher.chamber.save(tmp_path / "reference.npz")
    again = Watcher(fitted(), frames=0)
    assert again.chamber.load(tmp_path / "reference.npz")
    reference = again.chamber.reference
    assert reference is not None
    assert float(np.abs(reference - fitted()[2::4, 2::4]).mean()) < 4


@pytest.mark.parametrize("kind", GROUNDS)
@pytest.mark.parametrize("shift", [(0, -19), (0, 19), (14, 14)])
def test_an_arm_is_a_hand_for_a_bumped_camera_too(kind: str, shift: tuple[int, int]) -> None:
    watcher = Watcher(fitted(kind))
    scene = fitted(kind, shift)
    seen = watcher.watch(lambda i: with_arm(scene, 60 + 60 * i), 5)
    seen += watcher.watch(with_arm(scene), 15)
    assert views(seen) == {View.HAND}


@pytest.mark.parametrize("shift", [(0, 0), (0, -19), (0, 19)])
def test_an_open_lid_is_never_taken_for_a_bump(shift: tuple[int, int]) -> None:
    scene = drawn(fitted(shift=shift), shift)
    scene[10:110] = 235.0
    scene[20:110, 200:260] = (120, 70, 60)
    assert views(Watcher(fitted()).watch(scene, 40)) == {View.HAND}


def test_a_lid_that_rests_elsewhere_does_not_move_the_empty_view() -> None:
    def ribbed(lower: int) -> np.ndarray:
        scene = fitted()
        for y in (50, 62, 80, 92, 108, 130, 140, 160, 172, 190):
            scene[y + lower : y + lower + 6] = 230.0
        return scene

    watcher = Watcher(ribbed(0))
    before = watcher.chamber.reference
    watcher.watch(ribbed(19), 10)
    after = watcher.chamber.reference
    assert before is not None
    assert after is not None
    assert float(np.abs(after.astype(int) - before).mean()) < 3


@pytest.mark.parametrize(
    "region", [(0.0, 0.46, 1.0, 0.57), (0.44, 0.0, 0.55, 1.0), (0.44, 0.46, 0.55, 0.57)]
)
def test_a_region_like_a_slit_is_watched_too(region: tuple[float, float, float, float]) -> None:
    last = Watcher(fitted(), region=region).watch(with_can(fitted(), (320, 250)), 10)[-1]
    assert last.view is not View.EMPTY


def test_a_displacement_beyond_five_percent_is_another_view() -> None:
    far = round(0.09 * WIDTH)
    seen = Watcher(fitted()).watch(fitted(shift=(0, far)), 10)
    assert View.EMPTY not in views(seen)
