"""The list of pictures: parts that never change, and groups that never straddle two of them."""

import csv
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.data.pictures import (
    FOLDS,
    GROUPS,
    PARTS,
    SHARES,
    Picture,
    deal_folds,
    deal_shares,
    find_pictures,
    label_indices,
    labels_of,
    list_pictures,
    load_squares,
    read_groups,
    read_rgb,
    read_split,
    split,
    spread,
    write_groups,
    write_split,
)
from export.errors import ExportError
from export.run import Run

LABELS = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
DATA = Path(__file__).resolve().parents[5] / "shared" / "data" / "trashnet"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="skipped: no data")


def members(groups: int, size: int = 1) -> list[tuple[str, str]]:
    return [(f"{label}-{i}", label) for label in LABELS for i in range(groups) for _ in range(size)]


@given(st.integers(1, 700), st.integers(1, 300))
def test_a_choice_is_even_over_the_whole_list(count: int, most: int) -> None:
    chosen = spread(range(count), most)

    assert len(chosen) == min(count, most)
    if most > 1:
        assert (chosen[0], chosen[-1]) == (0, count - 1)
    steps = np.diff(chosen)
    assert not steps.size or (steps.min() > 0 and np.ptp(steps) <= 1)


def test_a_choice_of_nothing_is_nothing() -> None:
    assert spread([], 5) == []


def test_folds_are_the_same_on_every_machine_and_in_every_order() -> None:
    listed = members(20)
    dealt = deal_folds(listed)

    assert deal_folds(reversed(listed)) == dealt
    assert [dealt[f"glass-{i}"] for i in range(8)] == [0, 3, 2, 3, 2, 4, 4, 3]


def test_every_fold_has_nearly_as_many_pictures_of_a_class() -> None:
    listed = [(f"{label}-{i}", label) for label in LABELS for i in range(57) for _ in range(i % 4)]
    dealt = deal_folds(listed)

    for label in LABELS:
        counts = Counter(dealt[group] for group, member in listed if member == label)
        assert len(counts) == FOLDS
        assert max(counts.values()) - min(counts.values()) <= 3


@pytest.mark.parametrize("deal", [deal_folds, deal_shares])
def test_a_group_of_several_classes_falls_in_one_part(deal) -> None:
    listed = [*members(10), ("mixed", "glass"), ("mixed", "glass"), ("mixed", "metal")]

    assert deal(listed)["mixed"] in range(FOLDS)
    assert deal(listed).keys() == {group for group, _ in listed}


def test_shares_are_the_same_on_every_machine_and_in_every_order() -> None:
    listed = members(10)
    dealt = deal_shares(listed)

    assert deal_shares(reversed(listed)) == dealt
    assert [dealt[f"glass-{i}"] for i in range(10)] == [0, 2, 0, 0, 0, 2, 0, 1, 0, 0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=20, max_size=120))
def test_each_part_gets_its_share_of_a_class(sizes: list[int]) -> None:
    listed = [(f"g{i}", "glass") for i, size in enumerate(sizes) for _ in range(size)]
    dealt = deal_shares(listed)

    counts = Counter(dealt[group] for group, _ in listed)
    for part, share in enumerate(SHARES):
        assert abs(counts[part] - share * len(listed)) <= 2 * max(sizes)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=3, max_size=12))
def test_a_class_with_as_many_groups_as_parts_is_in_each_of_them(sizes: list[int]) -> None:
    listed = [(f"g{i}", "glass") for i, size in enumerate(sizes) for _ in range(size)]

    assert set(deal_shares(listed).values()) == set(range(len(PARTS)))


def test_a_part_without_a_share_gets_nothing() -> None:
    dealt = deal_shares(members(4), (0.8, 0.0, 0.2))

    assert set(dealt.values()) == {0, 2}


def write_table(folder: Path, text: str) -> Path:
    (folder / "groups.csv").write_text(text, encoding="utf-8")
    return folder


def draw(path: Path, value: int = 120) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((40, 50, 3), value, np.uint8))


def test_a_folder_without_groups_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"groups\.csv: cannot be read: No such file"):
        read_groups(tmp_path / GROUPS)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("name,group\n", "columns 'file' and 'group'"),
        ("file,group\nglass/1.jpg,\n", "groups.csv:2: needs a value"),
        ("file,group\nglass/1.jpg\n", "groups.csv:2: needs a value"),
        ("file,group\nglass/1.jpg,1\nglass/1.jpg,2\n", "groups.csv:3: glass/1.jpg is listed twice"),
    ],
)
def test_a_wrong_table_is_refused_with_the_reason(
    tmp_path: Path, table: str, complaint: str
) -> None:
    with pytest.raises(ExportError, match=complaint):
        read_groups(write_table(tmp_path, table) / GROUPS)


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_bytes(b"file,group\n\xff\xfe,1\n")

    with pytest.raises(ExportError, match="is no CSV file in UTF-8"):
        read_groups(tmp_path / GROUPS)


