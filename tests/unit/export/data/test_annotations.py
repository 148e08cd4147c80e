"""Annotated pictures become crops and cut-outs; what is wrong with an annotation is told."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from export.data.annotations import (
    CROPS,
    CUTOUTS,
    import_annotations,
    read_annotations,
    write_crops,
)
from export.data.check import examine
from export.data.outlines import circle, mask_of_run_lengths, polygon, rectangle
from export.data.pictures import GROUPS, list_pictures, read_groups, read_rgb
from export.errors import ExportError

GREEN, GREY = (40, 200, 60), (120, 120, 120)
HEIGHT, WIDTH = 120, 160


def draw(path: Path, corner: tuple[int, int] = (40, 30), size: tuple[int, int] = (60, 50)) -> Path:
    """A grey picture with a green rectangle at `corner` (x, y)."""
    picture = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    x, y = corner
    picture[y : y + size[1], x : x + size[0]] = GREEN
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1])
    return path


BOX = [[40, 30], [100, 30], [100, 80], [40, 80]]
RING = [coordinate for point in BOX for coordinate in point]


def shape(points: Any = BOX, label: Any = "glass", kind: str = "polygon", **more: Any) -> dict:
    return {"label": label, "points": points, "shape_type": kind, **more}


def labelme(path: Path, *shapes: Any, picture: str = "a.png", **more: Any) -> Path:
    size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
    path.write_text(json.dumps({"shapes": shapes, "imagePath": picture, **size, **more}))
    return path


def coco(path: Path, *annotations: dict, **more: Any) -> Path:
    content = {
        "images": [{"id": 7, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 3, "name": "glass"}],
        "annotations": [
            {"id": i, "image_id": 7, "category_id": 3, **annotation}
            for i, annotation in enumerate(annotations, start=100)
        ],
    }
    path.write_text(json.dumps({**content, **more}))
    return path


def runs_of(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, beginning outside."""
    flat = mask.T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *ends, flat.size]).tolist()
    return [0, *runs] if flat[0] else runs


def packed(runs: list[int]) -> str:
    """Run lengths as cocoapi writes them (rleToString)."""
    text = ""
    for i, run in enumerate(runs):
        number = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            bits = number & 31
            number >>= 5
            more = number != (-1 if bits & 16 else 0)
            text += chr((bits | (32 if more else 0)) + 48)
    return text


masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)).filter(np.any)


@settings(max_examples=50, deadline=None)
@given(masks, st.booleans())
def test_run_lengths_give_back_the_mask_they_were_made_from(mask: np.ndarray, text: bool) -> None:
    runs = runs_of(mask)
    code = {"size": list(mask.shape), "counts": packed(runs) if text else runs}

    assert np.array_equal(mask_of_run_lengths(code, mask.shape), mask)


