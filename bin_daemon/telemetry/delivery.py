"""What is said to the broker, in which order, and what becomes of it.

Retained payloads, answers and the store's events flow in; publishes flow out, never more at a time
than the window; acknowledgements flow back in and take an event off the queue - only a success
does. No threads and no waiting here: the publisher's worker drives it.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import time
from collections.abc import Mapping
from typing import Any

from bin_daemon.core.clock import Clock
from bin_daemon.core.messages import to_json
from bin_daemon.store.write_buffer import WriteBuffer
from bin_daemon.telemetry.connection import Connection
from bin_daemon.telemetry.topics import Topics

log = logging.getLogger(__name__)

HISTORICAL_AFTER_S = 60.0
REFUSED_PAUSE_S = 900.0
ANSWERS_LIMIT = 100
STRIKES = 3  # connections in a row that end on the same event before it is held to be the cause
_HEADER_BYTES = 16  # fixed header, packet id, property length: more than they ever take
_REFUSED = 0x80  # reason codes from here on are failures (MQTT 5, section 2.4)


@dataclasses.dataclass(frozen=True, slots=True)
class _Flight:
    """A publish that is not acknowledged yet."""

    topic: str
    payload: str
    sent_at: float
    event_id: str | None = None


class Delivery:
    """Brings what a bin has to say to its broker, over one connection after the other.

    connection: the present one. refused_topics: those that the broker does not take, and why.
    events_paused: whether events stay in the store.
    """

    def __init__(self, topics: Topics, buffer: WriteBuffer, clock: Clock) -> None:
        self._topics, self._buffer, self._clock = topics, buffer, clock
        self.connection: Connection | None = None
        self._retained: dict[str, str] = {}
        self._dirty: dict[str, None] = {}  # retained topics to publish, in order
        self._answers: collections.deque[tuple[str, str]] = collections.deque(maxlen=ANSWERS_LIMIT)
        self._flights: dict[int, _Flight] = {}
        self._retry_refused_at = 0.0
        self._suspect: str | None = None
        self._strikes = 0
        self._retry_when_up = True
        self.refused_topics: dict[str, str] = {}
        self.events_paused = False

    def retain(self, topic: str, payload: str) -> None:
        """Publish this, retained, now and after every reconnect; "" empties the topic."""
        self._retained[topic] = payload
        self._dirty.pop(topic, None)
        self._dirty[topic] = None

    def empty_alert(self, topic: str) -> None:
        """Empty an alert's topic, unless the broker cannot hold one there."""
        if topic in self._retained or self._topics.parse_alert(topic) in self._buffer.alerts():
            self.retain(topic, "")

    def answer(self, topic: str, payload: Mapping[str, Any]) -> None:
        """Publish this once; it is lost where the connection breaks first."""
        self._answers.append((topic, to_json(payload)))

    def up(self, connection: Connection) -> None:
        """Connected: say everything again, `status` last, since the broker may be new."""
        self.connection = connection
        if self._retry_when_up:
            self._retry_refused_at = 0.0
        for kind in self._buffer.alerts():
            # Raised by an earlier session, or resolved while the broker was away.
            self._retained.setdefault(self._topics.alert(kind), "")
        turn = {self._topics.info: 0, self._topics.status: 2}
        self._dirty = dict.fromkeys(sorted(self._retained, key=lambda topic: turn.get(topic, 1)))

    def down(self, *, hung_up: bool) -> None:
        """The connection is gone; what was in flight will be sent again."""
        head = next((f.event_id for f in self._flights.values() if f.event_id), None)
        if hung_up and head:
            # Some brokers hang up on a publish they dislike; that must not block the rest for ever.
            self._strikes = self._strikes + 1 if head == self._suspect else 1
            self._suspect = head
            if self._strikes >= STRIKES:
                self._strikes = 0
                self._retry_when_up = False  # or each new connection would end on it at once
                self._refuse(head, "the broker ends the connection on it")
        self.connection = None
        self._flights.clear()
        self._answers.clear()

    def acknowledged(self, mid: int, code: int, words: str) -> None:
        """A PUBACK has come."""
        flight = self._flights.pop(mid, None)
        if flight is None:
            return
        if flight.event_id is not None:
            if code < _REFUSED:
                self._buffer.delivered(flight.event_id)
            else:
                self._refuse(flight.event_id, words)
        elif (
            self.judged(flight.topic, code, words)
            and flight.payload == self._retained.get(flight.topic) == ""
        ):
            del self._retained[flight.topic]
            if kind := self._topics.parse_alert(flight.topic):
                self._buffer.forget_alert(kind)

    def judged(self, topic: str, code: int, words: str) -> bool:
        """Note whether the broker takes this topic, and return it."""
        if code < _REFUSED:
            self.refused_topics.pop(topic, None)
            return True
        if topic not in self.refused_topics:
            log.error("the broker refuses %s: %s", topic, words)
        self.refused_topics[topic] = words
        return False

    def _refuse(self, event_id: str, words: str) -> None:
        log.error("the broker refuses event %s: %s", event_id, words)
        self._buffer.refused(event_id, words)
        self._retry_refused_at = time.monotonic() + REFUSED_PAUSE_S

    def pump(self) -> None:
        """Send what there is to send, as far as the window allows."""
        while self._answers and self._room() > 0:
            self._send(*self._answers.popleft())
        while self._dirty and self._room() > 0:
            topic = next(iter(self._dirty))
            del self._dirty[topic]
            self._send(topic, self._retained[topic], retain=True)
        if self.connection and not self.events_paused and self._room() > 0:
            self._send_events(self.connection.max_packet)

    def _room(self) -> int:
        """How many more publishes may be in flight."""
        return self.connection.window - len(self._flights) if self.connection else 0

    def _send_events(self, max_packet: int) -> None:
        skip = {f.event_id for f in self._flights.values() if f.event_id}
        room = self._room()
        events = self._buffer.pending(room, skip)
        if len(events) < room and time.monotonic() >= self._retry_refused_at:
            # One window at a time: if these are refused again, the rest need not be tried.
            events += self._buffer.pending(room - len(events), skip, refused=True)
        for event in events:
            age_s = self._clock.monotonic() - event.monotonic_s
            late = event.session != self._buffer.session or age_s > HISTORICAL_AFTER_S
            payload = to_json(dataclasses.replace(event, historical=late))
            if len(payload.encode()) + len(self._topics.item) + _HEADER_BYTES > max_packet:
                self._refuse(event.id, f"longer than the {max_packet} bytes it takes")
            else:
                self._send(self._topics.item, payload, event_id=event.id)

    def _send(
        self, topic: str, payload: str, *, retain: bool = False, event_id: str | None = None
    ) -> None:
        mid = self.connection.publish(topic, payload, retain=retain) if self.connection else None
        if mid is not None:
            self._flights[mid] = _Flight(topic, payload, time.monotonic(), event_id)

    def oldest_flight_s(self) -> float:
        """How long the oldest publish has been waiting for its acknowledgement; 0 without one."""
        now = time.monotonic()
        return now - min((f.sent_at for f in self._flights.values()), default=now)

    def idle(self) -> bool:
        """Whether nothing is in flight and nothing but events waits."""
        return self.connection is None or not (self._flights or self._dirty or self._answers)
