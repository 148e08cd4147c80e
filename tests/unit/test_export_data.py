"""The list of pictures: folds that never change, and groups that never straddle two of them."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from export.data import FOLDS, LABELS, deal_folds, list_pictures, load_squares, read_rgb
from export.errors import ExportError

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "trashnet"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="skipped: no data")


def members(groups: int, size: int = 1) -> list[tuple[str, str]]:
    return [(f"{label}-{i}", label) for label in LABELS for i in range(groups) for _ in range(size)]


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


def test_a_group_of_several_classes_falls_in_one_fold() -> None:
    listed = [*members(10), ("mixed", "glass"), ("mixed", "glass"), ("mixed", "metal")]

    assert deal_folds(listed)["mixed"] in range(FOLDS)
    assert deal_folds(listed).keys() == {group for group, _ in listed}


def write_table(folder: Path, text: str) -> Path:
    (folder / "groups.csv").write_text(text, encoding="utf-8")
    return folder


def test_a_folder_without_groups_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"groups\.csv: no such file"):
        list_pictures(tmp_path)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("name,group\n", "columns 'file' and 'group'"),
        ("file,group\nbanana/1.jpg,1\n", "the class must be one of"),
        ("file,group\nglass/1.jpg,1\n", "listed but missing"),
    ],
)
def test_a_wrong_table_is_refused_with_the_reason(
    tmp_path: Path, table: str, complaint: str
) -> None:
    with pytest.raises(ExportError, match=complaint):
        list_pictures(write_table(tmp_path, table))


def test_a_file_that_is_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")

    with pytest.raises(ExportError, match=r"broken\.jpg: cannot be read"):
        read_rgb(tmp_path / "broken.jpg")


@needs_data
def test_no_group_of_the_real_pictures_straddles_folds() -> None:
    folds = defaultdict(set)
    for picture in list_pictures(DATA):
        folds[picture.group].add(picture.fold)

    assert {len(found) for found in folds.values()} == {1}


@needs_data
def test_real_folds_are_stratified() -> None:
    pictures = list_pictures(DATA)
    per_fold = Counter((picture.label, picture.fold) for picture in pictures)

    for label in LABELS:
        share = sum(picture.label == label for picture in pictures) / FOLDS
        for fold in range(FOLDS):
            assert per_fold[label, fold] == pytest.approx(share, rel=0.15)


@needs_data
def test_pictures_are_loaded_as_the_daemon_prepares_them() -> None:
    from bin_daemon.classifier import prepare

    file = list_pictures(DATA)[0].file
    squares = load_squares(DATA, [file], 224)

    assert squares.shape == (1, 224, 224, 3)
    assert np.array_equal(squares[0], prepare(read_rgb(DATA / file), 224, 224))