def test_a_code_that_cocoapi_wrote_is_read() -> None:
    # By encode() of pycocotools 2.0.11, for a mask with rows 30 to 79 of columns 40 to 99 set.
    code = {"size": [120, 160], "counts": "nf4b1V2" + "0" * 117 + "RP7"}

    assert np.array_equal(mask_of_run_lengths(code, (120, 160)), rectangle(BOX, (120, 160)))


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ({"size": [4, 4]}, "no 'counts'"),
        ({"size": [4, 5], "counts": [16]}, r"size \[4, 5\], not \[4, 4\]"),
        ({"size": [4, 4], "counts": [3, 4]}, "do not fill"),
        ({"size": [4, 4], "counts": [-3, 19]}, "do not fill"),
        ({"size": [4, 4], "counts": [1.5, 14.5]}, "do not fill"),
        ({"size": [4, 4], "counts": "o"}, "ends within a number"),
        ({"size": [4, 4], "counts": "!"}, "no character"),
        ({"size": [4, 4], "counts": [16]}, "covers nothing"),
        ("nonsense", "no 'counts'"),
    ],
)
def test_a_broken_run_length_code_is_refused(code: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        mask_of_run_lengths(code, (4, 4))


def test_outlines_cover_what_they_enclose() -> None:
    size = (100, 100)

    assert rectangle([[10, 20], [40, 30]], size).sum() == 300
    assert rectangle([[40, 30], [10, 20]], size).sum() == 300
    assert circle([[50, 50], [50, 70]], size).sum() == pytest.approx(np.pi * 400, rel=0.01)
    assert polygon([[10, 20], [40, 20], [40, 30], [10, 30]], size).sum() == 300
    triangle = polygon([[0, 0], [80, 0], [0, 80]], size)
    assert triangle.sum() == pytest.approx(3200, rel=0.02)
    assert triangle[5, 5]
    assert not triangle[60, 60]


def test_an_outline_is_cut_at_the_border_of_the_picture() -> None:
    assert rectangle([[-50, -50], [10, 10]], (100, 100)).sum() == 100
    assert polygon([[-50, -50], [50, -50], [50, 50], [-50, 50]], (100, 100))[:50, :50].all()


@pytest.mark.parametrize("kind", ["labelme", "coco", "coco counts", "coco text"])
def test_one_thing_becomes_a_crop_and_a_cut_out(tmp_path: Path, kind: str) -> None:
    draw(tmp_path / "in" / "a.png")
    source = tmp_path / "in" / "a.json"
    runs = runs_of(rectangle(BOX, (HEIGHT, WIDTH)))
    size = [HEIGHT, WIDTH]
    {
        "labelme": lambda: labelme(source, shape()),
        "coco": lambda: coco(source, {"segmentation": [RING]}),
        "coco counts": lambda: coco(source, {"segmentation": {"size": size, "counts": runs}}),
        "coco text": lambda: coco(source, {"segmentation": {"size": size, "counts": packed(runs)}}),
    }[kind]()

    summary = import_annotations(source, tmp_path / "out")

    assert "glass: 1" in summary
    crop = read_rgb(tmp_path / "out" / CROPS / "glass" / "a_1.png")
    # The longer side with a margin of 8 % around it; a polygon takes the pixels on its line too.
    assert crop.shape in ((70, 70, 3), (71, 71, 3))
    assert tuple(crop[35, 35]) == GREEN
    assert tuple(crop[0, 0]) == GREY
    cut = cv2.imread(str(tmp_path / "out" / CUTOUTS / "glass" / "a_1.png"), cv2.IMREAD_UNCHANGED)
    seen = cut[cut[..., 3] > 0]
    assert len(seen) == pytest.approx(60 * 50, rel=0.05)
    assert np.mean(np.all(seen[:, 2::-1] == GREEN, axis=1)) > 0.95


def test_rectangles_and_circles_of_labelme_are_read(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    source = labelme(
        tmp_path / "a.json",
        shape([[40, 30], [100, 80]], kind="rectangle"),
        shape([[70, 55], [70, 65]], kind="circle"),
    )
    problems: list[str] = []

    found = list(read_annotations(source, problems))

    assert [instance.box for instance in found] == [(40, 30, 60, 50), (60, 45, 20, 20)]
    assert problems == []


def test_pieces_of_one_group_are_one_thing(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    pieces = ([[10, 10], [20, 40]], [[50, 10], [60, 40]])
    source = labelme(
        tmp_path / "a.json", *(shape(piece, kind="rectangle", group_id=1) for piece in pieces)
    )

    (found,) = read_annotations(source, [])

    assert found.box == (10, 10, 50, 30)
    assert found.mask.sum() == 2 * 10 * 30


def test_crowds_of_coco_are_no_single_thing(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    source = coco(tmp_path / "a.json", {"segmentation": [RING]}, {"iscrowd": 1, "segmentation": {}})

    assert len(list(read_annotations(source, []))) == 1


@pytest.mark.parametrize("place", ["a.png", "images/a.png", "../a.png", "../images/a.png"])
def test_the_pictures_of_coco_may_lie_where_they_usually_do(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "annotations"
    folder.mkdir()
    draw(folder / place)
    source = coco(folder / "a.json", {"segmentation": [RING]})

    assert len(list(read_annotations(source, []))) == 1


def test_a_picture_path_of_windows_is_understood(tmp_path: Path) -> None:
    draw(tmp_path / "pictures" / "a.png")
    source = labelme(tmp_path / "a.json", shape(), picture="pictures\\a.png")

    assert len(list(read_annotations(source, []))) == 1


@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (lambda p: p.write_text("{"), "cannot be read as JSON"),
        (lambda p: p.write_bytes(b"\xff\xfe\x00"), "cannot be read as JSON"),
        (lambda p: p.write_text("[" * 100_000), "cannot be read as JSON"),
        (lambda p: p.write_text("[1]"), "neither LabelMe nor COCO"),
        (lambda p: labelme(p, shape(BOX[:2])), "shape 1: has 2 points; it takes 3"),
        (lambda p: labelme(p, shape(), shape(kind="line")), "shape 2: a line has no area"),
        (lambda p: labelme(p, shape("glass")), "shape 1: has points that are no pairs"),
        (lambda p: labelme(p, shape(None)), "shape 1: has points that are no pairs"),
        (lambda p: labelme(p, shape([[1, 2, 3]] * 4)), "shape 1: has points that are no pairs"),
        (lambda p: labelme(p, shape([[1, 2], [3, float("nan")], [5, 6]])), "shape 1: .*no place"),
        (lambda p: labelme(p, shape([[300, 5], [400, 5], [400, 9]])), "shape 1: covers nothing"),
        (lambda p: labelme(p, shape([[-9, -9], [-5, -5]], kind="rectangle")), "covers nothing"),
        (lambda p: labelme(p, shape(label="")), "shape 1: the label '' cannot name"),
        (lambda p: labelme(p, shape(label="../up")), "shape 1: the label '../up' cannot name"),
        (lambda p: labelme(p, shape(label=None)), "shape 1: the label None cannot name"),
        (lambda p: labelme(p, 5), "shape 1: is no shape"),
        (lambda p: labelme(p, shape(kind=["x"])), r"shape 1: a \['x'\] has no area"),
        (lambda p: labelme(p, shape(), picture="gone.png"), r"gone\.png: cannot read it"),
        (lambda p: labelme(p, shape(), picture=""), "has no imagePath"),
        (lambda p: labelme(p, shape(), imageWidth=99), "is 160x120, but was annotated as 99x120"),
        (lambda p: coco(p, {"segmentation": [RING], "category_id": 4}), "100: there is no categ"),
        (lambda p: coco(p, {"segmentation": [RING], "image_id": []}), r"100: there is no image \["),
        (lambda p: coco(p, {"segmentation": []}), "annotation 100: has no outline"),
        (lambda p: coco(p, {}), "annotation 100: the run-length code has no 'counts'"),
        (lambda p: coco(p, {"segmentation": [[1, 2, 3]]}), "annotation 100: has points that"),
        (lambda p: coco(p, {"segmentation": [[1, 2, 3, 4]]}), "annotation 100: has 2 points"),
        (lambda p: coco(p, {"segmentation": [RING]}, images=[{"id": 7}]), "image 7: .*cannot read"),
    ],
)
def test_what_is_wrong_is_reported_with_file_and_number(
    tmp_path: Path, write: Callable[[Path], object], complaint: str
) -> None:
    draw(tmp_path / "a.png")
    source = tmp_path / "a.json"
    write(source)
    problems: list[str] = []

    list(read_annotations(source, problems))

    assert len(problems) == 1
    assert problems[0].startswith(str(source))
    assert re.search(complaint, problems[0])


def test_a_wrong_shape_does_not_lose_the_right_ones(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    labelme(tmp_path / "a.json", shape(BOX[:2]), shape())
    (tmp_path / "b.json").write_text("{")

    summary = import_annotations(tmp_path, tmp_path / "out")

    assert "glass: 1" in summary
    assert "2 left out" in summary
    assert "a.json: shape 1" in summary


def test_nothing_usable_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    source = labelme(tmp_path / "a.json", shape())

    with pytest.raises(ExportError, match=r"nothing in it can be used\n- .*a\.png: cannot read"):
        import_annotations(source, tmp_path / "out")

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["gone.json", "."])
def test_no_annotations_at_all_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExportError, match="holds no annotations"):
        import_annotations(tmp_path / name, tmp_path / "out")


def test_a_folder_in_use_is_not_written_into(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    labelme(tmp_path / "a.json", shape())

    with pytest.raises(ExportError, match="is not empty"):
        write_crops(read_annotations(tmp_path, []), tmp_path)


def test_the_crops_are_a_data_folder_whose_groups_are_the_pictures(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        draw(tmp_path / "in" / folder / "a.png")
        labelme(tmp_path / "in" / folder / "a.json", shape(), shape(label="paper"))

    import_annotations(tmp_path / "in", tmp_path / "out")

    for kind in (CROPS, CUTOUTS):
        pictures = list_pictures(read_groups(tmp_path / "out" / kind / GROUPS))
        assert {(picture.file, picture.group) for picture in pictures} == {
            ("glass/a_1.png", "a"),
            ("paper/a_2.png", "a"),
            ("glass/a-2_1.png", "a-2"),
            ("paper/a-2_2.png", "a-2"),
        }
    assert examine(tmp_path / "out" / CROPS)[0].pictures == {"glass": 2, "paper": 2}


def test_a_thin_thing_is_cut_out_with_a_clear_rim(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png")
    source = labelme(tmp_path / "in" / "a.json", shape([[10, 50], [110, 54]], kind="rectangle"))

    import_annotations(source, tmp_path / "out")

    cut = cv2.imread(str(tmp_path / "out" / CUTOUTS / "glass" / "a_1.png"), cv2.IMREAD_UNCHANGED)
    assert cut.shape == (32, 100, 4)
    assert (cut[..., 3] > 0).sum() == 4 * 100
