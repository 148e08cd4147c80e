"""Cutting items from their plain background, and laying them into drawn chambers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from export.views import unknown
from export.views.backgrounds import draw_background, draw_light
from export.views.compose import FRAME, compose, crop_in_drawn_chamber, empty_crop
from export.views.cutouts import background_of, cut_out


def on_white(colour=(150, 30, 40), white=225, slope=20.0):
    """A picture of an ellipse on a white table whose light falls off, and the ellipse's mask."""
    height, width = 192, 256
    x = np.linspace(-1.0, 1.0, width)
    picture = np.repeat((white + slope * x)[None, :, None], height, axis=0)
    picture = np.repeat(picture, 3, axis=2).astype(np.uint8)
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (130, 100), (60, 35), 20, 0, 360, 1, -1)
    picture[mask > 0] = colour
    noise = np.random.default_rng(0).normal(0.0, 2.0, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8), mask > 0


def test_an_item_is_cut_from_its_plain_background():
    picture, truth = on_white()
    item = cut_out(picture)
    found = item.mask > 0.5
    assert (found & truth).sum() / (found | truth).sum() > 0.9
    assert item.mask.shape == picture.shape[:2]
    assert item.mask.dtype == np.float32
    np.testing.assert_allclose(item.background, 225 / 255, atol=0.05)


def test_a_soft_shadow_is_no_part_of_the_item():
    picture, truth = on_white()
    shade = cv2.GaussianBlur(np.roll(truth, 40, axis=1).astype(np.float32), (0, 0), 9.0)
    shaded = (picture * np.where(truth, 1.0, 1.0 - 0.25 * shade)[..., None]).astype(np.uint8)
    found = cut_out(shaded).mask > 0.5
    assert (found & truth).sum() / (found | truth).sum() > 0.8


def test_white_on_white_is_no_cut_out():
    picture, _ = on_white(colour=(226, 226, 226))
    assert cut_out(picture) is None


def test_a_picture_without_a_plain_background_is_all_item():
    texture = np.random.default_rng(1).integers(0, 90, (120, 160, 3)).astype(np.uint8)
    assert background_of(texture) is None
    assert cut_out(texture).mask.min() == 1.0


@pytest.mark.parametrize("seed", range(12))
def test_backgrounds_and_lights_are_in_range(seed):
    background = draw_background(96, np.random.default_rng(seed))
    light = draw_light(96, np.random.default_rng(seed))
    assert background.shape == light.shape == (96, 96, 3)
    assert background.min() >= 0.0
    assert background.max() <= 1.0
    assert light.min() > 0.0
    assert np.isfinite(light).all()


@pytest.mark.parametrize("seed", range(8))
def test_an_item_lies_where_its_coverage_says(seed):
    picture, _ = on_white()
    item = cut_out(picture)
    _, with_item, mask = compose(item, FRAME, np.random.default_rng(seed))
    _, without, nothing = compose(None, FRAME, np.random.default_rng(seed))
    assert with_item.shape == without.shape == (FRAME, FRAME, 3)
    assert with_item.dtype == np.uint8
    assert nothing.max() == 0.0
    assert 0.01 < mask.mean() < 0.95


def test_a_composition_is_the_same_for_the_same_generator():
    item = cut_out(on_white()[0])
    first, second = (crop_in_drawn_chamber(item, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_clear_thing_is_cut_out_whole():
    """A bottle of which only rim, ribs and label differ from the table."""
    picture, _ = on_white(colour=(226, 226, 226))
    outline = np.zeros(picture.shape[:2], np.uint8)
    cv2.ellipse(outline, (130, 100), (60, 35), 20, 0, 300, 1, 4)
    cv2.ellipse(outline, (130, 100), (30, 18), 20, 0, 360, 1, 4)
    picture[outline > 0] = 120
    truth = np.zeros(picture.shape[:2], np.uint8)
    cv2.ellipse(truth, (130, 100), (61, 36), 20, 0, 360, 1, -1)
    found = cut_out(picture).mask > 0.5
    assert (found & (truth > 0)).sum() / (found | (truth > 0)).sum() > 0.85


def test_an_empty_crop_is_a_picture_of_any_size():
    sizes = {empty_crop(np.random.default_rng(seed)).shape[:2] for seed in range(10)}
    assert len(sizes) > 1
    assert all(height == width for height, width in sizes)


@pytest.mark.parametrize("name", [*unknown.SHOWN, *unknown.KEPT])
def test_things_of_no_class_are_pictures(name):
    draw = (unknown.SHOWN | unknown.KEPT)[name]
    for seed in range(4):
        picture = draw(np.random.default_rng(seed))
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3
        assert picture.std() > 0.0
