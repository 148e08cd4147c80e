"""One pass after another: a frame in, the sort cycle on, its actions carried out.

This is where the pure rooms (chamber, sorter, decision) meet the ones that do something (camera,
classifier, chute, and the recorder that keeps events). Everything here happens in one thread, which
owns the interpreter; it never waits for the network or the disk.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from bin_daemon.chute.chute import Chute, Stage
from bin_daemon.core.clock import Clock, clock_synced, uuid7
from bin_daemon.core.errors import PictureError
from bin_daemon.core.messages import (
    Alert,
    Decision,
    Frame,
    Item,
    Observation,
    Outcome,
    Prediction,
    Readings,
    Severity,
    SortEvent,
    View,
)
from bin_daemon.gpio.outputs import Mode
from bin_daemon.sorting.actions import (
    Action,
    Decide,
    Finish,
    Freeze,
    Look,
    Move,
    Raise,
    Resolve,
    Thaw,
)
from bin_daemon.sorting.sorter import Sorter, State

log = logging.getLogger(__name__)

TOP_K = 3
BEEPS_TAKEN = 1
BEEPS_TROUBLE = 3


class Eye(Protocol):
    """What the cycle needs of the chamber."""

    def observe(self, frame: Frame) -> Observation:
        """See `Chamber.observe`."""
        ...


class Network(Protocol):
    """What the cycle needs of the classifier."""

    def classify(self, image: Any) -> Prediction:
        """See `Classifier.classify`."""
        ...


class Recorder(Protocol):
    """Where events and alerts go; every method returns at once."""

    def decided(self, event: SortEvent) -> None:
        """Keep an event whose item is about to be moved."""
        ...

    def completed(
        self,
        event_id: str,
        outcome: Outcome,
        finished_at: float,
        timings_ms: Mapping[str, float],
    ) -> None:
        """Keep the outcome of an event that was given to `decided`."""
        ...

    def raise_alert(self, alert: Alert) -> None:
        """Tell the operator."""
        ...

    def resolve_alert(self, kind: str) -> None:
        """It is over."""
        ...


Noticed = Callable[[SortEvent, Decision, Item, Prediction], None]


class Panel(Protocol):
    """What the cycle needs of the outputs."""

    def show(self, mode: Mode) -> None:
        """See `Outputs.show`."""
        ...

    def beep(self, times: int) -> None:
        """See `Outputs.beep`."""
        ...


class Cycle:
    """The sort cycle of one bin, joined to its parts.

    session: the number of this start of the daemon, for the events. model: id of the package.
    read: gives the sensors' readings now. told: called with the state after every pass in which it
    changed. noticed: called with every event that was decided, its item and the last prediction of
    it; returns at once.
    """

    def __init__(
        self,
        *,
        chamber: Eye,
        classifier: Network,
        sorter: Sorter,
        chute: Chute,
        read: Callable[[], Readings],
        panel: Panel,
        recorder: Recorder,
        clock: Clock,
        session: int,
        model: str,
        boot_id: str = "",
        told: Callable[[State], None] = lambda state: None,
        noticed: Noticed | None = None,
    ) -> None:
        self._chamber = chamber
        self._classifier = classifier
        self._sorter = sorter
        self._chute = chute
        self._read = read
        self._panel = panel
        self._recorder = recorder
        self._clock = clock
        self._session = session
        self._model = model
        self._boot_id = boot_id
        self._told = told
        self._noticed = noticed
        self._sequence = 0
        self._open: SortEvent | None = None
        self._prediction: Prediction | None = None
        self._class_alerts: set[str] = set()
        self._moved_at: float | None = None
        self._last_state = sorter.state
        self.counts: Counter[str] = Counter()
        self.view = View.LEARNING

    @property
    def state(self) -> State:
        """Where the cycle is."""
        return self._sorter.state

    @property
    def frozen(self) -> bool:
        """Whether an interlock forbids motion."""
        return self._sorter.frozen

    def step(self, frame: Frame) -> Observation:
        """Take one frame through the cycle. Raises what the chute or the classifier raises."""
        observation = self._chamber.observe(frame)
        self.view = observation.view
        readings = self._read()
        self._perform(self._sorter.step(observation, readings, self._idle()), readings)
        if self._sorter.state is not self._last_state:
            log.debug("%s -> %s", self._last_state, self._sorter.state)
            self._last_state = self._sorter.state
            self._told(self._last_state)
        self._panel.show(self._mode())
        return observation

    def pause(self) -> None:
        """Stop taking items, once the present one is done."""
        self._sorter.pause()

    def resume(self) -> None:
        """Take items again."""
        self._sorter.resume()

    def clear(self) -> None:
        """An operator has seen to it: ends a jam, and the alerts about classes."""
        self._perform(self._sorter.clear(), Readings())
        while self._class_alerts:
            self._recorder.resolve_alert(self._class_alerts.pop())

    def interrupt(self) -> None:
        """The daemon stops: an item under way ends as interrupted."""
        if self._open is not None:
            self._finish(Finish(Outcome.INTERRUPTED, {}))

    def _idle(self) -> bool:
        return self._chute.stage in (Stage.RESTING, Stage.SETTLING)

    def _mode(self) -> Mode:
        if self.state in (State.JAMMED, State.BLOCKED):
            return Mode.TROUBLE
        if self.frozen or self.state is State.PAUSED:
            return Mode.HELD
        return Mode.READY if self.state is State.WAITING else Mode.BUSY

    def _perform(self, actions: list[Action], readings: Readings) -> None:
        for action in actions:
            match action:
                case Look():
                    self._look(action, readings)
                case Decide():
                    self._decide(action)
                case Move(route, gentle):
                    self._moved_at = self._clock.monotonic()
                    self._chute.start(route, gentle=gentle)
                case Freeze(reason):
                    log.info("motion held: %s", reason)
                    self._chute.hold()
                case Thaw():
                    log.info("motion may go on")
                    self._chute.release()
                case Finish():
                    self._finish(action)
                case Raise(kind, severity, message):
                    self._raise(kind, severity, message)
                case Resolve(kind):
                    self._recorder.resolve_alert(kind)

    def _look(self, action: Look, readings: Readings) -> None:
        try:
            prediction = self._classifier.classify(action.item.crop)
        except PictureError as error:  # this look is lost, the next frame gives another
            log.warning("look skipped: %s", error)
            return
        self._prediction = prediction
        now = self._clock.monotonic()
        self._perform(self._sorter.looked(prediction, readings, self._idle(), now), readings)

    def _decide(self, action: Decide) -> None:
        decision, item, prediction = action.decision, action.item, self._prediction
        assert prediction is not None
        self._sequence += 1
        wall = self._clock.time()
        event = SortEvent(
            id=uuid7(wall),
            session=self._session,
            seq=self._sequence,
            decided_at=wall,
            label=decision.label,
            confidence=decision.confidence,
            top_k=decision.top(TOP_K),
            route=decision.route,
            reason=decision.reason,
            model=self._model,
            looks=action.looks,
            item={"box": item.box, "area": item.area, "centre": item.centre},
            timings_ms={**action.timings_ms, "classify": sum(prediction.timings_ms.values())},
            boot_id=self._boot_id,
            monotonic_s=self._clock.monotonic(),
            clock_synced=clock_synced(),
        )
        self._open = event
        log.info("%s -> %s (%s)", event.label, event.route, event.reason)
        self._recorder.decided(event)
        if self._noticed is not None:
            self._noticed(event, decision, item, prediction)
        self._panel.beep(BEEPS_TAKEN)
        if decision.alert:
            kind = f"class_{decision.label}"
            self._class_alerts.add(kind)
            self._raise(kind, Severity.WARNING, decision.alert)

    def _finish(self, action: Finish) -> None:
        assert self._open is not None
        timings = {**self._open.timings_ms, **action.timings_ms}
        if self._moved_at is not None:
            timings["move"] = (self._clock.monotonic() - self._moved_at) * 1e3
            timings["move"] -= action.timings_ms.get("clear", 0.0)
        event, self._open, self._moved_at = self._open, None, None
        self.counts[event.label] += 1
        log.info("%s: %s", event.label, action.outcome)
        self._recorder.completed(event.id, action.outcome, self._clock.time(), timings)

    def _raise(self, kind: str, severity: Severity, message: str) -> None:
        log.warning("alert %s: %s", kind, message)
        self._panel.beep(BEEPS_TROUBLE)
        self._recorder.raise_alert(Alert(kind, severity, message, self._clock.time()))
