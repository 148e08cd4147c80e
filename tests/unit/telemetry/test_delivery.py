"""The rules of delivery, on a wire that the test holds in its hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bin_daemon.config.sections import StoreSection
from bin_daemon.core.clock import SimulatedClock, uuid7
from bin_daemon.core.messages import Outcome, SortEvent
from bin_daemon.store.write_buffer import WriteBuffer
from bin_daemon.telemetry.delivery import STRIKES, Delivery
from bin_daemon.telemetry.topics import Topics

TOPICS = Topics("bins", "b1")
SUCCESS, NO_SUBSCRIBERS, NOT_AUTHORIZED = 0x00, 0x10, 0x87


@dataclasses.dataclass
class Wire:
    """A connection that only writes down what is published on it."""

    window: int = 4
    max_packet: int = 100_000
    sent: list[tuple[str, str, bool]] = dataclasses.field(default_factory=list)

    def publish(self, topic: str, payload: str, *, retain: bool) -> int:
        """Note it; packet ids count from 1."""
        self.sent.append((topic, payload, retain))
        return len(self.sent)

    def event_ids(self) -> list[str]:
        """The ids of the events that were published, repeats included."""
        return [p.split('"')[3] for topic, p, _ in self.sent if topic == TOPICS.item]


@pytest.fixture
def buffer(tmp_path: Path) -> Iterator[WriteBuffer]:
    """A store of its own."""
    made = WriteBuffer(
        tmp_path / "events.db", StoreSection(), SimulatedClock(), queue=True, synced=lambda: True
    )
    yield made
    made.close()


@pytest.fixture
def delivery(buffer: WriteBuffer) -> Delivery:
    """What is tested."""
    return Delivery(TOPICS, buffer, SimulatedClock())


@pytest.fixture
def store(buffer: WriteBuffer) -> Callable[[int], list[str]]:
    """Stores so many completed events; returns their ids."""

    def add(count: int) -> list[str]:
        events = [
            SortEvent(
                id=uuid7(1.8e9), session=1, seq=seq, decided_at=1.8e9, label="metal",
                confidence=0.9, top_k=(), route="recycling", reason="", model="m", looks=1,
                item={}, timings_ms={}, boot_id="boot", monotonic_s=0.0, clock_synced=True,
            )
            for seq in range(count)
        ]  # fmt: skip
        for event in events:
            buffer.decided(event)
            buffer.completed(event.id, Outcome.SORTED, 1.8e9, {})
        buffer.tend()
        return [event.id for event in events]

    return add


def test_no_more_is_in_flight_than_the_window_allows(
    delivery: Delivery, store: Callable[[int], list[str]]
) -> None:
    ids, wire = store(10), Wire(window=4)
    delivery.up(wire)

    delivery.pump()
    delivery.pump()
    first = wire.event_ids()
    delivery.acknowledged(2, SUCCESS, "")
    delivery.pump()

    assert first == ids[:4]
    assert wire.event_ids() == ids[:5]


def test_no_matching_subscribers_is_a_success(
    delivery: Delivery, buffer: WriteBuffer, store: Callable[[int], list[str]]
) -> None:
    store(1)
    delivery.up(Wire())
    delivery.pump()

    delivery.acknowledged(1, NO_SUBSCRIBERS, "No matching subscribers")
    delivery.pump()

    assert buffer.pending(9, set()) == []
    assert buffer.pending(9, set(), refused=True) == []


def test_what_was_in_flight_when_the_connection_broke_is_sent_again_first(
    delivery: Delivery, store: Callable[[int], list[str]]
) -> None:
    ids, first, second = store(6), Wire(window=3), Wire(window=3)
    delivery.up(first)
    delivery.pump()
    delivery.acknowledged(1, SUCCESS, "")

    delivery.down(hung_up=True)
    delivery.up(second)
    delivery.pump()

    assert second.event_ids() == ids[1:4]


def test_refused_events_are_tried_again_on_the_next_connection_one_window_at_a_time(
    delivery: Delivery, store: Callable[[int], list[str]]
) -> None:
    ids, wire = store(6), Wire(window=2)
    delivery.up(wire)
    for mid in range(1, 7):
        delivery.pump()
        delivery.acknowledged(mid, NOT_AUTHORIZED, "Not authorized")
    delivery.pump()
    assert wire.event_ids() == ids

    delivery.down(hung_up=False)
    delivery.up(wire)
    delivery.pump()
    delivery.acknowledged(7, NOT_AUTHORIZED, "Not authorized")
    delivery.acknowledged(8, NOT_AUTHORIZED, "Not authorized")
    delivery.pump()

    assert wire.event_ids() == [*ids, *ids[:2]]


def test_an_event_on_which_the_broker_hangs_up_each_time_is_put_behind_the_others(
    delivery: Delivery, buffer: WriteBuffer, store: Callable[[int], list[str]]
) -> None:
    poison, *others = store(3)

    for _ in range(STRIKES):
        delivery.up(Wire())
        delivery.pump()
        delivery.down(hung_up=True)
    wire = Wire(window=9)
    delivery.up(wire)
    delivery.pump()

    assert wire.event_ids() == others
    assert [event.id for event in buffer.pending(9, set(), refused=True)] == [poison]


def test_connections_that_break_for_other_reasons_put_no_event_behind(
    delivery: Delivery, buffer: WriteBuffer, store: Callable[[int], list[str]]
) -> None:
    store(1)

    for _ in range(3 * STRIKES):
        delivery.up(Wire())
        delivery.pump()
        delivery.down(hung_up=False)

    assert buffer.pending(9, set(), refused=True) == []


def test_retained_values_are_said_before_events_and_only_their_latest(
    delivery: Delivery, store: Callable[[int], list[str]]
) -> None:
    store(1)
    for state in ("waiting", "sorting"):
        delivery.retain(TOPICS.state, state)
    delivery.retain(TOPICS.status, "online")
    delivery.retain(TOPICS.info, "version")
    wire = Wire(window=9)

    delivery.up(wire)
    delivery.pump()

    assert [topic for topic, _, _ in wire.sent] == [
        TOPICS.info, TOPICS.state, TOPICS.status, TOPICS.item,
    ]  # fmt: skip
    assert wire.sent[1] == (TOPICS.state, "sorting", True)


def test_an_emptied_topic_is_said_until_the_broker_has_it_and_then_no_more(
    delivery: Delivery,
) -> None:
    delivery.retain(TOPICS.alert("jam"), "")
    first, second, third = Wire(), Wire(), Wire()

    delivery.up(first)
    delivery.pump()
    delivery.down(hung_up=False)
    delivery.up(second)
    delivery.pump()
    delivery.acknowledged(1, SUCCESS, "")
    delivery.up(third)
    delivery.pump()

    assert first.sent == second.sent == [(TOPICS.alert("jam"), "", True)]
    assert third.sent == []


def test_resolving_an_alert_that_never_was_says_nothing(delivery: Delivery) -> None:
    wire = Wire()
    delivery.up(wire)

    delivery.empty_alert(TOPICS.alert("jam"))
    delivery.pump()

    assert wire.sent == []
