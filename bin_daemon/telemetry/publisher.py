"""What the daemon tells the fleet, and what the fleet tells the daemon.

Events, alerts and retained values flow in from any thread and never wait; they are stored, and
delivered when the broker can be had. Commands flow out to the dispatcher. `Publisher` owns one
worker, which alone touches the store; the connection has another, so that a slow name server never
keeps an event from the disk, nor a slow card the connection from its pings.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from bin_daemon.config.sections import Config
from bin_daemon.control.dispatcher import Dispatcher
from bin_daemon.core.clock import Clock, clock_synced
from bin_daemon.core.messages import Alert, Outcome, Severity, SortEvent, to_json
from bin_daemon.core.worker import Worker
from bin_daemon.store.history import StoreStats
from bin_daemon.store.write_buffer import WriteBuffer
from bin_daemon.telemetry.commands import handle
from bin_daemon.telemetry.connection import Connection, ConnectionState, Connector, Parameters
from bin_daemon.telemetry.delivery import Delivery
from bin_daemon.telemetry.topics import Topics

log = logging.getLogger(__name__)

STORE_NAME = "events.db"
UNDELIVERED = "undelivered"  # the alert of events that the broker refuses
_TICK_S = 1.0
_DRAIN_POLL_S = 0.05
_DEFAULT_PREFIX = "bins"

_Args = ParamSpec("_Args")


def _posted(
    method: Callable[Concatenate[Publisher, _Args], None],
) -> Callable[Concatenate[Publisher, _Args], None]:
    """A method that returns at once, and is carried out by the worker."""

    @functools.wraps(method)
    def post(self: Publisher, /, *args: _Args.args, **kwargs: _Args.kwargs) -> None:
        self._inbox.put(functools.partial(method, self, *args, **kwargs))

    return post


class Publisher:
    """Stores and delivers what a bin has to tell.

    state: the folder of the store; one that is full or damaged does not make the constructor fail.
    dispatcher: where remote commands go. last_error: the latest trouble with the broker, also when
    it is over. Everything public may be called from any thread and returns at once, `drain` and
    `close` excepted. A kind of alert that cannot name a topic raises UsageError.
    """

    def __init__(
        self, config: Config, state: Path, clock: Clock, dispatcher: Dispatcher,
        *, synced: Callable[[], bool] = clock_synced,
    ) -> None:  # fmt: skip
        self._clock, self._mqtt, self._dispatcher = clock, config.mqtt, dispatcher
        mqtt = config.mqtt
        self._broker = f"broker {mqtt.host}:{mqtt.port}" if mqtt else "no broker"
        self.topics = Topics(mqtt.prefix if mqtt else _DEFAULT_PREFIX, config.bin.id)
        self._buffer = WriteBuffer(
            state / STORE_NAME, config.store, clock, queue=mqtt is not None, synced=synced
        )
        self.session = self._buffer.session
        self._delivery = Delivery(self.topics, self._buffer, clock)
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._connector: Connector | None = None
        if mqtt is not None:
            will = (self.topics.status, self._status("offline"))
            parameters = Parameters(mqtt, config.bin.id, will, self.topics.command_filter)
            self._connector = Connector(parameters, self)
        self._broker_problem = self.last_error = ""
        self._refusal_told = False
        self._closing_at: float | None = None
        self._take_snapshot()
        self._worker = Worker("telemetry", self._run)

    def start(self) -> None:
        """Begin to store and to deliver; what was handed over before is not lost."""
        self.retain(self.topics.status, {"state": "online", "session": self.session})
        self._worker.start()
        if self._connector is not None:
            self._connector.start()

    @_posted
    def decided(self, event: SortEvent) -> None:
        """An item's route is decided: store its event."""
        self._buffer.decided(event)

    @_posted
    def completed(
        self, event_id: str, outcome: Outcome, finished_at: float, timings_ms: Mapping[str, float]
    ) -> None:
        """How the sorting of an item ended: the event is complete and may be delivered.

        finished_at: wall clock. timings_ms: added to those of the event.
        """
        self._buffer.completed(event_id, outcome, finished_at, timings_ms)

    def retain(self, topic: str, value: Any) -> None:
        """Publish a message or mapping, retained, on one of `topics`; None empties the topic.

        The latest value wins; it is published again after every reconnect.
        """
        payload = "" if value is None else to_json(value)
        self._inbox.put(lambda: self._delivery.retain(topic, payload))

    def raise_alert(self, alert: Alert) -> None:
        """Publish an alert until it is resolved; raised again, it replaces the former."""
        topic = self.topics.alert(alert.kind)
        self._inbox.put(lambda: self._buffer.remember_alert(alert.kind))
        self.retain(topic, alert)

    def resolve_alert(self, kind: str) -> None:
        """Empty the topic of an alert; nothing where there is none."""
        topic = self.topics.alert(kind)
        self._inbox.put(lambda: self._delivery.empty_alert(topic))

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted."""
        return self._delivery.connection is not None

    def stats(self) -> StoreStats:
        """The figures of about a second ago."""
        return self._stats

    def problems(self) -> tuple[str, ...]:
        """What the operator should know, in words; empty where all is well."""
        return self._problems

    def beat(self) -> float:
        """When the worker last came round, monotonic seconds of the machine."""
        return self._worker.beat_at

    def drain(self, timeout_s: float) -> bool:
        """Wait until all that was handed over is stored and, with a broker, delivered.

        Whether that came true within `timeout_s`. Events without outcome are not waited for.
        """
        deadline = time.monotonic() + timeout_s
        answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        while True:
            self._inbox.put(lambda: answers.put(self._buffer.drained()))
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
        if self._worker.stopping:
            return
        self._worker.stop()
        if self._connector is not None:
            self._connector.stop()
        deadline = time.monotonic() + timeout_s
        self._begin_closing(deadline)
        if self._worker.started:
            self._worker.stop(timeout_s + _TICK_S)
        else:
            self._run()
        if self._connector is not None:
            self._connector.close(max(0.1, deadline - time.monotonic()))

    # What the connection tells, from its thread.

    @_posted
    def on_up(self, connection: Connection) -> None:
        """Deliver on this connection from now on."""
        log.info("%s: connected", self._broker)
        self._broker_problem = ""
        self._delivery.up(connection)

    @_posted
    def on_down(self, connection: Connection, why: str) -> None:
        """Tell why, and deliver no more if it was up."""
        self._broker_problem = self.last_error = f"{self._broker}: {why}"
        log.warning("%s", self._broker_problem)
        if connection is self._delivery.connection:
            self._delivery.down(hung_up=connection.state is ConnectionState.HUNG_UP)

    @_posted
    def on_acknowledged(self, connection: Connection, mid: int, code: int, words: str) -> None:
        """Take it off the queue, unless it is of a former connection."""
        if connection is self._delivery.connection:
            self._delivery.acknowledged(mid, code, words)

    @_posted
    def on_subscribed(self, connection: Connection, code: int, words: str) -> None:
        """Note whether commands can be heard."""
        if connection is self._delivery.connection:
            self._delivery.judged(self.topics.command_filter, code, words)

    @_posted
    def on_message(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Have a command run, and answer it."""
        if answer := handle(self.topics, self._dispatcher, topic, payload, retained=retained):
            self._delivery.answer(*answer)

    # The worker.

    def _run(self) -> None:
        while not self._finished():
            for job in self._jobs():
                self._guarded(job)
            self._guarded(self._round)
            self._worker.beat()
        if self._delivery.connection:
            self._delivery.connection.disconnect()
        self._guarded(self._buffer.close)
        self._guarded(self._take_snapshot)

    def _jobs(self) -> list[Callable[[], None]]:
        """What has come in; waits for the first, not for more."""
        jobs = []
        with contextlib.suppress(queue.Empty):
            jobs.append(self._inbox.get(timeout=0.05 if self._closing_at else _TICK_S))
            while True:
                jobs.append(self._inbox.get_nowait())
        return jobs

    def _guarded(self, job: Callable[[], None]) -> None:
        # Without its worker a bin would sort on and tell nobody; one fault must not end it.
        try:
            job()
        except Exception:
            log.exception("telemetry: a fault inside the daemon")

    def _round(self) -> None:
        self._buffer.tend()
        self._delivery.pump()
        # A half-open connection looks alive: nothing but the silence tells.
        connection, silent_s = self._delivery.connection, self._delivery.oldest_flight_s()
        if connection and self._mqtt and silent_s > 2 * self._mqtt.keepalive_s:
            connection.drop(f"no acknowledgement for {silent_s:.0f} s")
        self._tell_refusals()
        self._take_snapshot()

    def _finished(self) -> bool:
        until = self._closing_at
        return until is not None and (self._delivery.idle() or time.monotonic() >= until)

    @_posted
    def _begin_closing(self, deadline: float) -> None:
        self._closing_at = deadline
        self._delivery.events_paused = True
        self._delivery.retain(self.topics.status, self._status("stopped"))

    def _status(self, state: str) -> str:
        return to_json({"state": state, "session": self.session})

    def _tell_refusals(self) -> None:
        refused = self._buffer.stats().refused > 0
        if refused and not self._refusal_told:
            words = (
                f"The broker refuses events of this bin; they are kept. Check that it may publish "
                f"on {self.topics.item}."
            )
            self.raise_alert(Alert(UNDELIVERED, Severity.ERROR, words, self._clock.time()))
        elif self._refusal_told and not refused:
            self.resolve_alert(UNDELIVERED)
        self._refusal_told = refused

    def _take_snapshot(self) -> None:
        self._stats = self._buffer.stats()
        refused = [f"{topic}: {words}" for topic, words in self._delivery.refused_topics.items()]
        if self._stats.refused:
            refused.append(f"{self._stats.refused} events on {self.topics.item}")
        self._problems = (
            *self._buffer.problems(),
            *filter(None, [self._broker_problem]),
            *(f"{self._broker} refuses {what}" for what in refused),
        )
