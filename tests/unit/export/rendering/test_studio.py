"""The studio's items, chambers and camera, without a renderer.

Mitsuba is asked for nothing but to hold images, which a stand-in does as well. One test renders
where Mitsuba and LLVM are installed.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from export.rendering.studio import kinds, setting
from export.rendering.studio.chance import word
from export.rendering.studio.develop import Film, developed, film_for, merged
from export.rendering.studio.kinds import KINDS, StudioItem, generator, studio_item
from export.rendering.studio.picture import extent, posed, visible
from export.rendering.studio.prints import printed
from export.rendering.studio.produce import files_of, is_made, write_table

CLASSES = {"cardboard", "glass", "metal", "paper", "plastic", "trash"}
LOW, HIGH = np.array([-0.1, -0.04, 0.0]), np.array([0.1, 0.04, 0.07])


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Materials with images, as they are where Mitsuba is not installed."""
    monkeypatch.setitem(sys.modules, "mitsuba", SimpleNamespace(Bitmap=lambda image: image))


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_of_the_size_of_rubbish_and_rests_on_the_floor(
    name: str, images: None
) -> None:
    kind = KINDS[name]
    for pose in kind.poses:
        rng = np.random.default_rng(4)
        low, high = extent(posed(kind.build(rng), pose, rng))
        assert np.isfinite([low, high]).all()
        assert 0.03 < max(high - low) < 0.5, (pose, high - low)
        assert 0 <= low[2] < 0.002, (pose, low)


@pytest.mark.parametrize("name", ["pet_bottle", "paper_cup", "can", "box"])
def test_no_two_things_of_a_kind_are_alike(name: str, images: None) -> None:
    built = [extent(KINDS[name].build(np.random.default_rng(seed))) for seed in range(6)]
    assert len({tuple(np.round(high - low, 4)) for low, high in built}) == 6


def test_all_six_classes_are_made_and_plastic_most_often() -> None:
    counts = Counter(studio_item(1, number).label for number in range(600))
    assert set(counts) == CLASSES
    assert counts.most_common(1)[0][0] == "plastic"
    assert min(counts.values()) > 600 * 0.03


def test_a_picture_does_not_depend_on_those_before_it() -> None:
    assert studio_item(3, 7) == studio_item(3, 7)
    draws = [tuple(generator(3, n, a).random(3)) for n, a in ((7, 1), (7, 1), (7, 2), (8, 1))]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


def test_the_camera_looks_at_the_item_from_above_the_floor(images: None) -> None:
    for seed in range(20):
        made = setting.setting(LOW, HIGH, np.random.default_rng(seed))
        assert made.view.sees((LOW + HIGH) / 2), seed
        assert made.view.origin[2] > HIGH[2] + 0.02, seed


def test_what_lies_beside_the_view_is_not_framed() -> None:
    view = setting.CameraView(np.array([0.0, -0.2, 0.4]), np.zeros(3), 40.0)
    here, beside = np.zeros((1, 3)), np.array([[0.5, 0.0, 0.0]])
    assert view.framed(here) == 1
    assert view.framed(beside) == 0
    assert view.framed(np.concatenate([here, beside])) == 0.5


def test_an_item_that_hardly_changes_the_view_is_not_visible() -> None:
    empty = np.full((64, 64, 3), 120, np.uint8)
    mask = np.zeros((192, 192), np.uint8)
    mask[60:130, 60:130] = 255
    changed = np.full((192, 192, 3), 120, np.uint8)
    assert not visible(changed, empty, mask)
    changed[60:130, 60:130] = 175
    assert visible(changed, empty, mask)
    assert not visible(changed, empty, np.zeros_like(mask))


def test_lamps_are_as_many_in_every_chamber_and_none_hangs_in_the_view(images: None) -> None:
    for seed in range(20):
        made = setting.setting(LOW, HIGH, np.random.default_rng(seed))
        assert len(made.lamps) == setting.LAMPS
        for lamp in made.lamps:
            middle = lamp.mesh.v.mean(axis=0)
            below = middle[2] < made.view.origin[2] - 0.01
            assert not (below and made.view.sees(middle)), seed
            assert (lamp.radiance > 0).all()


