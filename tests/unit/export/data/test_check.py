"""What is wrong with a data folder is told before a training begins, with what to do about it."""

import base64
import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_pictures import scene

from export.data.check import REPORT, SUSPECTS, Report, check_data, examine
from export.data.pictures import SHARES, read_groups, read_rgb, split
from export.errors import ExportError
from export.run import Run

DATA = Path(__file__).resolve().parents[5] / "shared" / "data" / "trashnet"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="skipped: no data")
LABELS = ("glass", "paper")


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve sound pictures of each of two classes, all of different things."""
    data = tmp_path / "data"
    for number, label in enumerate(LABELS):
        for i in range(12):
            save(data / label / f"{i:02}.png", scene(100 * number + i))
    return data


def kinds(report: Report) -> list[tuple[str, str]]:
    """Severity and kind of each finding; the fixture always has few pictures."""
    return [
        (finding.severity, finding.kind)
        for finding in report.findings
        if finding.kind != "few pictures"
    ]


def files(report: Report, kind: str) -> Sequence[str]:
    (found,) = (finding.files for finding in report.findings if finding.kind == kind)
    return found


def test_a_sound_folder_has_nothing_against_it_but_its_size(folder: Path) -> None:
    report, groups = examine(folder)

    assert kinds(report) == []
    assert report.errors == []
    assert report.pictures == report.groups == {"glass": 12, "paper": 12}
    assert len(set(groups.values())) == 24
    assert "warning: 'glass' has 12 pictures" in report.text()


def test_near_duplicates_share_a_group(folder: Path) -> None:
    cv2.imwrite(str(folder / "glass" / "again.jpg"), scene(3), [cv2.IMWRITE_JPEG_QUALITY, 30])

    report, groups = examine(folder)

    assert groups["glass/again.jpg"] == groups["glass/03.png"]
    assert report.groups["glass"] == 12
    assert report.grouped_by == "hash"
    assert kinds(report) == []


def test_copies_are_told_whatever_file_they_are_kept_in(folder: Path) -> None:
    save(folder / "glass" / "copy.bmp", scene(3))

    report, groups = examine(folder)

    assert kinds(report) == [("warning", "copy")]
    assert files(report, "copy") == ("glass/03.png", "glass/copy.bmp")
    assert groups["glass/copy.bmp"] == groups["glass/03.png"]


def test_a_copy_in_another_class_is_told_apart(folder: Path) -> None:
    save(folder / "paper" / "copy.png", scene(3))
    cv2.imwrite(str(folder / "paper" / "near.jpg"), scene(4), [cv2.IMWRITE_JPEG_QUALITY, 30])

    report, _ = examine(folder)

    assert files(report, "copy in another class") == ("glass/03.png", "paper/copy.png")
    assert files(report, "near-duplicate in another class") == ("glass/04.png", "paper/near.jpg")


def write_groups_by_hand(folder: Path, *more: str, leave: str = "") -> None:
    rows = [
        f"{path.relative_to(folder).as_posix()},{i}"
        for i, path in enumerate(sorted(folder.rglob("*.*")))
        if path.name != leave
    ]
    (folder / "groups.csv").write_text("\n".join(["file,group", *rows, *more]) + "\n")


def test_groups_given_by_hand_are_kept_but_copies_are_joined(folder: Path) -> None:
    save(folder / "glass" / "copy.png", scene(3))
    cv2.imwrite(str(folder / "glass" / "near.jpg"), scene(4), [cv2.IMWRITE_JPEG_QUALITY, 30])
    write_groups_by_hand(folder)

    report, groups = examine(folder)

    assert report.grouped_by == "groups.csv"
    assert groups["glass/copy.png"] == groups["glass/03.png"]
    assert groups["glass/near.jpg"] != groups["glass/04.png"]
    assert files(report, "near-duplicate in another group") == ("glass/04.png", "glass/near.jpg")


def test_a_table_and_a_folder_that_differ_are_reported(folder: Path) -> None:
    write_groups_by_hand(folder, "glass/gone.png,77", leave="05.png")

    report, groups = examine(folder)

    assert kinds(report) == [("error", "missing"), ("warning", "not in the table")]
    assert files(report, "missing") == ("glass/gone.png",)
    assert files(report, "not in the table") == ("glass/05.png", "paper/05.png")
    assert "glass/05.png" not in groups


def test_a_class_of_which_nothing_can_be_used_stops_a_training(folder: Path) -> None:
    (folder / "groups.csv").write_text(
        "\n".join(["file,group", *(f"glass/{at:02}.png,{at}" for at in range(12))])
    )

    report, _ = examine(folder)

    assert report.pictures == {"glass": 12, "paper": 0}
    (error,) = report.errors
    assert error.message.startswith("'paper' shows 0 different things in 0 pictures")


def test_one_broken_file_among_many_is_left_out(folder: Path) -> None:
    whole = cv2.imencode(".jpg", scene(50))[1].tobytes()
    (folder / "glass" / "half.jpg").write_bytes(whole[: len(whole) // 2])

    report, groups = examine(folder)

    assert kinds(report) == [("warning", "unreadable")]
    assert "glass/half.jpg: the picture is truncated or damaged" in report.text()
    assert "glass/half.jpg" not in groups
    assert report.pictures["glass"] == 12


def test_many_broken_files_stop_a_training(folder: Path) -> None:
    for i in range(3):
        (folder / "glass" / f"broken{i}.jpg").write_bytes(b"<html>404</html>")

    report, _ = examine(folder)

    assert kinds(report) == [("error", "unreadable")]
    assert "3 files (glass/broken0.jpg, glass/broken1.jpg, glass/broken2.jpg)" in report.text()
    assert "not a JPEG" in report.text()


def test_tiny_pictures_are_reported(folder: Path) -> None:
    save(folder / "glass" / "tiny.png", scene(50)[:50, :100])

    report, _ = examine(folder)

    assert files(report, "tiny") == ("glass/tiny.png",)


def test_files_that_are_no_pictures_are_reported_but_hidden_ones_are_not(folder: Path) -> None:
    (folder / "glass" / "notes.txt").write_text("hello")
    (folder / "glass" / ".DS_Store").write_text("")

    report, _ = examine(folder)

    assert kinds(report) == [("warning", "no picture")]
    assert files(report, "no picture") == ("glass/notes.txt",)


# 64 x 64 pixels, cyan on the left and red on the right, as Pillow 13 writes a CMYK picture.
INKS = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwBQNzxGPDJQRkFGWlVQX3jIgnhubnj1r7mRyP//////////////////////"
    "/////////////////////////////8AAFAgAQABABEMRAE0RAFkRAEsRAP/EABYAAQEBAAAAAAAAAAAAAAAAAAAF"
    "BP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAOBEMATQBZAEsAAD8AxNra2gAAALSKigAAACKtLQAAAAtIqKAAAAIq"
    "0tAAAAC0iooAAAAirS0AAAALSKigAAACKtLQAAAAtIqKAAAAIq0tAAAAC0iooAAAAirS0AAAALSKigAAACKtLQAA"
    "AAtIqKAAAAP/2Q=="
)


def test_four_inks_are_read_as_the_colours_they_print(tmp_path: Path) -> None:
    (tmp_path / "inks.jpg").write_bytes(INKS)

    pixels = read_rgb(tmp_path / "inks.jpg").astype(int)

    assert np.abs(pixels[32, 8] - (0, 255, 255)).max() < 8
    assert np.abs(pixels[32, 56] - (255, 0, 0)).max() < 8


def test_other_colour_modes_are_read_and_reported(folder: Path) -> None:
    save(folder / "glass" / "grey.png", cv2.cvtColor(scene(50), cv2.COLOR_BGR2GRAY))
    save(folder / "glass" / "clear.png", cv2.cvtColor(scene(51), cv2.COLOR_BGR2BGRA))
    (folder / "glass" / "inks.jpg").write_bytes(INKS)

    report, groups = examine(folder)

    assert files(report, "grey") == ("glass/grey.png",)
    assert files(report, "transparent") == ("glass/clear.png",)
    assert files(report, "four inks") == ("glass/inks.jpg",)
    assert {"glass/grey.png", "glass/clear.png", "glass/inks.jpg"} <= groups.keys()


@pytest.mark.parametrize("other", ["Glass", "glass ", "gl-ass", "GLASS"])
def test_classes_that_differ_only_in_spelling_stop_a_training(folder: Path, other: str) -> None:
    for i in range(5):
        save(folder / other / f"{i}.png", scene(200 + i))

    report, _ = examine(folder)

    assert kinds(report) == [("error", "label spelt twice")]
    assert f"'{other}'" in report.text()


def test_one_class_alone_stops_a_training(folder: Path) -> None:
    shutil.rmtree(folder / "paper")

    assert ("error", "one class") in kinds(examine(folder)[0])


def test_folders_of_a_split_are_not_taken_for_classes(folder: Path) -> None:
    (folder / "glass").rename(folder / "train")
    (folder / "paper").rename(folder / "test")

    report, _ = examine(folder)

    assert kinds(report) == [("error", "a split, not classes")]


def test_classes_must_be_those_of_the_recipe(folder: Path) -> None:
    report, _ = examine(folder, ("glass", "metal"))

    assert kinds(report) == [("error", "class missing"), ("error", "class unknown")]
    assert "'metal'" in report.text()
    assert "'paper'" in report.text()


def test_a_class_with_too_few_things_to_be_split_stops_a_training(folder: Path) -> None:
    for i in range(10):
        cv2.imwrite(
            str(folder / "paper" / f"{i:02}.png"), cv2.convertScaleAbs(scene(300), alpha=1 - i / 40)
        )
    for name in ("10.png", "11.png"):
        (folder / "paper" / name).unlink()

    report, _ = examine(folder)

    assert kinds(report) == [("error", "too few groups")]
    assert "'paper' shows 1 different things in 10 pictures" in report.text()


def test_errors_stop_a_training_and_the_report_stays(folder: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.create()
    save(folder / "Glass" / "1.png", scene(200))

    with pytest.raises(ExportError, match="cannot be trained on .*\n- classes 'Glass' and 'glass'"):
        check_data(run, folder)

    report = json.loads(run.path(REPORT).read_text())
    assert report["findings"][0]["severity"] == "error"
    assert not run.path("groups.csv").exists()


def test_warnings_are_kept_with_the_run_and_nothing_is_written_beside_the_pictures(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path / "run")
    run.create()
    save(folder / "glass" / "copy.png", scene(3))
    before = sorted(folder.rglob("*"))

    pictures = check_data(run, folder)

    assert sorted(folder.rglob("*")) == before
    assert len(pictures) == 25
    assert "data: warning: 2 files" in capsys.readouterr().out
    with run.path(SUSPECTS).open(newline="") as stream:
        rows = [(row["file"], row["why"]) for row in csv.DictReader(stream)]
    assert rows == [("glass/03.png", "copy"), ("glass/copy.png", "copy")]
    assert json.loads(run.path(REPORT).read_text())["pictures"] == {"glass": 13, "paper": 12}
    parts = split(pictures)
    assert [len(parts[part]) for part in parts] == pytest.approx(
        [share * 25 for share in SHARES], abs=2
    )


def test_embeddings_are_asked_for_each_picture_once(folder: Path) -> None:
    for i in range(90):
        save(folder / "glass" / f"more{i}.png", scene(400 + i, size=80))
    shapes = []

    def embed(squares: np.ndarray) -> np.ndarray:
        shapes.append(squares.shape[1:])
        return squares[:, ::16, ::16].reshape(len(squares), -1).astype(np.float32)

    report, groups = examine(folder, embed=embed)

    assert set(shapes) == {(224, 224, 3)}
    assert report.grouped_by == "hash and embedding"
    assert len(groups) == 114


@needs_data
def test_the_real_pictures_have_groups_and_nothing_against_them(tmp_path: Path) -> None:
    known = sorted(read_groups(DATA / "groups.csv").items())[::12]
    for file, _ in known:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).symlink_to(DATA / file)
    rows = [f"{file},{group}" for file, group in known]
    (tmp_path / "groups.csv").write_text("\n".join(["file,group", *rows]) + "\n")

    report, groups = examine(tmp_path, sorted({file.split("/")[0] for file, _ in known}))

    assert kinds(report) == []
    assert groups == dict(known)
    assert report.grouped_by == "groups.csv"
