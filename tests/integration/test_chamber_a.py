"""A real bin's pictures through the replay camera and the chamber, without the network.

Needs the pictures under ../shared/data/chamber_a (a Pi camera in a sorting bin: blue walls, clear
bottles, things cut by the edge); skipped where they are not.
"""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import cv2
import pytest

from bin_daemon.camera.replay import hold_each
from bin_daemon.chamber.chamber import Chamber, isolate
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.errors import CameraFinishedError
from bin_daemon.core.images import median_empty, read_picture
from bin_daemon.core.messages import View

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "chamber_a"
ITEM_VIEWS = (View.ITEM, View.ITEMS)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="skipped: no data")


def rows(session: str) -> list[dict[str, str]]:
    with (DATA / "labels.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["file"].startswith(f"{session}/")]


def empty_of(session: str) -> Path | None:
    empties = [row["file"] for row in rows(session) if row["item"] == "empty"]
    return DATA / empties[0] if empties else None


def watched(pictures: list[Path], empty: Path | None) -> dict[tuple[int, str], list[View]]:
    """The views of each step of a scene that holds `pictures`, by step and truth."""
    camera = hold_each(
        pictures, empty, 12, SimulatedClock(), gap_frames=6, noise=2.0, jitter_px=0.3, seed=1
    )
    chamber = Chamber(ChamberSection())
    seen: dict[tuple[int, str], list[View]] = {}
    before, steps = "", 0
    while True:
        try:
            frame = camera.capture(5.0)
        except CameraFinishedError:
            return seen
        steps += camera.truth != before
        before = camera.truth
        seen.setdefault((steps, camera.truth), []).append(chamber.observe(frame).view)


def episodes(views: list[View]) -> int:
    """How often an item came to rest."""
    return sum(1 for at_rest, _ in itertools.groupby(v in ITEM_VIEWS for v in views) if at_rest)


@pytest.mark.parametrize(
    "session", ["20180419_1", "20180419_2", "20180423_4", "20180423_5", "20180423_11"]
)
def test_each_held_item_rests_exactly_once_and_nothing_else_does(session: str) -> None:
    plain = [r["file"] for r in rows(session) if r["item"] != "empty" and not r["flag"]]
    pictures = [DATA / file for file in plain[::4]]
    for (_, truth), views in watched(pictures, empty_of(session)).items():
        if truth == "empty":
            assert episodes(views) == 0
        else:
            assert (truth, episodes(views)) == (truth, 1)
            assert View.ITEMS not in views, f"{truth} is one item"


@pytest.mark.parametrize("session", ["20180419_1", "20180419_2", "20180419_3", "20180423_4"])
def test_a_picture_with_the_lid_open_or_a_hand_is_never_an_item(
    session: str, tmp_path: Path
) -> None:
    flagged = [DATA / r["file"] for r in rows(session) if r["flag"]]
    others = [DATA / r["file"] for r in rows(session) if not r["flag"]]
    empty = empty_of(session)
    if empty is None:
        empty = tmp_path / "empty.png"
        median = median_empty(others, 640, 480)
        cv2.imwrite(str(empty), cv2.cvtColor(median, cv2.COLOR_RGB2BGR))
    assert flagged
    for (_, truth), views in watched(flagged, empty).items():
        assert episodes(views) == 0, truth


def test_the_empties_of_a_chamber_are_alike_to_it() -> None:
    names = ("20180423_13/1.jpg", "20180423_4/36.jpg", "20180423_5/44.jpg")
    pictures = [DATA / name for name in names]
    for first in pictures:
        for views in watched(pictures, first).values():
            assert not set(views) & {*ITEM_VIEWS, View.HAND, View.BLOCKED}


@pytest.mark.parametrize(
    ("name", "box"),
    [
        # By eye, in pixels of the 480 x 480 picture: a clear bottle, a cup, a cup cut by the edge.
        ("20180423_4/19.jpg", (0, 278, 345, 106)),
        ("20180423_5/5.jpg", (125, 225, 215, 215)),
        ("20180423_5/3.jpg", (0, 205, 150, 215)),
    ],
)
def test_the_box_is_where_the_item_lies(name: str, box: tuple[int, int, int, int]) -> None:
    empty = empty_of(name.split("/", maxsplit=1)[0])
    assert empty is not None
    item = isolate(read_picture(DATA / name), read_picture(empty))
    assert item is not None
    x, y, width, height = item.box
    left, top = max(x, box[0]), max(y, box[1])
    right = min(x + width, box[0] + box[2])
    bottom = min(y + height, box[1] + box[3])
    shared = max(0, right - left) * max(0, bottom - top)
    assert shared / (width * height + box[2] * box[3] - shared) > 0.7, item.box
