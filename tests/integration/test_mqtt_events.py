"""The way of the events from the store to the fleet, against a real mosquitto."""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from pathlib import Path

from mqtt_parts import (
    ITEM,
    Broker,
    Ear,
    Listen,
    NewBin,
    NewBroker,
    bin_config,
    sort_event,
    sort_items,
)
from waiting import wait_until

from bin_daemon.core.clock import SystemClock
from bin_daemon.core.messages import Alert, Outcome, Severity, to_json
from bin_daemon.store.history import History
from bin_daemon.store.outbox import Outbox
from bin_daemon.telemetry.connection import WINDOW
from bin_daemon.telemetry.publisher import STORE_NAME

DENY_ITEMS = "allow_anonymous true\nacl_file {acl}\n"


def test_an_event_is_delivered_when_its_outcome_is_known_and_not_before(
    broker: Broker, listen: Listen, new_bin: NewBin
) -> None:
    ear = listen(broker)
    publisher = new_bin(broker)
    publisher.start()
    open_one, whole = sort_event(1, 1), sort_event(1, 2)

    publisher.decided(open_one)
    publisher.decided(whole)
    publisher.completed(whole.id, Outcome.REJECTED, 1.8e9, {"move": 810.0})
    wait_until(lambda: ear.items(), "the completed event")
    publisher.completed(open_one.id, Outcome.JAMMED, 1.8e9 + 1, {})
    wait_until(lambda: len(ear.items()) == 2, "the other one")

    expected = dataclasses.replace(
        whole, outcome=Outcome.REJECTED, finished_at=1.8e9,
        timings_ms={**whole.timings_ms, "move": 810.0},
    )  # fmt: skip
    assert ear.payloads(ITEM)[0] == to_json(expected)
    assert ear.items()[1]["outcome"] == "jammed"
    assert [retain for topic, _, retain in ear.heard if topic == ITEM] == [False, False]


def test_what_is_delivered_stays_as_history_that_another_process_can_read(
    broker: Broker, new_bin: NewBin, tmp_path: Path
) -> None:
    publisher = new_bin(broker)
    publisher.start()
    ids = sort_items(publisher, 5)
    wait_until(lambda: _queue_of(tmp_path) == (5, 0), "five events, all delivered")

    with History(tmp_path / STORE_NAME) as history:
        recent = history.recent(3)

    assert [event.id for event in recent] == ids[:1:-1]
    assert {event.outcome for event in recent} == {Outcome.SORTED}


def _queue_of(folder: Path) -> tuple[int, int]:
    with History(folder / STORE_NAME) as history:
        events = history.recent(99)
        unfinished = sum(event.outcome is None for event in events)
        return len(events), history.stats().depth + unfinished


def test_a_broker_that_restarts_again_and_again_loses_no_event(
    new_broker: NewBroker, listen: Listen, new_bin: NewBin, tmp_path: Path
) -> None:
    # What this broker has acknowledged it keeps for the listener, over its own restarts.
    broker = new_broker(f"allow_anonymous true\npersistence true\npersistence_location {tmp_path}/")
    broker.start()
    ear = listen(broker, faithful=True)
    publisher = new_bin(broker)
    publisher.start()
    sent: list[str] = []

    for round_ in range(3):
        enough = len(ear.items()) + 5
        sent += sort_items(publisher, 40, first=1 + 100 * round_)
        wait_until(functools.partial(_heard, ear, enough), "some of the events")
        broker.stop()
        sent += sort_items(publisher, 5, first=50 + 100 * round_)
        broker.start()
    wait_until(lambda: {item["id"] for item in ear.items()} == set(sent), "every event")
    wait_until(lambda: publisher.stats().depth == 0, "the last acknowledgement")

    repeats = len(ear.items()) - len(sent)
    assert repeats <= 3 * WINDOW  # what was in flight when the broker stopped
    assert publisher.stats().dropped == 0


def _heard(ear: Ear, count: int) -> bool:
    return len(ear.items()) >= count


def test_an_event_is_not_repeated_while_the_connection_holds(
    broker: Broker, listen: Listen, new_bin: NewBin
) -> None:
    ear = listen(broker)
    publisher = new_bin(broker)
    publisher.start()

    ids = sort_items(publisher, 300)
    assert publisher.drain(20.0)
    wait_until(lambda: len(ear.items()) >= 300, "the events")

    assert [item["id"] for item in ear.items()] == ids


def test_events_of_an_earlier_session_are_delivered_as_historical_and_open_ones_interrupted(
    broker: Broker, listen: Listen, new_bin: NewBin, tmp_path: Path
) -> None:
    with Outbox(tmp_path / STORE_NAME, bin_config(None).store) as outbox:
        session = outbox.open_session()
        whole = sort_event(session, 1, outcome=Outcome.SORTED, finished_at=1.8e9)
        outbox.decide(whole)
        outbox.decide(sort_event(session, 2))
    ear = listen(broker)
    publisher = new_bin(broker)

    publisher.start()
    sort_items(publisher, 1)
    wait_until(lambda: len(ear.items()) == 3, "the events")

    told = [(i["session"], i["seq"], i["outcome"], i["historical"]) for i in ear.items()]
    assert told == [(1, 1, "sorted", True), (1, 2, "interrupted", True), (2, 1, "sorted", False)]


def test_an_event_that_waited_more_than_a_minute_is_historical(
    broker: Broker, listen: Listen, new_bin: NewBin
) -> None:
    ear = listen(broker)
    publisher = new_bin(broker)
    publisher.start()
    late = sort_event(1, 1, monotonic_s=SystemClock().monotonic() - 61)

    publisher.decided(late)
    publisher.completed(late.id, Outcome.SORTED, time.time(), {})
    wait_until(lambda: ear.items(), "the event")

    assert ear.items()[0]["historical"] is True


