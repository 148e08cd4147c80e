"""Sets whose items lie on drawn backgrounds alone."""

from __future__ import annotations

import shutil
from collections import Counter

import cv2
import numpy as np
import pytest

from export.data.pictures import GROUPS, list_pictures, read_groups
from export.errors import ExportError
from export.recipes.schema import Relaid
from export.views.relaid import relaid_set


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Six pictures of green texture without a plain background, and four of red things on white."""
    folder, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for kind in ("flat", "plain/tin"):
        (folder / kind).mkdir(parents=True)
    for i in range(6):
        texture = rng.integers(0, 90, (96, 128, 3)).astype(np.uint8)
        texture[..., 1] += 60
        name = ("apple", "pear")[i % 2]
        cv2.imwrite(str(folder / f"flat/{name}_{i:03d}.png"), texture[..., ::-1])
    for i in range(4):
        table = np.full((96, 128, 3), 220, np.uint8)
        cv2.ellipse(table, (60, 45), (35, 20 + i), 10 * i, 0, 360, (170, 30, 30), -1)
        cv2.imwrite(str(folder / f"plain/tin/{i}.png"), table[..., ::-1])
    table = "file,group\n" + "".join(f"tin/{i}.png,{i // 2}\n" for i in range(4))
    (folder / "plain/groups.csv").write_text(table)
    return (
        Relaid(label="organic", folder=str(folder / "flat"), crops=3),
        Relaid(label="inorganic", folder=str(folder / "plain"), most=3, crops=2),
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory, parts):
    """The set of them, made once."""
    return relaid_set(tmp_path_factory.mktemp("sets") / "set", parts)


def contents(home):
    return {path.relative_to(home): path.read_bytes() for path in home.rglob("*.*")}


def test_every_class_lies_on_the_same_backgrounds(home):
    pictures = list_pictures(read_groups(home / GROUPS))
    assert Counter(picture.label for picture in pictures) == {"organic": 18, "inorganic": 6}
    for picture in pictures:
        assert cv2.imread(str(home / picture.file)).shape == (224, 224, 3)


def test_crops_of_one_thing_share_a_group(home):
    groups = {picture.group for picture in list_pictures(read_groups(home / GROUPS))}
    assert groups == {"flat-apple", "flat-pear", "plain-0", "plain-1"}


def test_a_set_that_is_there_is_left_alone(home, parts):
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*.*")}
    relaid_set(home, parts)
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*.*")} == before


def test_a_set_that_was_broken_off_becomes_the_same_set(tmp_path, home, parts):
    torn = shutil.copytree(home, tmp_path / "set")
    (torn / "groups.csv").unlink()
    for path in (torn / "organic").glob("*_0.jpg"):
        path.unlink()
    assert contents(relaid_set(torn, parts)) == contents(home)


def test_a_set_of_other_folders_is_not_mixed_with_it(home, parts):
    with pytest.raises(ExportError, match="was made of other folders; delete it"):
        relaid_set(home, parts[:1])


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ExportError, match="nowhere: holds no pictures for the class organic"):
        relaid_set(tmp_path / "set", [Relaid(label="organic", folder=str(tmp_path / "nowhere"))])


def test_a_set_that_cannot_be_kept_says_why(tmp_path, parts):
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="set: cannot keep the crops: .*Not a directory"):
        relaid_set(tmp_path / "file" / "set", parts)
