"""The count of failures over restarts, crashes, reboots and damaged files."""

from __future__ import annotations

import json

import pytest

from bin_daemon.core.clock import SimulatedClock
from bin_daemon.daemon.failures import GOOD_S, LIMIT, Failures


@pytest.fixture
def begin(tmp_path):
    """Starts a daemon's count on the state directory of the test."""

    def make(boot: str = "boot-a", clock: SimulatedClock | None = None) -> Failures:
        failures = Failures(tmp_path, clock or SimulatedClock(), boot)
        failures.begin()
        return failures

    return make


def test_a_clean_stop_is_no_failure(begin):
    begin().end()
    assert begin().count == 0


def test_an_exception_is_one_failure_with_its_words(begin):
    begin().end(RuntimeError("no camera"))
    again = begin()
    assert (again.count, again.last) == (1, "no camera")
    assert again.problems() == (
        "the daemon has failed once lately; the last time: no camera",
    )  # fmt: skip


def test_a_start_that_never_ended_is_one_failure(begin):
    begin()
    again = begin()
    assert again.count == 1
    assert "killed" in again.last


def test_a_power_cut_is_no_failure(begin):
    begin("boot-a")
    assert begin("boot-b").count == 0


def test_failures_before_a_reboot_still_count(begin):
    begin("boot-a").end(RuntimeError("one"))
    assert begin("boot-b").count == 1


def test_many_failures_lead_to_degraded_mode(begin):
    for _ in range(LIMIT - 1):
        begin().end(RuntimeError("again"))
    assert begin().count < LIMIT
    assert begin().count == LIMIT


def test_good_minutes_clear_the_count_once(begin):
    begin().end(RuntimeError("one"))
    clock = SimulatedClock()
    failures = begin(clock=clock)
    assert not failures.good()
    clock.sleep(GOOD_S - 1)
    assert not failures.good()
    clock.sleep(2)
    assert failures.good()
    assert not failures.good()
    assert (failures.count, failures.problems()) == (0, ())
    failures.end()
    assert begin().count == 0


def test_a_parked_chute_is_remembered_until_the_bin_sorts_or_the_machine_starts_again(begin):
    begin().left_parked()
    assert begin("boot-b").parked is False
    begin("boot-a").left_parked()
    again = begin("boot-a")
    assert again.parked
    again.good()
    again.end()
    assert not begin("boot-a").parked


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[1]", "null", "\0" * 64, "[" * 9999),
        *('{"count": "many"}', '{"count": -3}', '{"count": true}'),
    ],
)
def test_a_damaged_file_counts_nothing(begin, tmp_path, text):
    (tmp_path / "failures.json").write_text(text)
    assert begin().count == 0


def test_words_that_somebody_wrote_into_the_file_are_one_short_line_too(begin, tmp_path):
    kept = {"count": 1, "last": "READY=1\nMAINPID=1 " + "x" * 5000}
    (tmp_path / "failures.json").write_text(json.dumps(kept))
    last = begin().last
    assert last.startswith("READY=1 MAINPID=1 x")
    assert len(last) == 300


def test_a_folder_that_takes_no_file_is_no_crash(tmp_path, caplog):
    failures = Failures(tmp_path / "none", SimulatedClock(), "boot-a")
    failures.begin()
    failures.end(RuntimeError("x"))
    assert "failures are not counted" in caplog.text


def test_the_words_kept_are_one_short_line(begin, tmp_path):
    begin().end(RuntimeError("no\ncamera " + "x" * 5000))
    words = json.loads((tmp_path / "failures.json").read_text())["last"]
    assert words.startswith("no camera x")
    assert len(words) == 300