def test_an_item_that_leans_has_a_wall_behind_it(images: None) -> None:
    made = setting.setting(LOW, HIGH, np.random.default_rng(2), against=True)
    points = np.concatenate([p.mesh.v for p in made.parts if np.ptp(p.mesh.v[:, 2]) > 0.05])
    behind = points[points[:, 1] > HIGH[1]]
    assert 0 < behind[:, 1].min() - HIGH[1] < 0.002


def test_a_firefly_is_put_out_and_a_highlight_stays() -> None:
    light = np.full((2, 40, 40, 3), 0.1)
    light[0, 10, 10] = 500.0
    light[:, 20:22, 5:35] = 4.0
    mean, _ = merged(light)
    assert mean[5, 5].max() < 0.3
    assert mean[10, 10].min() > 3.0


def test_exposure_follows_the_light() -> None:
    rng = np.random.default_rng(5)
    light = rng.uniform(0.2, 1.0, (32, 32, 3))
    pictures = [
        developed(
            scaled, None, film_for(scaled, np.random.default_rng(9)), np.random.default_rng(9)
        )
        for scaled in (light, 1000 * light)
    ]
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() <= 1
    assert 30 < pictures[0].mean() < 225


def test_noise_is_taken_down_where_the_error_shows_it() -> None:
    rng = np.random.default_rng(5)
    film = Film(np.ones(3), 1.0, 0.7, 0.0, 0.0)
    error = np.full((64, 64, 3), 0.06)
    light = np.clip(0.3 + rng.normal(0, 0.06, (64, 64, 3)), 0, 1)
    raw, smooth = (developed(light, e, film, rng).astype(float) for e in (None, error))
    assert smooth.std() < 0.6 * raw.std()
    assert abs(smooth.mean() - raw.mean()) < 3


def test_no_two_prints_are_alike() -> None:
    prints = [printed(60, 120, np.random.default_rng(seed)) for seed in range(8)]
    assert {(p.shape, p.dtype.name) for p in prints} == {((60, 120, 3), "uint8")}
    assert len({p.tobytes() for p in prints}) == 8
    assert len({word(np.random.default_rng(seed)) for seed in range(30)}) > 25


def _write(folder: Path, item: StudioItem) -> None:
    for file in files_of(item).values():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / file), np.zeros((8, 8), np.uint8))


def test_the_table_names_only_pictures_whose_files_are_all_there(tmp_path: Path) -> None:
    items = [kinds.studio_item(1, number) for number in range(3)]
    _write(tmp_path, items[0])
    _write(tmp_path, items[2])
    (tmp_path / files_of(items[2])["mask"]).unlink()
    assert [is_made(tmp_path, i) for i in items] == [True, False, False]
    write_table(tmp_path, items, 1)
    with (tmp_path / "items.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["group"] for row in rows] == ["studio-1-00000"]
    assert rows[0]["label"] == items[0].label
    assert all((tmp_path / rows[0][key]).is_file() for key in ("file", "empty", "mask"))


def test_a_rendered_item_is_where_its_mask_says(tmp_path: Path) -> None:
    pytest.importorskip("mitsuba")
    from export.errors import ExportError
    from export.rendering.studio import produce

    try:
        produce.start(1)
    except ExportError as error:
        pytest.skip(str(error))
    item = StudioItem(0, "tin", "standing")
    assert produce.make((tmp_path, item, 1, 48, 2)) == item
    files = files_of(item)
    picture = cv2.imread(str(tmp_path / files["file"]))
    mask = cv2.imread(str(tmp_path / files["mask"]), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert mask is not None
    assert picture.shape == (48, 48, 3)
    assert mask.shape == (48, 48)
    assert 0.05 < (mask > 0).mean() < 0.8
    assert picture.std() > 3
