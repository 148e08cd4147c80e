"""The control of the figures on teaching, on drawn chambers whose floor tells the class or not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import chamber

from export.evaluation.chambers import ChamberPicture
from export.evaluation.teaching import Embedder

OF_EACH = 10


def floor(striped: bool) -> np.ndarray:
    """An empty chamber."""
    picture = chamber()
    for x in range(0, 640, 24) if striped else ():
        cv2.line(picture, (x, 0), (x, 479), (40, 40, 40), 8)
    return picture


def session(
    folder: Path, name: str, label: str, striped: bool
) -> tuple[list[ChamberPicture], Path]:
    """Grey boxes that look alike whatever their class, and the empty view."""
    folder = folder / name
    folder.mkdir()
    cv2.imwrite(str(folder / "empty.png"), floor(striped))
    rng = np.random.default_rng(list(name.encode()))
    frames = []
    for number in range(OF_EACH):
        picture, path = floor(striped), folder / f"{number}.png"
        x, y = rng.integers((60, 90), (420, 300)).tolist()
        cv2.rectangle(picture, (x, y), (x + 110, y + 90), (235, 235, 235), -1)
        cv2.imwrite(str(path), picture)
        frames.append(ChamberPicture(path, label, label, name))
    return frames, folder / "empty.png"


@pytest.mark.parametrize(("marked", "least", "most"), [(True, 0.9, 1.0), (False, 0.2, 0.8)])
def test_what_the_ground_tells_of_sessions_never_taught_is_found(tmp_path, marked, least, most):
    taught, tested, views = [], [], {}
    for label in ("metal", "plastic"):
        for part, name in ((taught, f"{label}1"), (tested, f"{label}2")):
            frames, views[name] = session(tmp_path, name, label, marked and label == "metal")
            part.extend(frames)
    control = Embedder("waste6", views).control(taught, tested)
    assert control["majority"] == 0.5
    assert least <= control["accuracy"] <= most
