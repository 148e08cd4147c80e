"""Threads with a stop event, a beat and an error; calls with a deadline."""

from __future__ import annotations

import logging
import threading
import time

import pytest
from waiting import wait_until

from bin_daemon.core.errors import OverdueError
from bin_daemon.core.worker import Worker, within


def test_work_goes_on_until_it_is_stopped() -> None:
    passes: list[str] = []

    def work() -> None:
        while not worker.wait(0.001):
            passes.append(threading.current_thread().name)

    worker = Worker("ticker", work)
    worker.start()
    wait_until(lambda: len(passes) >= 3, "three passes")

    assert worker.stop(30.0)
    assert set(passes) == {"ticker"}
    assert worker.stopping
    assert worker.error is None


def test_stopping_ends_a_wait_at_once() -> None:
    worker = Worker("sleeper", lambda: worker.wait(60.0))
    worker.start()

    began = time.monotonic()
    ended = worker.stop(30.0)

    assert ended
    assert time.monotonic() - began < 5.0


def test_a_thread_that_hangs_is_reported_and_left_behind() -> None:
    release = threading.Event()
    worker = Worker("stuck", release.wait)
    worker.start()

    assert not worker.stop()
    assert not worker.stop(0.01)
    release.set()
    assert worker.stop(5.0)


def test_a_worker_that_was_never_started_stops_at_once() -> None:
    worker = Worker("idle", lambda: None)

    assert worker.stop(60.0)
    assert not worker.started


def test_the_work_may_stop_itself_without_waiting_for_itself() -> None:
    ended: list[bool] = []
    worker = Worker("self", lambda: ended.append(worker.stop(60.0)))
    worker.start()

    assert worker.stop(5.0)
    assert ended == [True]


def test_an_error_is_kept_logged_and_raised_to_whoever_asks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def work() -> None:
        raise OSError("the pin is gone")

    worker = Worker("pins", work)
    worker.check()
    worker.start()
    worker.stop(5.0)

    with pytest.raises(OSError, match="the pin is gone"):
        worker.check()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "'pins'" in caplog.text


def test_an_owner_may_deal_with_the_error_in_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, BaseException]] = []
    fault = ValueError("bad")

    def work() -> None:
        raise fault

    worker = Worker(
        "pump", work, on_error=lambda error: told.append((threading.current_thread().name, error))
    )
    worker.start()
    worker.stop(5.0)

    assert told == [("pump", fault)]
    assert worker.error is fault
    assert not caplog.records


def test_the_beat_moves_with_every_sign_of_life() -> None:
    worker = Worker("heart", lambda: None)
    before = worker.beat_at

    time.sleep(0.002)
    worker.beat()

    assert before < worker.beat_at <= time.monotonic()


def test_a_call_that_comes_back_in_time_gives_its_answer() -> None:
    assert within(5.0, lambda: 6 * 7, "answer") == 42


def test_a_call_that_fails_in_time_raises_its_own_error(caplog: pytest.LogCaptureFixture) -> None:
    def call() -> None:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own") as raised:
        within(5.0, call, "failing")

    assert not isinstance(raised.value, OverdueError)
    assert not caplog.records


def test_a_call_that_hangs_is_left_behind_at_its_deadline() -> None:
    release = threading.Event()
    began = time.monotonic()

    with pytest.raises(OverdueError, match=r"driver: no answer within 0\.05 s"):
        within(0.05, release.wait, "driver")

    assert time.monotonic() - began < 5.0
    release.set()
