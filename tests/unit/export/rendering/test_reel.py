"""The shipped reel: complete, small, and true to its masks.

The pictures are read as they are; nothing is rendered.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

REEL = Path(__file__).parents[4] / "firmware_config" / "reel"
CLASSES = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
PICTURE_KEYS = ("empty", "enter", "hold", "hand", "light", "blocked")

TRUTH = yaml.safe_load((REEL / "truth.yaml").read_text())["items"]
SCRIPTS = {
    name: yaml.safe_load((REEL / name).read_text()) for name in ("script.yaml", "short.yaml")
}


def picture(name: str) -> np.ndarray:
    img = cv2.imread(str(REEL / name), cv2.IMREAD_COLOR)
    assert img is not None, f"{name} does not open"
    return img


def mask_of(row: dict) -> np.ndarray:
    mask = cv2.imread(str(REEL / row["mask"]), cv2.IMREAD_GRAYSCALE)
    assert mask is not None, f"{row['mask']} does not open"
    return mask


def empty_for(name: str) -> str:
    return "empty_dim.jpg" if "/dim_" in name else "empty.jpg"


def row_id(row: dict) -> str:
    return Path(row["mask"]).stem


def test_there_are_three_items_of_each_class() -> None:
    rows = [r for r in TRUTH if r["file"].startswith("items/") and "/dim_" not in r["file"]]
    assert Counter(r["class"] for r in rows) == dict.fromkeys(CLASSES, 3)
    assert all(Path(r["file"]).stem.startswith(r["class"] + "_") for r in rows)
    assert sum("/dim_" in r["file"] for r in TRUTH) == 2


def test_every_picture_has_the_size_of_the_script_and_the_reel_is_small() -> None:
    files = sorted(REEL.rglob("*.jpg"))
    assert len(files) >= 32
    assert {picture(f.relative_to(REEL).as_posix()).shape for f in files} == {(480, 640, 3)}
    assert sum(f.stat().st_size for f in REEL.rglob("*") if f.is_file()) < 4_000_000


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_names_only_pictures_that_exist(name: str) -> None:
    script = SCRIPTS[name]
    assert script["size"] == [640, 480]
    for step in script["steps"]:
        keys = [k for k in step if k in PICTURE_KEYS]
        assert len(keys) == 1
        assert set(step) <= {*PICTURE_KEYS, "frames", "label"}
        assert step["frames"] > 0
        assert (REEL / step[keys[0]]).is_file(), step
        assert ("label" in step) == ("hold" in step), step


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_label_in_a_script_is_the_truth_of_its_picture(name: str) -> None:
    classes: dict[str, set[str]] = {}
    for row in TRUTH:
        classes.setdefault(row["file"], set()).add(row["class"])
    for step in SCRIPTS[name]["steps"]:
        if "hold" in step:
            told = {step["label"]}
            assert told == (classes[step["hold"]] if len(classes[step["hold"]]) == 1 else {None})


def test_the_story_shows_every_item_and_lasts_about_a_minute() -> None:
    steps = SCRIPTS["script.yaml"]["steps"]
    assert {s["hold"] for s in steps if "hold" in s} == {r["file"] for r in TRUTH}
    assert 580 <= sum(s["frames"] for s in steps) <= 720
    assert sum(s.get("label") is not None for s in SCRIPTS["short.yaml"]["steps"]) == 4


@pytest.mark.parametrize("row", TRUTH, ids=row_id)
def test_a_mask_covers_the_item_and_matches_its_box(row: dict) -> None:
    mask = mask_of(row)
    assert mask.shape == (480, 640)
    assert set(np.unique(mask)) == {0, 255}
    assert 0.02 <= (mask > 0).mean() <= 0.60
    assert list(cv2.boundingRect(mask)) == row["box"]
    x, y, w, h = row["box"]
    assert min(x, y, 639 - x - w, 479 - y - h) > 0, "the item is cut off by the border"


@pytest.mark.parametrize("row", TRUTH, ids=row_id)
def test_the_picture_differs_from_the_empty_chamber_where_the_mask_says_so(row: dict) -> None:
    empty = picture(empty_for(row["file"])).astype(float)
    change = np.abs(picture(row["file"]) - empty).mean(axis=2)
    around = np.zeros((480, 640), bool)
    for other in TRUTH:
        if other["file"] == row["file"]:
            around |= mask_of(other) > 0
    inside, outside = change[mask_of(row) > 0].mean(), change[~around].mean()
    assert inside > 12
    assert inside > 3 * outside


def test_light_changes_in_the_order_of_the_names() -> None:
    level = {
        n: picture(f"{n}.jpg").mean()
        for n in ("covered", "empty_dark", "empty_dim", "empty", "empty_bright")
    }
    assert max(level["covered"], level["empty_dark"]) < 25
    assert (
        level["empty_dark"] + 40
        < level["empty_dim"]
        < level["empty"] - 10
        < level["empty_bright"] - 20
    )


@pytest.mark.parametrize("number", range(1, 7))
def test_a_hand_comes_in_over_the_upper_border(number: int) -> None:
    change = np.abs(picture(f"hand_{number}.jpg").astype(float) - picture("empty.jpg")).mean(axis=2)
    moved = cv2.medianBlur((change > 30).astype(np.uint8), 5)
    assert moved[:4].max(axis=0).sum() > 40, "nothing at the upper border"
    assert moved[-4:].sum() == 0, "the arm reaches through the chamber"
