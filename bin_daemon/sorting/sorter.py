"""The sort cycle as a pure state machine.

Observations, readings and predictions come in, actions come out; whoever owns the hardware carries
them out. No I/O, no threads, and no clock but the capture times of the frames.

    WAITING -> SETTLING -> LOOKING -> SORTING -> CLEARING -> WAITING

and PAUSED (an operator wants quiet), BLOCKED (the camera sees nothing), JAMMED (an item will not
leave). While a hand is in view, the lid open or the beam broken nothing moves, in whatever state.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from bin_daemon.core.messages import (
    Item,
    Observation,
    Outcome,
    Prediction,
    Readings,
    Severity,
    View,
)
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
from bin_daemon.sorting.decision import Policy, decide

BLOCKED_ALERT_S = 5.0  # a view blocked for so long is worth an alert; a passing sleeve is not
HELD_ALERT_S = 60.0  # a hand is gone by then; somebody should look at the lid or the view
UNREST_ALERT_S = 60.0  # nothing thrown in moves for so long; a bag that flutters does, or a lamp
UNBLOCKED_S = 0.5  # light that flickers around the limit must not make the state flicker


class State(StrEnum):
    """Where the cycle is."""

    WAITING = "waiting"
    SETTLING = "settling"
    LOOKING = "looking"
    SORTING = "sorting"
    CLEARING = "clearing"
    PAUSED = "paused"
    BLOCKED = "blocked"
    JAMMED = "jammed"


class Sorter:
    """One bin's cycle.

    policy: what to decide by. is_same: whether two items are one and the same thing lying still.
    looks: fresh predictions to gather before deciding. clear_s: seconds that an item may take to be
    gone once the chute is home. chute_in_view: the camera sees the chute move, and cannot tell a
    hand from it meanwhile.
    """

    def __init__(
        self,
        policy: Policy,
        is_same: Callable[[Item, Item], bool],
        looks: int = 3,
        clear_s: float = 0.5,
        chute_in_view: bool = False,
    ) -> None:
        self._policy, self._is_same = policy, is_same
        self._looks_wanted, self._clear_s, self._chute_in_view = looks, clear_s, chute_in_view
        self.state = State.WAITING
        self.frozen = self._pausing = self._several = self._retried = False
        self._looks: list[Prediction] = []
        self._item: Item | None = None
        self._made: Decide | None = None  # what was decided of the item on its way out
        self._seen_at: float | None = None  # when the item came into view
        self._seeing_since: float | None = None  # from when on a blocked view shows something again
        self._since = self._frozen_at = 0.0  # when the state was entered, when the chute was frozen
        self._raised: set[str] = set()

    def step(self, observation: Observation, readings: Readings, chute_idle: bool) -> list[Action]:
        """Take one frame and the sensors' readings; returns what to do now, in order.

        chute_idle: no motion is under way or being held.
        """
        now = observation.captured_at
        actions = self._interlock(observation, readings)
        if self.state is State.SORTING:
            if chute_idle and not self.frozen:
                self._enter(State.CLEARING, now)
        elif self.state is State.CLEARING:
            actions += self._clearing(observation, now)
        elif self.state is State.JAMMED:
            if observation.view is View.EMPTY and not self.frozen:
                actions += self.clear()
        elif self.state is State.PAUSED:
            pass
        elif observation.view is View.BLOCKED:
            actions += self._blocked(observation, now)
        else:
            actions += self._ready(observation, now)
        if self._pausing and self.state in (State.WAITING, State.SETTLING, State.LOOKING):
            self._forget()
            self._enter(State.PAUSED, now)
        return actions

    def looked(
        self, prediction: Prediction, readings: Readings, chute_idle: bool, now: float
    ) -> list[Action]:
        """Take the answer to a `Look`; decides when there are enough and the chute is free."""
        if self.state is not State.LOOKING or self._item is None:
            return []
        self._looks.append(prediction)
        del self._looks[: -self._looks_wanted]  # while the chute is busy the oldest looks go
        if len(self._looks) < self._looks_wanted or not chute_idle:
            return []
        area = self._item.area
        decision = decide(self._looks, self._policy, readings, area, self._several)
        seen_at = self._since if self._seen_at is None else self._seen_at
        timings = {"settle": (self._since - seen_at) * 1e3, "look": (now - self._since) * 1e3}
        self._made = Decide(decision, self._item, prediction, len(self._looks), timings)
        self._retried = False
        self._enter(State.SORTING, now)
        return [self._made, Move(decision.route)]

    def pause(self) -> None:
        """Stop taking items; one that is under way is finished first."""
        self._pausing = True

    def resume(self) -> None:
        """Take items again after `pause`."""
        self._pausing = False
        if self.state is State.PAUSED:
            self.state = State.WAITING

    def clear(self) -> list[Action]:
        """End a jam: an operator says that the item is out."""
        if self.state is not State.JAMMED:
            return []
        self._forget()
        self.state = State.WAITING
        return [Resolve("jam")]

    def _interlock(self, observation: Observation, readings: Readings) -> list[Action]:
        """Freeze or thaw the chute as the sensors and the view demand."""
        hand = observation.view is View.HAND
        if self._chute_in_view and self.state is State.SORTING and not self.frozen:
            hand = False
        why = readings.interlocked or ("a hand is in view" if hand else "")
        forbidden, now = bool(why), observation.captured_at
        if forbidden and not self.frozen:
            self.frozen, self._frozen_at = True, now
            return [Freeze(why)]
        if forbidden and now - self._frozen_at >= HELD_ALERT_S:
            source = "a sensor says so" if readings.interlocked else observation.reason
            return self._raise(
                "held",
                f"held for a minute because {why} ({source}); shut the lid, clear opening and "
                f"chamber, or send 'learn' if the view has changed",
            )
        if forbidden or not self.frozen:
            return []
        self.frozen = False
        return [Thaw(), *self._resolve("held")]

    def _ready(self, observation: Observation, now: float) -> list[Action]:
        """WAITING, SETTLING, LOOKING, and BLOCKED that sees again."""
        actions: list[Action] = []
        if self.state is State.BLOCKED:
            self._seeing_since = now if self._seeing_since is None else self._seeing_since
            if now - self._seeing_since < UNBLOCKED_S:
                return []
            self._enter(State.WAITING, now)
            actions += self._resolve("blocked")
        if self.frozen or observation.view in (View.EMPTY, View.LEARNING, View.HAND):
            self._forget()
            if self.state is not State.WAITING:
                self._enter(State.WAITING, now)
            return [*actions, *self._resolve("unrest")]
        if self._seen_at is None:
            self._seen_at = now
        if observation.view is View.MOVING or observation.item is None:
            self._looks.clear()
            if self.state is not State.SETTLING:
                self._enter(State.SETTLING, now)
            elif now - self._since >= UNREST_ALERT_S:
                message = "something has been moving in the chamber for a minute; look what it is"
                actions += self._raise("unrest", message)
            return actions
        if self.state is not State.LOOKING:
            self._looks.clear()
            self._several = False
            self._enter(State.LOOKING, now)
        self._item = observation.item
        self._several |= observation.view is View.ITEMS
        return [*actions, *self._resolve("unrest"), Look(observation.item)]

    def _clearing(self, observation: Observation, now: float) -> list[Action]:
        """Finish once the item has left; retry once where it has not, then raise an alert."""
        if self.frozen:
            self._since = now  # the time to clear starts when motion may go on
            return []
        view, waited_s = observation.view, now - self._since
        if view is View.EMPTY:
            return self._finish(now)
        if waited_s >= UNREST_ALERT_S or (view is View.BLOCKED and waited_s >= BLOCKED_ALERT_S):
            # Nobody knows any more; whatever blocks the view raises its own alert.
            return self._finish(now, Outcome.INTERRUPTED)
        if observation.item is None or waited_s < self._clear_s:
            return []
        assert self._made is not None
        if not self._is_same(self._made.item, observation.item):
            # The next item came in behind it; it gets a cycle of its own.
            return self._finish(now)
        decision = self._made.decision
        if not self._retried:
            self._retried = True
            self._enter(State.SORTING, now)
            return [Move(decision.route, gentle=True)]
        stuck = f"an item ({decision.label}) does not leave by {decision.route}"
        actions = self._finish(now, Outcome.JAMMED)
        self._enter(State.JAMMED, now)
        return [*actions, Raise("jam", Severity.ERROR, f"{stuck}; take it out by hand")]

    def _blocked(self, observation: Observation, now: float) -> list[Action]:
        self._seeing_since = None
        if self.state is not State.BLOCKED:
            self._forget()
            self._enter(State.BLOCKED, now)
        if now - self._since < BLOCKED_ALERT_S:
            return []
        return self._raise("blocked", f"the camera sees nothing: {observation.reason}")

    def _raise(self, kind: str, message: str) -> list[Action]:
        """A warning, once until it is resolved."""
        if kind in self._raised:
            return []
        self._raised.add(kind)
        return [Raise(kind, Severity.WARNING, message)]

    def _resolve(self, kind: str) -> list[Action]:
        if kind not in self._raised:
            return []
        self._raised.remove(kind)
        return [Resolve(kind)]

    def _finish(self, now: float, outcome: Outcome | None = None) -> list[Action]:
        """End the item, which has left where no other outcome is given."""
        assert self._made is not None
        left = Outcome.REJECTED if self._made.decision.rejected else Outcome.SORTED
        timings = {"clear": (now - self._since) * 1e3}
        self._forget()
        self._enter(State.WAITING, now)
        return [Finish(outcome or left, timings)]

    def _enter(self, state: State, now: float) -> None:
        self.state = state
        self._since = now

    def _forget(self) -> None:
        """Drop what is known of the item in the chamber."""
        self._looks.clear()
        self._several = False
        self._item = self._made = self._seen_at = None
