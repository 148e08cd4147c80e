"""What the daemon tells the fleet, and what the fleet tells the daemon.

Events, alerts and retained values flow in from any thread and never wait; they are stored, and
delivered when the broker can be had. Commands flow out to the verbs of the app. `Telemetry` owns
one thread, the mailman, which alone touches the store; the connection has its own (`link`), so
that a slow name server never keeps an event from the disk, nor a slow card the connection from its
pings.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bin_daemon.config.sections import Config
from bin_daemon.control.dispatcher import Dispatcher
from bin_daemon.core import clock as clock_module
from bin_daemon.core.clock import Clock
from bin_daemon.core.messages import Alert, Outcome, Severity, SortEvent, to_json
from bin_daemon.store.write_buffer import Keeper
from bin_daemon.telemetry.commands import Commands
from bin_daemon.telemetry.connection import Line, Link
from bin_daemon.telemetry.delivery import Delivery
from bin_daemon.telemetry.topics import Topics

log = logging.getLogger(__name__)

STORE_NAME = "events.db"
UNDELIVERED = "undelivered"  # the alert of events that the broker refuses
_TICK_S = 1.0
_DRAIN_POLL_S = 0.05
_DEFAULT_PREFIX = "bins"


@dataclasses.dataclass(frozen=True, slots=True)
class TelemetryStats:
    """How telemetry is, in figures.

    broker: whether one is configured. connected: a line is up. outbox_depth: completed events that
    wait for delivery, outbox_oldest_s: the age of the first of them, events_refused: those among
    them that the broker refuses. events_unwritten: in memory only, since the disk takes no write.
    events_dropped: given up for want of room, ever. last_error: the latest trouble with the broker,
    also when it is over; empty before the first.
    """

    session: int
    broker: bool
    connected: bool
    outbox_depth: int
    outbox_oldest_s: float
    events_refused: int
    events_unwritten: int
    events_dropped: int
    store_bytes: int
    last_error: str


class Telemetry:
    """Stores and delivers what a bin has to tell.

    state: the folder of the store. dispatcher: where remote commands go. `session`
    and `topics` are there from construction on; the constructor opens the store, and does not fail
    where that is full or damaged. Everything public may be called from any thread and returns at
    once, `drain` and `close` excepted.
    """

    def __init__(
        self, config: Config, state: Path, clock: Clock, dispatcher: Dispatcher,
        *, synced: Callable[[], bool] = clock_module.clock_synced,
    ) -> None:  # fmt: skip
        mqtt = config.mqtt
        self.topics = Topics(mqtt.prefix if mqtt else _DEFAULT_PREFIX, config.bin.id)
        self._clock, self._mqtt = clock, mqtt
        self._keeper = Keeper(
            state / STORE_NAME, config.store, clock, queue=mqtt is not None, synced=synced
        )
        self.session = self._keeper.session
        self._delivery = Delivery(self.topics, self._keeper, clock)
        self._commands = Commands(self.topics, dispatcher)
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._line: Line | None = None
        self._link: Link | None = None
        if mqtt is not None:
            will = (self.topics.status, self._status("offline"))
            self._link = Link(mqtt, config.bin.id, will, self.topics.command_filter, self)
        self._broker_problem = ""
        self._last_error = ""
        self._refusal_told = False
        self._closing_at: float | None = None
        self._stopped = False
        self._beat_at = time.monotonic()
        self._take_snapshot()
        self._thread = threading.Thread(target=self._run, name="mailman", daemon=True)

    def start(self) -> None:
        """Begin to store and to deliver; what was handed over before is not lost."""
        self.retain(self.topics.status, {"state": "online", "session": self.session})
        self._thread.start()
        if self._link is not None:
            self._link.start()

    def decided(self, event: SortEvent) -> None:
        """An item's route is decided: store its event."""
        self._inbox.put(lambda: self._keeper.decided(event))

    def completed(
        self, event_id: str, outcome: Outcome, finished_at: float | None = None,
        timings_ms: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        """How the sorting of an item ended: the event is complete and may be delivered.

        finished_at: wall clock, now by default. timings_ms: added to those of the event.
        """
        at = self._clock.time() if finished_at is None else finished_at
        timings = dict(timings_ms or {})
        self._inbox.put(lambda: self._keeper.completed(event_id, outcome, at, timings))

    def retain(self, topic: str, value: Any) -> None:
        """Publish a message or mapping, retained, on one of `topics`; None empties the topic.

        The latest value wins; it is published again after every reconnect.
        """
        payload = "" if value is None else to_json(value)
        self._inbox.put(lambda: self._delivery.retain(topic, payload))

    def raise_alert(self, alert: Alert) -> None:
        """Publish an alert until it is resolved; raised again, it replaces the former.

        Raises UsageError where its kind cannot name a topic.
        """
        topic = self.topics.alert(alert.kind)
        self._inbox.put(lambda: self._keeper.remember_alert(alert.kind))
        self.retain(topic, alert)

    def resolve_alert(self, kind: str) -> None:
        """Empty the topic of an alert; nothing where there is none.

        Raises UsageError where `kind` cannot name a topic.
        """
        topic = self.topics.alert(kind)
        self._inbox.put(lambda: self._delivery.empty_alert(topic))

    def stats(self) -> TelemetryStats:
        """The figures of about a second ago."""
        return self._snapshot

    def problems(self) -> tuple[str, ...]:
        """What the operator should know, in words; empty where all is well."""
        return self._problems

    def beat(self) -> float:
        """When the mailman last came round, monotonic seconds of the machine."""
        return self._beat_at

    def drain(self, timeout_s: float) -> bool:
        """Wait until all that was handed over is stored and, with a broker, delivered.

        Whether that came true within `timeout_s`. Events without outcome are not waited for.
        """
        deadline = time.monotonic() + timeout_s
        answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        while True:
            self._inbox.put(lambda: answers.put(self._keeper.drained()))
            with contextlib.suppress(queue.Empty):
                if answers.get(timeout=max(_DRAIN_POLL_S, deadline - time.monotonic())):
                    return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_DRAIN_POLL_S)

    def close(self, timeout_s: float = 5.0) -> None:
        """Store what was handed over, say "stopped", await what is in flight, and end.

        Waits at most about `timeout_s`; a second call does nothing.
        """
        if self._stopped:
            return
        self._stopped = True
        if self._link is not None:
            self._link.stop()
        deadline = time.monotonic() + timeout_s
        self._inbox.put(lambda: self._begin_closing(deadline))
        if self._thread.ident is None:
            self._run()
        else:
            self._thread.join(timeout_s + _TICK_S)
        if self._link is not None:
            self._link.close(max(0.1, deadline - time.monotonic()))

    # What the link tells, from its thread.

    def on_up(self, line: Line) -> None:
        """See `Listener`."""
        self._inbox.put(lambda: self._up(line))

    def on_down(self, line: Line, why: str, *, hung_up: bool) -> None:
        """See `Listener`."""
        self._inbox.put(lambda: self._down(line, why, hung_up))

    def on_acknowledged(self, line: Line, mid: int, code: int, words: str) -> None:
        """See `Listener`."""
        self._inbox.put(lambda: self._acknowledged(line, mid, code, words))

    def on_subscribed(self, line: Line, code: int, words: str) -> None:
        """See `Listener`."""
        self._inbox.put(lambda: self._subscribed(line, code, words))

    def on_message(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """See `Listener`."""
        self._inbox.put(lambda: self._command(topic, payload, retained))

    # The mailman.

    def _run(self) -> None:
        while not self._finished():
            for job in self._jobs():
                self._guarded(job)
            self._guarded(self._round)
            self._beat_at = time.monotonic()
        if self._line is not None:
            self._line.disconnect()
        self._guarded(self._keeper.close)
        self._guarded(self._take_snapshot)

    def _jobs(self) -> list[Callable[[], None]]:
        """What has come in; waits for the first, not for more."""
        wait_s = 0.05 if self._closing_at is not None else _TICK_S
        jobs = []
        with contextlib.suppress(queue.Empty):
            jobs.append(self._inbox.get(timeout=wait_s))
            while True:
                jobs.append(self._inbox.get_nowait())
        return jobs

    def _guarded(self, job: Callable[[], None]) -> None:
        # Without its mailman a bin would sort on and tell nobody; one fault must not end it.
        try:
            job()
        except Exception:
            log.exception("telemetry: a fault inside the daemon")

    def _round(self) -> None:
        self._keeper.tend()
        self._delivery.pump()
        self._watch_line()
        self._tell_refusals()
        self._take_snapshot()

    def _finished(self) -> bool:
        if self._closing_at is None:
            return False
        return self._delivery.idle() or time.monotonic() >= self._closing_at

    def _begin_closing(self, deadline: float) -> None:
        self._closing_at = deadline
        self._delivery.events_paused = True
        self._delivery.retain(self.topics.status, self._status("stopped"))

    def _status(self, state: str) -> str:
        return to_json({"state": state, "session": self.session})

    def _up(self, line: Line) -> None:
        log.info("broker %s: connected", self._broker())
        self._line = line
        self._broker_problem = ""
        self._delivery.up(line)

    def _down(self, line: Line, why: str, hung_up: bool) -> None:
        self._broker_problem = self._last_error = f"broker {self._broker()}: {why}"
        log.warning("%s", self._broker_problem)
        if line is self._line:
            self._line = None
            self._delivery.down(hung_up=hung_up)

    def _acknowledged(self, line: Line, mid: int, code: int, words: str) -> None:
        if line is self._line:
            self._delivery.acknowledged(mid, code, words)

    def _subscribed(self, line: Line, code: int, words: str) -> None:
        if line is self._line:
            self._delivery.judged(self.topics.command_filter, code, words)

    def _command(self, topic: str, payload: bytes, retained: bool) -> None:
        answer = self._commands.handle(topic, payload, retained=retained)
        if answer is not None:
            self._delivery.answer(*answer)

    def _watch_line(self) -> None:
        """A half-open link looks alive: nothing but the silence tells."""
        if self._line is not None and self._mqtt is not None:
            silent_s = self._delivery.oldest_flight_s()
            if silent_s > 2 * self._mqtt.keepalive_s:
                self._line.drop(f"no acknowledgement for {silent_s:.0f} s")

    def _tell_refusals(self) -> None:
        refused = self._keeper.stats().refused > 0
        if refused != self._refusal_told:
            self._refusal_told = refused
            if not refused:
                self.resolve_alert(UNDELIVERED)
                return
            self.raise_alert(Alert(
                UNDELIVERED, Severity.ERROR,
                f"The broker refuses events of this bin; they are kept. Check that it may "
                f"publish on {self.topics.item}.",
                self._clock.time(),
            ))  # fmt: skip

    def _broker(self) -> str:
        return f"{self._mqtt.host}:{self._mqtt.port}" if self._mqtt else "none"

    def _take_snapshot(self) -> None:
        store = self._keeper.stats()
        oldest = store.oldest_at if store.depth else None
        self._snapshot = TelemetryStats(
            session=self.session,
            broker=self._mqtt is not None,
            connected=self._line is not None,
            outbox_depth=store.depth,
            outbox_oldest_s=0.0 if oldest is None else max(0.0, self._clock.time() - oldest),
            events_refused=store.refused,
            events_unwritten=self._keeper.unwritten,
            events_dropped=store.dropped,
            store_bytes=store.size_bytes,
            last_error=self._last_error,
        )
        problems = list(self._keeper.problems())
        if self._broker_problem:
            problems.append(self._broker_problem)
        for topic, words in self._delivery.refused_topics.items():
            problems.append(f"broker {self._broker()} refuses {topic}: {words}")
        if store.refused and self._mqtt is not None:
            problems.append(
                f"broker {self._broker()} refuses {store.refused} events on {self.topics.item}"
            )
        self._problems = tuple(problems)
