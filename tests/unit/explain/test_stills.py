"""Things in view, each apart: found, classified and routed on its own; masks in COCO form."""

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scenes import chamber, with_box

from bin_daemon.config.load import load_config
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.messages import Image, Mask
from bin_daemon.explain.stills import Instances, look_at, plain, to_run_lengths
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.package import open_package
from bin_daemon.sorting.policy import policy_of

BOXES = {"red": (240, 170, 151, 111), "green": (45, 310, 151, 111)}


def two_boxes() -> Image:
    picture = with_box((190, 30, 40))
    picture[300:430, 40:200] = with_box((20, 160, 60), 45, 310)[300:430, 40:200]
    return picture


@pytest.fixture(scope="module")
def look():
    config = load_config("simulator")
    package = open_package("waste6")
    classifier, policy = Classifier(package), policy_of(config, package)

    def look(image: Image, empty: Image | None, **section: object) -> Instances | None:
        section = dataclasses.replace(ChamberSection(), **section)
        return look_at(image, empty, section, classifier, policy)

    return look


def overlap(mask: Mask, box: tuple[int, int, int, int]) -> float:
    """Intersection over union of a mask and a full box."""
    x, y, width, height = box
    full = np.zeros_like(mask)
    full[y : y + height, x : x + width] = True
    return np.count_nonzero(mask & full) / np.count_nonzero(mask | full)


def test_two_things_are_two_instances_with_masks_of_their_own(look):
    seen = look(two_boxes(), chamber())
    assert len(seen.things) == 2
    first, second = seen.things
    assert not np.any(first.mask & second.mask)
    for box in BOXES.values():
        assert max(overlap(thing.mask, box) for thing in seen.things) > 0.8
    assert not np.array_equal(first.prediction.probabilities, second.prediction.probabilities)


def test_two_things_together_go_to_residual_as_in_the_bin(look):
    seen = look(two_boxes(), chamber())
    assert seen.whole.decision.route == "residual"
    assert "two or more separate items" in seen.whole.decision.reason
    assert seen.whole.box[2] > max(thing.box[2] for thing in seen.things)


def test_one_thing_is_all_there_is(look):
    seen = look(with_box((190, 30, 40)), chamber())
    assert seen.things == (seen.whole,)
    assert seen.whole.crop.shape[0] == seen.whole.crop.shape[1]


def test_the_window_is_the_part_of_the_picture_that_the_network_was_shown(look):
    picture = with_box((190, 30, 40))
    thing = look(picture, chamber(), normalise=False).whole
    x, y, width, height = thing.window
    shown = cv2.resize(picture[y : y + height, x : x + width], thing.crop.shape[1::-1])
    inside = np.s_[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3]
    assert np.abs(shown[inside].astype(int) - thing.crop[inside]).mean() < 5


def test_without_an_empty_view_the_whole_picture_is_the_item(look):
    picture = two_boxes()
    seen = look(picture, None)
    assert seen.things == (seen.whole,)
    assert seen.whole.box == (0, 0, 640, 480)
    assert seen.whole.mask is None
    assert plain(seen.whole)["mask"] is None


def test_an_empty_chamber_shows_nothing(look):
    assert look(chamber(), chamber()) is None


def test_a_mask_lies_in_the_picture_where_only_a_part_of_it_is_watched(look):
    seen = look(with_box((190, 30, 40)), chamber(), region=(0.25, 0.2, 0.9, 0.95))
    assert seen.whole.mask.shape == (480, 640)
    assert overlap(seen.whole.mask, BOXES["red"]) > 0.8


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans()))
def test_run_lengths_give_the_mask_back(mask):
    told = to_run_lengths(mask)
    values = np.arange(len(told["counts"])) % 2 == 1
    flat = np.repeat(values, told["counts"])
    np.testing.assert_array_equal(flat.reshape(told["size"], order="F"), mask)
    assert all(count > 0 for count in told["counts"][1:])
