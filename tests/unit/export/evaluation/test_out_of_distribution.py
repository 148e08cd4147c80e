"""How many pictures of no class a model would accept."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from export.evaluation import out_of_distribution
from export.evaluation.out_of_distribution import measure


def test_what_is_accepted_of_unknown_things_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(out_of_distribution, "DRAWN", 5)
    (tmp_path / "fruit").mkdir()
    cv2.imwrite(str(tmp_path / "fruit" / "pear.jpg"), np.full((80, 60, 3), 90, np.uint8))
    (tmp_path / "README.txt").write_text("no picture")
    found = measure(
        tmp_path,
        [tmp_path / "fruit" / "pear.jpg"],
        224,
        lambda pictures: np.arange(len(pictures)) == 0,
    )
    assert found["kinds"]["arms"] == {"shown": 5, "accepted": 1, "trained": False}
    assert found["kinds"]["rendered empty chambers"]["shown"] == 1
    assert found["kinds"]["blobs"]["trained"]
    assert found["accepted_share"] == pytest.approx(4 / 12, abs=1e-4)
    (tmp_path / "none").mkdir()
    bare = measure(tmp_path / "none", [], 224, lambda pictures: np.zeros(len(pictures)))
    assert "fruit and vegetables" not in bare["kinds"]
