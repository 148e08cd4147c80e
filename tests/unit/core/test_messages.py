"""What leaves the process: one encoder, plain JSON, no surprises."""

import json

import numpy as np
import pytest

from bin_daemon.core.messages import (
    Alert,
    Decision,
    Outcome,
    Prediction,
    Severity,
    SortEvent,
    stamp,
    to_json,
)


def event(**changes) -> SortEvent:
    parts = {
        "id": "x", "session": 1, "seq": 2, "decided_at": 1767225600.125, "label": "glass",
        "confidence": 0.91234567, "top_k": (("glass", 0.9), ("metal", 0.1)), "route": "glass",
        "reason": "glass 0.91", "model": "waste6@1", "looks": 3, "item": {"box": (1, 2, 3, 4)},
        "timings_ms": {"look": 12.5}, "boot_id": "b", "monotonic_s": 5.0, "clock_synced": True,
    }  # fmt: skip
    return SortEvent(**{**parts, **changes})


def test_an_event_becomes_one_line_with_stamps_in_utc():
    line = to_json(event(outcome=Outcome.SORTED, finished_at=1767225601.0))
    found = json.loads(line)
    assert "\n" not in line
    assert found["decided_at"] == "2026-01-01T00:00:00.125Z"
    assert found["finished_at"] == "2026-01-01T00:00:01.000Z"
    assert found["outcome"] == "sorted"
    assert found["top_k"] == [["glass", 0.9], ["metal", 0.1]]
    assert found["confidence"] == 0.912346


def test_what_is_not_known_yet_is_null():
    found = json.loads(to_json(event()))
    assert found["outcome"] is None
    assert found["finished_at"] is None


def test_numbers_that_json_does_not_have_become_null():
    assert to_json({"a": float("nan"), "b": float("inf"), "c": np.float32(0.5)}) == (
        '{"a":null,"b":null,"c":0.5}'
    )


def test_arrays_and_letters_of_any_language_pass():
    assert to_json({"näme": np.arange(3)}) == '{"näme":[0,1,2]}'


def test_an_alert_carries_its_beginning_as_a_stamp():
    found = json.loads(to_json(Alert("jam", Severity.ERROR, "stuck", 0.0)))
    assert found == {
        "kind": "jam", "severity": "error", "message": "stuck",
        "since": "1970-01-01T00:00:00.000Z",
    }  # fmt: skip


def test_a_stamp_has_milliseconds_and_is_utc():
    assert stamp(1.5) == "1970-01-01T00:00:01.500Z"


def test_a_prediction_knows_its_best_class():
    seen = Prediction(("a", "b"), np.array([0.2, 0.8], np.float32), np.zeros(1, np.float32), {})
    assert seen.label == "b"
    assert seen.confidence == pytest.approx(0.8)


def test_the_best_classes_of_a_decision_come_in_order():
    made = Decision("r", "b", 0.7, ("a", "b", "c"), np.array([0.1, 0.7, 0.2], np.float32), "")
    assert [name for name, _ in made.top(2)] == ["b", "c"]