def test_classes_are_the_folders(tmp_path: Path) -> None:
    write_table(tmp_path, "file,group\ntin/1.png,1\napple/1.png,2\n")

    pictures = list_pictures(read_groups(tmp_path / GROUPS))

    assert [picture.file for picture in pictures] == ["apple/1.png", "tin/1.png"]
    assert labels_of(pictures) == ("apple", "tin")


def test_pictures_are_found_at_any_depth_but_nothing_hidden(tmp_path: Path) -> None:
    for file in ("b/1.JPG", "a/x/2.png", "a/.hidden/3.png", ".trash/4.png", "a/notes.txt", "5.png"):
        draw(tmp_path / "drawn.png")
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes((tmp_path / "drawn.png").read_bytes())

    assert find_pictures(tmp_path) == ["a/x/2.png", "b/1.JPG"]


@pytest.mark.parametrize(("name", "complaint"), [("", "no pictures"), ("gone", "no such folder")])
def test_a_folder_without_pictures_is_refused(tmp_path: Path, name: str, complaint: str) -> None:
    with pytest.raises(ExportError, match=complaint):
        find_pictures(tmp_path / name)


def picture(file: str, group: str, label: str = "glass") -> Picture:
    return Picture(file, label, group, 0)


def test_a_split_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    groups = {f"{label}/{i}.png": f"{label}-{i // 2}" for label in LABELS for i in range(20)}
    for file in groups:
        draw(tmp_path / "data" / file)
    pictures = list_pictures(groups)
    parts = split(pictures)
    run = Run(tmp_path / "run")
    run.create()

    write_split(run, parts)

    assert read_split(run) == parts
    with run.path("split.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["file", "label", "group", "part"]
    assert Counter(row["part"] for row in rows) == {"train": 84, "validation": 12, "held_out": 24}


def test_a_split_keeps_the_order_within_a_part(tmp_path: Path) -> None:
    held_out = [picture("glass/2.png", "b"), picture("glass/1.png", "a")]

    write_split(Run(tmp_path), {"held_out": held_out})
    parts = read_split(Run(tmp_path))

    assert [p.file for p in parts["held_out"]] == ["glass/2.png", "glass/1.png"]
    assert parts["train"] == parts["validation"] == []


def test_a_split_that_parts_a_group_is_refused(tmp_path: Path) -> None:
    parts = {"train": [picture("a/1.png", "g")], "held_out": [picture("a/2.png", "g")]}

    with pytest.raises(ExportError, match="group g would be in train and in held_out"):
        write_split(Run(tmp_path), parts)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("file,label\n", "needs the columns"),
        ("file,label,group,part\na/1.png,a,1,test\n", "no such part: test"),
    ],
)
def test_a_damaged_split_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "split.csv").write_text(text)

    with pytest.raises(ExportError, match=complaint):
        read_split(Run(tmp_path))


def test_a_run_without_a_split_is_told_what_to_do_first(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="export train"):
        read_split(Run(tmp_path))


def test_groups_are_kept_in_the_run_folder(tmp_path: Path) -> None:
    write_groups(tmp_path, {"b/1.png": "x,y", "a/1.png": "ö"})

    assert (tmp_path / "groups.csv").read_text("utf-8") == 'file,group\na/1.png,ö\nb/1.png,"x,y"\n'


def test_classes_are_numbered_in_the_order_of_the_labels() -> None:
    pictures = [picture("b/1.png", "1", "b"), picture("a/1.png", "2", "a")]

    assert label_indices(pictures, ("b", "a")).tolist() == [0, 1]
    with pytest.raises(ExportError, match="class 'b' is none of a, c"):
        label_indices(pictures, ("a", "c"))


def test_a_file_that_is_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")

    with pytest.raises(ExportError, match=r"broken\.jpg: not a JPEG"):
        read_rgb(tmp_path / "broken.jpg")


@needs_data
def test_no_group_of_the_real_pictures_straddles_folds() -> None:
    folds = defaultdict(set)
    for picture in list_pictures(read_groups(DATA / GROUPS)):
        folds[picture.group].add(picture.fold)

    assert {len(found) for found in folds.values()} == {1}


@needs_data
def test_real_folds_are_stratified() -> None:
    pictures = list_pictures(read_groups(DATA / GROUPS))
    per_fold = Counter((picture.label, picture.fold) for picture in pictures)

    assert labels_of(pictures) == LABELS
    for label in LABELS:
        share = sum(picture.label == label for picture in pictures) / FOLDS
        for fold in range(FOLDS):
            assert per_fold[label, fold] == pytest.approx(share, rel=0.15)


@needs_data
def test_real_folds_are_those_of_the_shipped_model() -> None:
    held_out = [
        picture for picture in list_pictures(read_groups(DATA / GROUPS)) if picture.fold == 0
    ]

    assert len(held_out) == 418
    assert len({picture.group for picture in held_out}) == 382


@needs_data
def test_pictures_are_loaded_as_the_daemon_prepares_them() -> None:
    from bin_daemon.core.images import prepare

    file = list_pictures(read_groups(DATA / GROUPS))[0].file
    squares = load_squares(DATA, [file], 224)

    assert squares.shape == (1, 224, 224, 3)
    assert np.array_equal(squares[0], prepare(read_rgb(DATA / file), 224, 224))
