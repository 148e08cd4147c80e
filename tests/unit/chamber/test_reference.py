"""The empty view is kept over restarts, and what does not fit any more is learnt anew."""

from pathlib import Path

import numpy as np
import pytest
from chamber_scenes import Watcher, empty, views, with_can

from bin_daemon.chamber.chamber import Chamber, isolate
from bin_daemon.chamber.crop import light_table, square
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.errors import PictureError
from bin_daemon.core.messages import Frame, View


@pytest.fixture
def background() -> np.ndarray:
    return empty()


@pytest.fixture
def saved(tmp_path: Path, background: np.ndarray) -> Path:
    path = tmp_path / "state" / "reference.npz"
    Watcher(background).chamber.save(path)
    return path


def restarted(path: Path, **section: object) -> tuple[Watcher, bool]:
    """A watcher that has seen nothing but what is kept at `path`."""
    watcher = Watcher(empty(), frames=0, **section)
    return watcher, watcher.chamber.load(path)


def test_a_saved_reference_serves_from_the_first_frame(saved: Path, background: np.ndarray) -> None:
    watcher, found = restarted(saved)
    assert found
    assert watcher.watch(background, 1)[0].view is View.EMPTY
    assert sorted(p.name for p in saved.parent.iterdir()) == ["reference.npz"]


def test_an_item_that_lay_there_over_the_restart_is_seen(
    saved: Path, background: np.ndarray
) -> None:
    watcher, _ = restarted(saved)
    assert watcher.watch(with_can(background), 8)[-1].view is View.ITEM


def test_a_reference_of_another_chamber_is_learnt_again(saved: Path) -> None:
    watcher, _ = restarted(saved)
    other = np.ascontiguousarray(empty("dark", seed=9)[::-1])
    seen = watcher.watch(other, 15)
    assert not views(seen) & {View.ITEM, View.ITEMS}
    assert seen[-1].view is View.EMPTY


def test_a_camera_that_was_moved_learns_its_new_view_by_itself() -> None:
    watcher = Watcher(empty())
    moved = np.ascontiguousarray(empty("blue", seed=9)[::-1])
    seen = watcher.watch(moved, 16)
    assert seen[0].view is View.BLOCKED
    assert not views(seen) & {View.ITEM, View.ITEMS}
    assert seen[-1].view is View.EMPTY
    assert watcher.watch(with_can(moved), 8)[-1].view is View.ITEM


def test_a_cover_is_never_learnt_however_long_it_stays(background: np.ndarray) -> None:
    watcher = Watcher(background)
    cover = np.full_like(background, (150.0, 90.0, 70.0))
    assert views(watcher.watch(cover, 60)) == {View.BLOCKED}
    assert watcher.watch(background, 2)[-1].view is View.EMPTY


def test_a_reference_of_another_frame_size_is_learnt_again(
    saved: Path, background: np.ndarray
) -> None:
    watcher, _ = restarted(saved)
    seen = watcher.watch(np.ascontiguousarray(background[::2, ::2]), 10)
    assert seen[0].view is View.LEARNING


def test_a_reference_of_another_region_is_refused(saved: Path) -> None:
    assert restarted(saved, region=(0.1, 0.0, 1.0, 1.0))[1] is False


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "text", "bits"])
def test_a_damaged_reference_counts_as_none(
    saved: Path, background: np.ndarray, damage: str
) -> None:
    whole = saved.read_bytes()
    if damage == "missing":
        saved.unlink()
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes(b ^ 0xFF for b in whole[middle : middle + 64])
        spoilt = {
            "empty": b"",
            "truncated": whole[:middle],
            "text": b"no reference",
            "bits": flipped + whole[middle + 64 :],
        }
        saved.write_bytes(spoilt[damage])
    watcher, found = restarted(saved)
    assert found is False
    assert watcher.watch(background, 10)[-1].view is View.EMPTY


def test_saving_before_anything_is_learnt_says_so(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no empty view to save yet"):
        Chamber(ChamberSection()).save(tmp_path / "reference.npz")


def test_saving_where_it_cannot_be_names_the_path(tmp_path: Path, background: np.ndarray) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PictureError, match="file"):
        Watcher(background).chamber.save(tmp_path / "file" / "reference.npz")


def test_learn_starts_over(background: np.ndarray) -> None:
    watcher = Watcher(background)
    watcher.chamber.learn()
    scene = with_can(background)
    seen = watcher.watch(scene, 10)
    assert seen[0].view is View.LEARNING
    assert seen[-1].view is View.EMPTY


def test_isolate_cuts_the_item_out_of_a_still(background: np.ndarray) -> None:
    still, bare = with_can(background).astype(np.uint8), background.astype(np.uint8)
    item = isolate(still, bare)
    assert item is not None
    assert item.crop.shape[0] == item.crop.shape[1]
    assert item.box[0] == pytest.approx(330 - 67, abs=9)
    assert isolate(bare, bare) is None


def test_isolate_refuses_pictures_of_two_sizes(background: np.ndarray) -> None:
    still = background.astype(np.uint8)
    with pytest.raises(PictureError, match="empty picture: 320x240"):
        isolate(still, np.ascontiguousarray(still[::2, ::2]))


def test_the_crop_is_neutral_under_a_coloured_lamp(background: np.ndarray) -> None:
    lamp = (0.75, 0.95, 1.25)
    scene = with_can(background, colour=(120, 120, 120), width=90)
    watcher = Watcher(background * np.float32(lamp), frames=10)
    item = watcher.watch(scene * np.float32(lamp), 8)[-1].item
    assert item is not None
    side = item.crop.shape[0]
    middle = item.crop[side // 2 - 6 : side // 2 + 6, side // 2 - 6 : side // 2 + 6]
    red, green, blue = middle.reshape(-1, 3).mean(axis=0)
    assert blue / red == pytest.approx(1.0, abs=0.15)  # 1.67 under the lamp
    assert green / red == pytest.approx(1.0, abs=0.15)


def test_without_normalise_the_crop_is_a_piece_of_the_frame(background: np.ndarray) -> None:
    chamber = Chamber(ChamberSection(normalise=False))
    bare, still = background.astype(np.uint8), with_can(background).astype(np.uint8)
    chamber.reference = bare
    for i in range(6):
        seen = chamber.observe(Frame(still, 0.1 * i, i))
    assert seen.item is not None
    side = seen.item.crop.shape[0]
    places = np.lib.stride_tricks.sliding_window_view(still, (side, side), axis=(0, 1))
    x, y, width, height = seen.item.box
    top, left = round(y + height / 2 - side / 2), round(x + width / 2 - side / 2)
    assert np.array_equal(places[top, left].transpose(1, 2, 0), seen.item.crop)


@pytest.mark.parametrize(
    ("box", "side"),
    [((0, 0, 50, 20), 60), ((590, 460, 50, 20), 60), ((0, 0, 640, 480), 768), ((5, 5, 2, 2), 32)],
)
def test_a_crop_is_square_whatever_the_box(box: tuple[int, int, int, int], side: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    crop = square(image, box, 0.1, None)
    assert crop.shape == (side, side, 3)
    assert not np.shares_memory(crop, image)


def test_the_correction_is_bounded_where_the_walls_are_painted() -> None:
    table = light_table(np.full((60, 60, 3), (10, 10, 200), np.uint8))
    gain = table[0, 60].astype(float) / 60
    assert gain.max() / gain.min() <= 1.45 / 0.7 + 0.1
