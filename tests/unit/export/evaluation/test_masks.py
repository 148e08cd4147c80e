"""Overlap of masks: the measure itself, and what the chamber reaches on the shipped reel."""

import json
from pathlib import Path

import numpy as np
import pytest
from scenes import chamber, with_box

from export.__main__ import main
from export.errors import ExportError
from export.evaluation import masks
from export.evaluation.masks import (
    MaskedPicture,
    box_iou,
    iou,
    matched,
    measure,
    paired,
    reel_pictures,
)
from export.run import REPOSITORY

REEL = REPOSITORY / "firmware_config" / "reel"
BOX = np.s_[170:281, 240:391]


def shown(name: str = "box", colour=(190, 30, 40)) -> MaskedPicture:
    truth = np.zeros((480, 640), bool)
    truth[BOX] = True
    return MaskedPicture(name, with_box(colour), chamber(), {name: truth})


def test_overlap_is_the_share_of_the_union():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:2], b[1:3] = True, True
    assert iou(a, b) == pytest.approx(1 / 3)
    assert iou(a, ~a) == 0
    assert box_iou((0, 0, 4, 2), (0, 1, 4, 2)) == pytest.approx(1 / 3)
    assert box_iou((0, 0, 4, 2), (10, 10, 4, 2)) == 0


def test_things_are_matched_for_most_overlap_in_all_not_one_by_one():
    assert matched(np.array([[0.9, 0.8], [0.7, 0.0]])) == [(0, 1), (1, 0)]
    assert matched(np.array([[0.2, 0.9, 0.1]])) == [(0, 1)]
    assert matched(np.array([[0.0], [0.6]])) == [(1, 0)]


def test_a_box_in_the_chamber_is_found():
    result = measure(shown())
    assert result["missed"] == []
    assert result["spurious"] == 0
    assert result["items"][0]["iou"] > 0.85


def test_a_thing_that_is_not_there_is_missed_and_one_nobody_knows_of_is_spurious():
    absent = np.zeros((480, 640), bool)
    absent[400:450, 20:120] = True
    result = measure(MaskedPicture("x", with_box((190, 30, 40)), chamber(), {"absent": absent}))
    assert result["missed"] == ["absent"]
    assert result["spurious"] == 1
    nothing = measure(MaskedPicture("x", chamber(), chamber(), {"absent": absent}))
    assert nothing == {
        "items": [{"name": "absent", "iou": 0.0, "box_iou": 0.0}],
        "missed": ["absent"],
        "spurious": 0,
    }


def test_a_pair_lies_side_by_side_with_the_gap_between():
    pair = paired(shown("one"), shown("other", (30, 50, 190)), 0.1)
    one, other = pair.truth.values()
    columns = [np.flatnonzero(mask.any(axis=0)) for mask in (one, other)]
    assert columns[1][0] - columns[0][-1] - 1 == 64
    assert not (one & other).any()
    assert measure(pair)["missed"] == []


def test_the_masks_of_the_shipped_reel_hold():
    results = [measure(s) for s in reel_pictures(REEL)]
    overlaps = [item["iou"] for result in results for item in result["items"]]
    assert len(overlaps) == 22
    assert np.mean(overlaps) > 0.8
    assert min(overlaps) > 0.6
    assert not any(result["missed"] or result["spurious"] for result in results)


def test_a_folder_that_is_no_reel_is_reported(tmp_path: Path, capsys):
    with pytest.raises(ExportError, match=r"truth\.yaml: cannot read"):
        list(reel_pictures(tmp_path))
    assert main(["masks", str(tmp_path)]) == 2
    assert "truth.yaml" in capsys.readouterr().err


def test_a_reel_of_one_item_has_no_pairs(monkeypatch, capsys):
    monkeypatch.setattr(masks, "reel_pictures", lambda reel: iter([shown("one")]))
    assert main(["masks", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == []


def test_the_table_and_the_json_tell_the_same(monkeypatch, capsys):
    alone = [shown("one"), shown("other", (30, 50, 190))]
    monkeypatch.setattr(masks, "reel_pictures", lambda reel: iter(alone))
    assert main(["masks", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["single"]["count"] == 2
    assert [pair["gap"] for pair in figures["pairs"]] == list(masks.GAPS)
    assert main(["masks"]) == 0
    assert f"{figures['single']['mean_iou']:.3f}" in capsys.readouterr().out
