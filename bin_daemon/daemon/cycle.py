"""One pass after another: a frame in, the sort cycle on, its actions carried out.

Frames flow in, motion, events and alerts flow out: here the pure rooms (chamber, sorting) meet the
ones that act (classifier, chute, the recorder of events). All of it happens in one thread, which
owns the interpreter; it never waits for the network or the disk.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from bin_daemon.chute.chute import Chute, ChuteState
from bin_daemon.core.clock import Clock, boot_id, clock_synced, uuid7
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
)
from bin_daemon.gpio.outputs import Mode, Outputs
from bin_daemon.gpio.sensors import Sensors
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

if TYPE_CHECKING:
    from bin_daemon.chamber.chamber import Chamber
    from bin_daemon.chamber.lamp import LampChamber
    from bin_daemon.model.classifier import Classifier

log = logging.getLogger(__name__)

TOP_K = 3
BEEPS_TAKEN = 1
BEEPS_TROUBLE = 3


class Recorder(Protocol):
    """Where events and alerts go; every method returns at once."""

    def decided(self, event: SortEvent) -> None:
        """Keep an event whose item is about to be moved."""

    def completed(
        self, event_id: str, outcome: Outcome, finished_at: float, timings_ms: Mapping[str, float]
    ) -> None:
        """Keep the outcome of an event that was given to `decided`."""

    def raise_alert(self, alert: Alert) -> None:
        """Tell the operator, until the alert is resolved."""

    def resolve_alert(self, kind: str) -> None:
        """Withdraw the alert of this kind, raised or not."""


OnState = Callable[[State], None]
OnDecision = Callable[[SortEvent, Decision, Item, Prediction], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """The parts that a cycle reads and drives."""

    chamber: Chamber | LampChamber
    classifier: Classifier
    chute: Chute
    sensors: Sensors
    outputs: Outputs
    clock: Clock


class Cycle:
    """The sort cycle of one bin, joined to its parts.

    Between two calls it keeps the state of the sorter and the event of the item under way.

    session: the number of this start of the daemon, for the events.
    on_state: called with the state after every pass in which it changed. on_decision: called with
    every event that was decided, its item and the last prediction of it; returns at once.
    """

    def __init__(
        self,
        sorter: Sorter,
        machine: Machine,
        recorder: Recorder,
        session: int,
        on_state: OnState = lambda state: None,
        on_decision: OnDecision | None = None,
    ) -> None:
        self.sorter, self._machine, self._recorder = sorter, machine, recorder
        self._on_state, self._on_decision = on_state, on_decision
        self._session, self._boot_id = session, boot_id()
        self._sequence = 0
        self._under_way: SortEvent | None = None
        self._moved_at = 0.0
        self._class_alerts: set[str] = set()
        self._reported = sorter.state
        self.counts: Counter[str] = Counter()

    @property
    def state(self) -> State:
        """Where the cycle is."""
        return self.sorter.state

    def step(self, frame: Frame) -> Observation:
        """Take one frame through the cycle. Raises what the chute or the classifier raises."""
        observation = self._machine.chamber.observe(frame)
        readings = self._machine.sensors.read()
        self._perform(self.sorter.step(observation, readings, self._idle()), readings)
        if self.state is not self._reported:
            log.debug("%s -> %s", self._reported, self.state)
            self._reported = self.state
            self._on_state(self.state)
        self._machine.outputs.show(self._mode())
        return observation

    def clear(self) -> None:
        """End a jam and the alerts about classes: an operator has seen to them."""
        self._perform(self.sorter.clear(), Readings())
        while self._class_alerts:
            self._recorder.resolve_alert(self._class_alerts.pop())

    def interrupt(self) -> None:
        """End an item under way as interrupted, since the daemon stops."""
        if self._under_way is not None:
            self._finish(Finish(Outcome.INTERRUPTED, {}))

    def _idle(self) -> bool:
        return self._machine.chute.state in (ChuteState.RESTING, ChuteState.SETTLING)

    def _mode(self) -> Mode:
        if self.state in (State.JAMMED, State.BLOCKED):
            return Mode.TROUBLE
        if self.sorter.frozen or self.state is State.PAUSED:
            return Mode.HELD
        return Mode.READY if self.state is State.WAITING else Mode.BUSY

    def _perform(self, actions: Iterable[Action], readings: Readings) -> None:
        """Carry out actions in order; those that answer a look come before the rest."""
        waiting = deque(actions)
        while waiting:
            match waiting.popleft():
                case Look(item):
                    waiting.extendleft(reversed(self._look(item, readings)))
                case Decide() as made:
                    self._decide(made)
                case Move(route, gentle):
                    self._moved_at = self._machine.clock.monotonic()
                    self._machine.chute.start(route, gentle=gentle)
                case Freeze(reason):
                    log.info("motion held: %s", reason)
                    self._machine.chute.hold()
                case Thaw():
                    log.info("motion may go on")
                    self._machine.chute.release()
                case Finish() as ended:
                    self._finish(ended)
                case Raise(kind, severity, message):
                    self._raise(kind, severity, message)
                case Resolve(kind):
                    self._recorder.resolve_alert(kind)

    def _look(self, item: Item, readings: Readings) -> list[Action]:
        """Classify an item; what the sorter makes of it, nothing where the crop was unusable."""
        try:
            prediction = self._machine.classifier.classify(item.crop)
        except PictureError as error:  # this look is lost, the next frame gives another
            log.warning("look skipped: %s", error)
            return []
        now = self._machine.clock.monotonic()
        return self.sorter.looked(prediction, readings, self._idle(), now)

    def _decide(self, made: Decide) -> None:
        decision, item, prediction = made.decision, made.item, made.prediction
        self._sequence += 1
        wall = self._machine.clock.time()
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
            model=self._machine.classifier.id,
            looks=made.looks,
            item={"box": item.box, "area": item.area, "centre": item.centre},
            timings_ms={**made.timings_ms, "classify": sum(prediction.timings_ms.values())},
            boot_id=self._boot_id,
            monotonic_s=self._machine.clock.monotonic(),
            clock_synced=clock_synced(),
        )
        self._under_way, self._moved_at = event, event.monotonic_s
        log.info("%s -> %s (%s)", event.label, event.route, event.reason)
        self._recorder.decided(event)
        if self._on_decision is not None:
            self._on_decision(event, decision, item, prediction)
        self._machine.outputs.beep(BEEPS_TAKEN)
        if decision.alert:
            kind = f"class_{decision.label}"
            self._class_alerts.add(kind)
            self._raise(kind, Severity.WARNING, decision.alert)

    def _finish(self, ended: Finish) -> None:
        assert self._under_way is not None
        event, self._under_way = self._under_way, None
        moved_ms = (self._machine.clock.monotonic() - self._moved_at) * 1e3
        clear_ms = ended.timings_ms.get("clear", 0.0)
        timings = {**event.timings_ms, **ended.timings_ms, "move": moved_ms - clear_ms}
        self.counts[event.label] += 1
        log.info("%s: %s", event.label, ended.outcome)
        self._recorder.completed(event.id, ended.outcome, self._machine.clock.time(), timings)

    def _raise(self, kind: str, severity: Severity, message: str) -> None:
        log.warning("alert %s: %s", kind, message)
        self._machine.outputs.beep(BEEPS_TROUBLE)
        self._recorder.raise_alert(Alert(kind, severity, message, self._machine.clock.time()))
