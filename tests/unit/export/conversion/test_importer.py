"""Which way to scale pixels an import takes, and when it asks."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from export.conversion.importer import _choose_scale
from export.data.pictures import Picture
from export.errors import ExportError
from export.run import Run

LABELS = ("can", "leaf")
SIDE = 32


class Source:
    """A classifier that is right on so many of the pictures with each way to scale pixels."""

    side = SIDE

    def __init__(self, right: dict[str, int]) -> None:
        self.right, self.scales = right, tuple(right)

    def answer(self, scale: str):
        """Reads the class off the pixels, and says the other one of all but the first pictures."""

        def run(squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            found = (squares.mean(axis=(1, 2, 3)) > 128).astype(int)
            found[self.right[scale] :] ^= 1
            return 4.0 * np.eye(2)[found], np.zeros((len(squares), 1))

        return run


def choose(tmp_path: Path, source: Source, scale: str | None, count: int = 40):
    """What is taken of a source that is shown `count` pictures, and the log."""
    run = Run(tmp_path / "run")
    run.create()
    pictures = []
    for i in range(count):
        file = f"{LABELS[i % 2]}/{i}.png"
        (tmp_path / LABELS[i % 2]).mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / file), np.full((SIDE, SIDE, 3), 255 * (i % 2), np.uint8))
        pictures.append(Picture(file, LABELS[i % 2], file, 1))
    chosen, tried = _choose_scale(run, source, scale, tmp_path, pictures, LABELS)
    return chosen, tried, run.path("log.txt").read_text()


def test_a_way_that_is_clearly_right_is_taken_and_reported(tmp_path: Path) -> None:
    chosen, tried, log = choose(tmp_path, Source({"0-1": 20, "0-255": 38}), None)

    assert chosen == "0-255"
    assert tried["0-1"]["accuracy"] == 0.5
    assert tried["0-255"]["accuracy"] == 0.95
    assert "import: pixels as 0-1: 50% right of 40" in log
    assert "import: takes pixels as 0-255, clearly right most often" in log


@pytest.mark.parametrize(
    ("right", "count"),
    [
        ({"0-1": 38, "0-255": 38, "caffe": 10}, 40),
        ({"0-1": 35, "0-255": 40, "caffe": 10}, 40),  # more than a tenth, five pictures only
        ({"0-1": 91, "0-255": 100, "caffe": 10}, 100),  # nine pictures, less than a tenth
    ],
)
def test_where_several_do_alike_the_person_is_asked(
    tmp_path: Path, right: dict, count: int
) -> None:
    with pytest.raises(ExportError, match="0-1 and 0-255 do alike on your pictures.*--scale="):
        choose(tmp_path, Source(right), None, count)


def test_what_is_stated_is_taken_and_doubted_where_another_is_clearly_right(
    tmp_path: Path,
) -> None:
    source = Source({"0-1": 20, "0-255": 38})

    assert choose(tmp_path, source, "0-1")[0] == "0-1"
    assert (
        "WARNING: 0-255 is right far more often than the 0-1 you state"
        in (tmp_path / "run" / "log.txt").read_text()
    )
    assert choose(tmp_path, Source({"0-1": 38, "0-255": 38}), "0-255")[0] == "0-255"


def test_a_file_that_knows_one_way_is_not_asked_about(tmp_path: Path) -> None:
    chosen, _, log = choose(tmp_path, Source({"0-255": 7}), None)

    assert chosen == "0-255"
    assert "takes pixels as" not in log
