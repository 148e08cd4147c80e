"""Recipes are read strictly; drawn pictures and augmentation are what they say."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from export.data.pictures import GROUPS, list_pictures, read_groups
from export.errors import ExportError
from export.recipes.load import override, parse, read_recipe, settings, shipped
from export.recipes.schema import Augmentation, FoldedRecipe, KerasRecipe
from export.training.keras_batches import augment
from export.training.rehearse import CASES, Rehearsal, table
from export.views.shapes import draw, render

TEXT = """\
name: tiny
title: A recipe for tests
stands_for: nothing at all
labels: [can, bottle]
data: {title: cans and bottles, licence: none}
split: {shares: [0.5, 0.25, 0.25]}
network: {kind: keras, backbone: MobileNetV2, size: 96}
"""


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_can_be_read(name: str) -> None:
    recipe = read_recipe(name)

    assert recipe.name == name
    assert recipe.stands_for


def test_the_recipes_of_the_field_are_there() -> None:
    assert set(shipped()) >= {
        "household6",
        "organic-recyclable2",
        "organic2",
        "smartbin7",
        "trashnet6",
        "waste6",
        "waste9",
    }


def test_the_smart_bin_recipe_freezes_the_backbone_under_a_layer_of_128() -> None:
    recipe = read_recipe("smartbin7")

    assert isinstance(recipe, KerasRecipe)
    assert recipe.network.backbone == "MobileNetV2"
    assert recipe.network.trained == "head"
    assert recipe.network.head.dense == (128,)
    assert recipe.labels == (
        "cardboard",
        "glass",
        "metal",
        "paper",
        "plastic_bottle",
        "plastic_container",
        "plastic_cup",
    )


def test_the_household_recipe_turns_zooms_flips_shears_and_lights() -> None:
    recipe = read_recipe("household6")

    assert isinstance(recipe, KerasRecipe)
    assert recipe.network.backbone == "EfficientNetB3"
    assert (recipe.augmentation.rotation_deg, recipe.augmentation.zoom) == (20, 0.2)
    assert recipe.augmentation.shear > 0
    assert recipe.augmentation.flip_horizontal
    assert recipe.augmentation.brightness > 0
    assert recipe.training.optimizer == "adam"
    assert recipe.split.shares == (0.7, 0.1, 0.2)


def test_the_shipped_model_is_of_a_folded_recipe() -> None:
    assert isinstance(read_recipe("waste6"), FoldedRecipe)


def test_the_pictures_of_the_shipped_model_can_be_fetched_by_a_program() -> None:
    data, other = read_recipe("waste6").data, read_recipe("trashnet6").data

    assert data.archive
    assert dataclasses.asdict(data) == dataclasses.asdict(other)


def test_every_published_backbone_is_rehearsed() -> None:
    named = {"EfficientNetB3", "InceptionV3", "MobileNetV2", "MobileNetV3Large", "ResNet152"}

    assert named <= {case.backbone for case in CASES}


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("size: 96", "size: 7", "tiny.yaml:7: network.size: "),
        ("title: A recipe", "titel: A recipe", "tiny.yaml:2: titel: unknown key"),
        ("backbone: MobileNetV2", "backbone: VGG16", "tiny.yaml:7: network.backbone: "),
        ("kind: keras", "kind: torch", "tiny.yaml:7: network.kind: must be one of keras, folded"),
        ("0.5, 0.25, 0.25", "0.5, 0.25, 0.5", "tiny.yaml:6: split.shares: sum up to 1.25"),
        ("{shares: [0.5, 0.25, 0.25]}", "{}", "tiny.yaml:6: split: needs either folds or shares"),
        ("[can, bottle]", "[can, ..]", "tiny.yaml:4: labels: '..' cannot name a class"),
        ("[can, bottle]", "[can, bottle]\nresidual_labels: [tin]", ": residual_labels: 'tin' is"),
        ("[can, bottle]", "[can, bottle]\ngate: {recall: {tin: 0.9}}", "gate.recall: 'tin' is"),
        ("[can, bottle]", "[can, can]", "tiny.yaml:4: labels: a class stands twice"),
        ("name: tiny", "name: small", "tiny.yaml:1: name: 'small' is not the name of the file"),
        ("licence: none", "licence: none, sha256: abc", "tiny.yaml:5: data.sha256: "),
        ("licence: none", "licence: none, archive: zip", "data.address: is needed"),
        ("labels: [can, bottle]", "labels: [can", "not valid YAML"),
    ],
)
def test_a_mistake_is_reported_with_file_line_and_key(old: str, new: str, complaint: str) -> None:
    assert old in TEXT

    with pytest.raises(ExportError) as caught:
        parse(TEXT.replace(old, new), "tiny.yaml")

    assert complaint in str(caught.value)


def test_a_recipe_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ExportError, match="household6.*waste6"):
        read_recipe("nothing")


def test_a_setting_can_be_changed_by_its_key() -> None:
    recipe = parse(TEXT, "tiny.yaml")

    changed = override(recipe, {"training.epochs": 3, "network.weights": "none"})

    assert settings(changed)["training"]["epochs"] == 3
    assert settings(changed)["network"]["weights"] == "none"
    assert settings(recipe)["training"]["epochs"] == 20


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("training.epoch", 3, "did you mean 'epochs'"),
        ("training.epochs", 0, "training.epochs: "),
        ("training.seed", -1, "training.seed: "),
        ("trainer.epochs", 3, "there is no such setting"),
    ],
)
def test_a_change_is_as_strict_as_the_file(key: str, value: int, complaint: str) -> None:
    with pytest.raises(ExportError) as caught:
        override(parse(TEXT, "tiny.yaml"), {key: value})

    assert complaint in str(caught.value)


def test_a_drawn_set_is_the_same_for_the_same_seed_and_in_class_folders(tmp_path: Path) -> None:
    first = render(tmp_path / "first", ("can", "bottle"), 3, seed=5)
    second = render(tmp_path / "second", ("can", "bottle"), 3, seed=5)

    pictures = list_pictures(read_groups(first / GROUPS))
    assert [(p.file, p.label) for p in pictures[:1]] == [("bottle/000.png", "bottle")]
    assert len(pictures) == 6
    assert len({p.group for p in pictures}) == 6
    for picture in pictures:
        assert (first / picture.file).read_bytes() == (second / picture.file).read_bytes()


def test_drawn_classes_look_different() -> None:
    means = [draw(kind, np.random.default_rng(3)).mean(axis=(0, 1)) for kind in range(9)]

    apart = [np.abs(a - b).max() for i, a in enumerate(means) for b in means[:i]]

    assert min(apart) > 1.0


def test_no_augmentation_leaves_the_picture_as_it_is() -> None:
    picture = draw(4, np.random.default_rng(1))

    assert np.array_equal(augment(picture, Augmentation(), np.random.default_rng(2)), picture)


def test_a_flip_mirrors_left_and_right_alone() -> None:
    picture = draw(4, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    spec = Augmentation(flip_horizontal=True)

    seen = {augment(picture, spec, rng).tobytes() for _ in range(40)}

    assert seen == {picture.tobytes(), picture[:, ::-1].tobytes()}


def test_brightness_stays_within_its_bounds() -> None:
    picture = np.full((32, 32, 3), 100, np.uint8)
    rng = np.random.default_rng(2)

    levels = [augment(picture, Augmentation(brightness=0.2), rng).mean() for _ in range(200)]

    assert 79.5 <= min(levels) < 85
    assert 115 < max(levels) <= 120.5


def test_zoom_and_rotation_move_what_lies_off_the_middle() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[30:34, 8:12] = 255
    rng = np.random.default_rng(2)
    spec = Augmentation(rotation_deg=20, zoom=0.2)

    places = []
    for _ in range(100):
        rows, columns = np.nonzero(augment(picture, spec, rng)[..., 0] > 127)
        places.append((rows.mean() - 31.5, columns.mean() - 31.5))

    radius = np.hypot(*np.transpose(places))
    angle = np.degrees(np.arctan2(*np.transpose(places)))
    assert 17 < radius.min() < 19
    assert 23 < radius.max() < 27
    assert 15 < (180 - np.abs(angle)).max() < 21.5


def test_a_rehearsal_tells_each_thing_that_is_not_as_it_should_be() -> None:
    agreement = {"ai-edge-litert": 0.9, "tflite-runtime": "tflite-runtime refuses the model"}
    outcome = Rehearsal("ResNet152", "waste9", 1.0, 1.2, 0.5, agreement, 60.0)

    faults = outcome.faults()

    assert len(faults) == 2
    assert "the loss did not fall" in faults[0]
    assert "ai-edge-litert decides as float on 90.0%" in faults[1]
    assert "tflite-runtime refuses the model" in table([outcome])


def test_a_rehearsal_without_fault_has_none() -> None:
    agreement = {"ai-edge-litert": 0.97, "tflite-runtime": 0.95}

    assert Rehearsal("ResNet152", "waste9", 1.0, 0.2, 1.0, agreement, 60.0).faults() == []


def test_a_recipe_says_of_which_version_its_package_is() -> None:
    assert parse(TEXT, "tiny.yaml").version == 1
    assert parse(TEXT + "version: 3\n", "tiny.yaml").version == 3
    with pytest.raises(ExportError, match=r"tiny\.yaml:8: version: "):
        parse(TEXT + "version: 0\n", "tiny.yaml")
