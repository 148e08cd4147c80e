"""`classify --overlay` and `--why` as a user gives them, on drawn chambers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scenes import save_stills

from bin_daemon.cli import main
from bin_daemon.core.images import read_picture


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    save_stills(tmp_path)
    return tmp_path


def classify(stills: Path, *arguments: object) -> int:
    named = [str(stills / a) if str(a).endswith(".png") else str(a) for a in arguments]
    return main(["classify", "--config", "simulator", *named])


def test_two_things_are_reported_and_drawn_apart(stills, capsys):
    code = classify(stills, "two.png", "--empty", "empty.png", "--json", "--overlay", "seen.png")
    assert code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["route"] == "residual"
    assert "two or more" in told["reason"]
    assert len(told["items"]) == 2
    for item in told["items"]:
        assert set(item) == {"label", "confidence", "route", "box", "area", "mask"}
        assert item["mask"]["size"] == [480, 640]
        share = sum(item["mask"]["counts"][1::2]) / (480 * 640)
        assert share == pytest.approx(item["area"], abs=0.01)
    drawn, still = read_picture(stills / "seen.png"), read_picture(stills / "two.png")
    assert drawn.shape == still.shape
    for item in told["items"]:
        x, y, width, height = item["box"]
        inside = np.s_[y + height // 2, x + width // 2]
        assert np.abs(drawn[inside].astype(int) - still[inside]).max() > 10


def test_in_words_each_of_several_things_has_a_line(stills, capsys):
    assert classify(stills, "two.png", "red.png", "--empty", "empty.png") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("  ") and "alone ->" in line for line in lines[1:3])


def test_the_empty_view_may_lie_among_the_pictures_of_a_folder(stills, capsys):
    assert classify(stills, stills, "--empty", "empty.png") == 0
    assert "empty.png" not in capsys.readouterr().out


def test_heat_is_drawn_where_it_is_asked_for(stills):
    given = ["red.png", "--empty", "empty.png", "--overlay"]
    assert classify(stills, *given, "plain.png") == 0
    assert classify(stills, *given, "why.png", "--why") == 0
    plain, why = read_picture(stills / "plain.png"), read_picture(stills / "why.png")
    assert (plain != why).mean() > 0.05


def test_several_pictures_without_an_empty_view_are_drawn_to_a_folder(stills, capsys):
    out = stills / "seen"
    assert classify(stills, "red.png", "blue.png", "--json", "--overlay", out, "--why") == 0
    assert sorted(path.name for path in out.iterdir()) == ["blue.png", "red.png"]
    assert "items" not in json.loads(capsys.readouterr().out.splitlines()[0])


def test_why_without_an_overlay_is_wrong_usage(stills, capsys):
    assert classify(stills, "red.png", "--why") == 2
    assert "--overlay" in capsys.readouterr().err


def test_a_given_picture_is_never_overwritten(stills, capsys):
    before = (stills / "red.png").read_bytes()
    assert classify(stills, "red.png", "--overlay", "red.png") == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert (stills / "red.png").read_bytes() == before