def test_refused_events_are_kept_and_reported_and_block_nothing_else(
    new_broker: NewBroker, listen: Listen, new_bin: NewBin, tmp_path: Path
) -> None:
    acl = tmp_path / "acl"
    acl.write_text(
        "topic readwrite bins/b1/status\ntopic readwrite bins/b1/alert/#\ntopic read #\n"
    )
    broker = new_broker(DENY_ITEMS.format(acl=acl))
    broker.start()
    ear = listen(broker)
    publisher = new_bin(broker)
    publisher.retain(publisher.topics.state, {"state": "waiting"})
    publisher.start()

    sort_items(publisher, 30)
    wait_until(lambda: publisher.stats().refused == 30, "all to be refused")
    alert = wait_until(lambda: ear.payloads("bins/b1/alert/undelivered"), "the alert")

    where = f"broker 127.0.0.1:{broker.port} refuses"
    assert publisher.stats().depth == 30
    assert publisher.problems() == (
        f"{where} bins/b1/state: Not authorized", f"{where} 30 events on {ITEM}",
    )  # fmt: skip
    assert "bins/b1/event/item" in alert[0]
    assert ear.items() == []

    # The owner mends the access list and restarts the broker: all is delivered, the alert emptied.
    broker.stop()
    acl.write_text("topic readwrite #\n")
    broker.start()
    late_ear = listen(broker)
    wait_until(lambda: publisher.stats().depth == 0, "the delivery")
    wait_until(lambda: not publisher.problems(), "the problems to be gone")
    wait_until(lambda: "" in late_ear.payloads("bins/b1/alert/undelivered"), "the emptied alert")
    assert publisher.stats().refused == 0


def test_an_event_the_broker_finds_too_long_does_not_block_the_others(
    new_broker: NewBroker, listen: Listen, new_bin: NewBin
) -> None:
    broker = new_broker("allow_anonymous true\nmax_packet_size 2000")
    broker.start()
    ear = listen(broker)
    publisher = new_bin(broker)
    publisher.start()
    long_one = sort_event(1, 1, reason="x" * 3000)

    publisher.decided(long_one)
    publisher.completed(long_one.id, Outcome.SORTED, time.time(), {})
    ids = sort_items(publisher, 2, first=2)
    wait_until(lambda: len(ear.items()) == 2, "the others")
    wait_until(lambda: publisher.stats().refused == 1, "the refusal")

    assert [item["id"] for item in ear.items()] == ids
    assert publisher.connected


def test_an_alert_is_retained_until_it_is_resolved(
    broker: Broker, listen: Listen, new_bin: NewBin
) -> None:
    ear = listen(broker)
    publisher = new_bin(broker)
    publisher.start()
    alert = Alert("jam", Severity.ERROR, "An item is stuck.", 1.8e9)

    publisher.raise_alert(alert)
    wait_until(lambda: ear.payloads("bins/b1/alert/jam"), "the alert")
    publisher.resolve_alert("jam")
    wait_until(lambda: len(ear.payloads("bins/b1/alert/jam")) == 2, "the end of the alert")

    told = [(payload, retain) for topic, payload, retain in ear.heard if "alert" in topic]
    assert told == [(to_json(alert), True), ("", True)]


def test_an_alert_that_a_killed_session_left_behind_is_emptied_by_the_next(
    broker: Broker, listen: Listen, new_bin: NewBin, tmp_path: Path
) -> None:
    first = new_bin(broker)
    first.start()
    first.raise_alert(Alert("jam", Severity.ERROR, "An item is stuck.", 1.8e9))
    ear = listen(broker)
    wait_until(lambda: ear.payloads("bins/b1/alert/jam"), "the alert")
    first.close()

    second = new_bin(broker)
    second.start()
    wait_until(lambda: "" in ear.payloads("bins/b1/alert/jam"), "the alert to be emptied")
    wait_until(lambda: second.connected, "the connection")
    second.close()

    with Outbox(tmp_path / STORE_NAME, bin_config(None).store) as outbox:
        assert outbox.alerts() == []


def test_telling_is_quick_whatever_the_broker_and_the_store_do(
    new_broker: NewBroker, new_bin: NewBin
) -> None:
    publisher = new_bin(new_broker())
    publisher.start()

    def took_s() -> float:
        began = time.monotonic()
        sort_items(publisher, 50)
        return time.monotonic() - began

    # The quickest of some, since the machine may do something else in between.
    assert min(took_s() for _ in range(4)) < 0.15
    assert threading.active_count() < 20


def test_draining_ends_when_all_is_delivered_or_the_time_is_up(
    new_broker: NewBroker, new_bin: NewBin
) -> None:
    broker = new_broker()
    publisher = new_bin(broker)
    publisher.start()
    sort_items(publisher, 3)

    assert not publisher.drain(0.3)
    broker.start()
    assert publisher.drain(10.0)
    assert publisher.drain(0.0)


def test_a_bin_without_a_broker_just_stores(new_bin: NewBin, tmp_path: Path) -> None:
    publisher = new_bin(None)
    publisher.start()
    publisher.retain(publisher.topics.state, {"state": "waiting"})
    ids = sort_items(publisher, 3)
    assert publisher.drain(5.0)
    publisher.close()

    with History(tmp_path / STORE_NAME) as history:
        assert [event.id for event in history.recent(9)] == ids[::-1]
    assert publisher.problems() == ()
    assert publisher.stats().depth == 0
