"""What the network is shown of real chambers, step by step; the rendered reel stands for one."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from export.errors import ExportError
from export.evaluation.chambers import STEPS, measure, prepared_frames, read_chamber

REEL = Path(__file__).resolve().parents[4] / "firmware_config/reel"
ITEMS = sorted((REEL / "items").glob("*.jpg"))


def chamber(folder: Path, rows: dict[str, tuple[Path, str, str]]) -> Path:
    """A folder of copied pictures with its table; rows: file -> source, class, flag."""
    lines = ["file,class,flag"]
    for file, (source, label, flag) in rows.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / file)
        lines.append(f"{file},{label},{flag}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_frames_with_a_hand_or_the_lid_are_left_out_and_empties_are_no_frames(tmp_path: Path):
    place = chamber(
        tmp_path,
        {
            "one/empty.jpg": (REEL / "empty.jpg", "empty", ""),
            "one/can.jpg": (ITEMS[0], "metal", ""),
            "two/hand.jpg": (REEL / "hand_3.jpg", "metal", "hand"),
        },
    )

    frames, empties = read_chamber(place)

    assert [(frame.path.name, frame.label, frame.session) for frame in frames] == [
        ("can.jpg", "metal", "one")
    ]
    assert empties == {"one": place / "one/empty.jpg"}


@pytest.mark.parametrize("with_empty", [True, False])
def test_items_are_cut_out_by_the_empty_picture_or_the_median(tmp_path: Path, with_empty: bool):
    rows = {f"s/{path.name}": (path, "glass", "") for path in ITEMS[:12]}
    if with_empty:
        rows["s/empty.jpg"] = (REEL / "empty.jpg", "empty", "")

    seen = list(prepared_frames(chamber(tmp_path, rows), 96))

    assert len(seen) == 12
    assert sum(one.found for one in seen) >= 10
    for one in seen:
        assert [one.pictures[step].shape for step in STEPS] == [(96, 96, 3)] * 3
        assert np.array_equal(one.pictures["whole"], one.pictures["cropped"]) != one.found


def test_a_few_frames_without_an_empty_picture_are_seen_whole(tmp_path: Path):
    rows = {f"s/{path.name}": (path, "glass", "") for path in ITEMS[:3]}
    place = chamber(tmp_path, rows)

    assert not any(one.found for one in prepared_frames(place, 96))
    figures = measure(place, ("glass", "metal"), 96, lambda pictures: np.eye(2)[[0, 0, 1]])
    assert figures["not_found"] == 3
    assert figures["steps"].keys() == {"whole"}
    assert figures["steps"]["whole"]["accuracy"] == pytest.approx(2 / 3, abs=1e-3)


def test_a_table_without_classes_is_reported(tmp_path: Path):
    (tmp_path / "labels.csv").write_text("file\na.jpg\n", encoding="utf-8")

    with pytest.raises(ExportError, match="'file' and 'class'"):
        read_chamber(tmp_path)
