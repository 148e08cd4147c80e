"""The daemon as a process on the rendered reel: what the broker hears is what the store holds."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from mqtt_parts import STATUS, Ear
from scenes import raw_config
from waiting import wait_until

from bin_daemon.core import paths
from bin_daemon.core.errors import StoreError
from bin_daemon.core.messages import Outcome, SortEvent, to_json
from bin_daemon.store.history import History

SHORT = paths.reel() / "short.yaml"


def config_for(broker, **camera) -> dict:
    raw = raw_config(SHORT)
    raw["camera"].update(camera)
    raw["mqtt"] = {"host": "127.0.0.1", "port": broker.port, "retry_max_s": 1}
    return raw


def events_in(state: Path) -> list[SortEvent]:
    if not (state / "events.db").exists():
        return []
    try:
        with History(state / "events.db") as history:
            return history.recent(1000)[::-1]
    except StoreError:  # the daemon is just making it
        return []


@pytest.fixture
def ear(broker):
    listener = Ear(broker.port)
    yield listener
    listener.close()


def states(ear: Ear) -> list[str]:
    return [json.loads(payload)["state"] for payload in ear.payloads(STATUS) if payload]


def test_what_the_broker_hears_is_what_the_store_holds(broker, ear, start, tmp_path):
    daemon = start(config_for(broker))
    assert daemon.wait(90) == 0
    stored = events_in(tmp_path / "state")
    wait_until(lambda: "stopped" in states(ear), "the bin to say that it stopped")
    assert len(stored) == 4
    heard = {item["id"]: item for item in ear.items()}
    delivered = [event for event in stored if event.id in heard]
    assert len(delivered) >= 3  # the last one may wait for the next session
    for event in delivered:
        assert heard[event.id] == json.loads(to_json(event))


def test_a_stop_in_the_middle_of_an_item_is_quick_and_reported(broker, ear, start, tmp_path):
    daemon = start(config_for(broker, loop=True))
    wait_until(lambda: events_in(tmp_path / "state"), "the first decision", 60)
    daemon.send_signal(signal.SIGTERM)
    before = time.monotonic()
    assert daemon.wait(10) == 0
    assert time.monotonic() - before < 5
    (event,) = events_in(tmp_path / "state")
    assert event.outcome is Outcome.INTERRUPTED
    assert states(ear)[-1] == "stopped"


def test_a_killed_daemon_loses_no_event_and_repeats_none(broker, ear, start, tmp_path):
    state = tmp_path / "state"
    daemon = start(config_for(broker, loop=True))
    wait_until(lambda: len(events_in(state)) >= 2, "two decisions", 60)
    daemon.kill()
    daemon.wait()
    left = events_in(state)
    wait_until(lambda: states(ear)[-1:] == ["offline"], "the last will")
    daemon = start(config_for(broker, loop=True))
    wait_until(lambda: len(events_in(state)) > len(left), "a decision of the next session", 60)
    wait_until(lambda: {e.id for e in left} <= {i["id"] for i in ear.items()}, "all of the first")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(10) == 0
    found = {event.id: event for event in events_in(state)}
    assert all(found[event.id].outcome is not None for event in left)
    assert [event.id for event in left] == list(found)[: len(left)]
    assert {event.session for event in found.values()} == {1, 2}
    interrupted = [item for item in ear.items() if item["id"] == left[-1].id][-1]
    assert interrupted["outcome"] in ("interrupted", "sorted", "rejected")


def test_items_sorted_while_the_broker_is_away_arrive_when_it_is_back(broker, start, tmp_path):
    broker.stop()
    daemon = start(config_for(broker, loop=True))
    done = wait_until(
        lambda: [e for e in events_in(tmp_path / "state") if e.outcome], "an item without a broker",
        60,
    )  # fmt: skip
    broker.start()
    listener = Ear(broker.port)
    wait_until(lambda: {e.id for e in done} <= {i["id"] for i in listener.items()}, "the items", 30)
    listener.close()
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(10) == 0
