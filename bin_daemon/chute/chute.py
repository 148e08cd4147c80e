"""The chute: plays the route of an item, within speed limits and under an interlock.

Routes and poses flow in from the configuration, `start`, `home` and `hold` from the sort cycle,
pulses flow out through `gpio`. It is ticked by `ChuteThread` in real time, or by a simulated clock,
and never sleeps. It does not decide where an item goes, nor whether it left.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from bin_daemon.chute.motion import Trajectory, plan
from bin_daemon.core.closing import Closing
from bin_daemon.core.errors import ChuteError, UsageError
from bin_daemon.gpio.factory import ServoPin

if TYPE_CHECKING:
    from bin_daemon.config.hardware import ChuteSection
    from bin_daemon.config.sections import Route
    from bin_daemon.core.clock import Clock
    from bin_daemon.gpio.factory import Factory

HOME = "home"

# After a stall (swap, a suspended laptop) the chute goes on from where it was; without this limit
# it would leap to where it should have been by then.
LONGEST_STEP_S = 0.1

CLOSE_DEADLINE_S = 1.0  # for a tick in another thread; then `close` lets go of the servos anyway

_log = logging.getLogger(__name__)


class ChuteState(StrEnum):
    """Which part of its way the chute is on."""

    RESTING = "resting"  # nothing to do, servos silent
    HOMING = "homing"  # going home on its own account
    DELIVERING = "delivering"  # playing the steps of a route
    RETURNING = "returning"  # the item was dropped; going home
    SETTLING = "settling"  # at home, pulses still on


@dataclass(frozen=True, slots=True)
class _Leg:
    """One move: to a pose at a share of full speed, at least `least_s` long, then a dwell."""

    state: ChuteState
    pose: str
    dwell_s: float
    speed: float
    least_s: float = 0.0


class Chute(Closing):
    """Servos, poses and routes.

    Construction claims the pins and sends no pulse. `tick` moves; all other calls only set what to
    do from the next tick on, except that `hold`, `abort` and `close` silence servos at once. All
    calls may come from any thread.

    A hobby servo does not report where it is, and its first pulse moves it at its own full speed.
    The chute assumes that it was left at home, as after every route; then the first pulse, which is
    home, moves nothing. Where the daemon was stopped in the middle of a route, it *does* jump home,
    and no software can soften that; `homing: manual` leaves the moment to the operator. From then
    on every move is a ramp from the last angle sent.

    config: servos, poses, speeds; `home` gives an angle for every servo. routes: by name.
    `dropped`: the steps of the last started route are done, so that its item should be gone.
    `homed`: the angles sent can be trusted: it has been home, and was not aborted since.
    Raises ChuteError where a pin cannot be used.
    """

    def __init__(
        self, config: ChuteSection, routes: Mapping[str, Route], factory: Factory, clock: Clock
    ) -> None:
        self._config, self._routes, self._clock = config, routes, clock
        # Reentrant, so that a signal handler that calls `close` in the middle of a tick gets in.
        self._lock = threading.RLock()
        self._angles_deg = dict(config.poses[HOME])
        self._settling = _Leg(ChuteState.SETTLING, HOME, config.detach_after_s, 1.0)
        self._legs: deque[_Leg] = deque()
        self._trajectory: Trajectory | None = None
        self._elapsed_s = 0.0
        self._ticked_s = clock.monotonic()
        self.homed = self.dropped = self._held = self._closed = False
        self._servos: dict[str, ServoPin] = {}
        try:
            for name, servo in config.servos.items():
                self._servos[name] = ServoPin(factory, name, servo)
        except ChuteError:
            self.close()
            raise

    @property
    def pulses(self) -> Mapping[str, str]:
        """What makes the pulses of each servo, in words, by its name."""
        return {name: servo.pulses for name, servo in self._servos.items()}

    @property
    def state(self) -> ChuteState:
        """Which part of its way it is on."""
        with self._lock:
            return self._legs[0].state if self._legs and not self._closed else ChuteState.RESTING

    def start(self, route: str, *, gentle: bool = False) -> None:
        """Begin a route: its steps with their dwells, home, settle, silence.

        A chute that is not homed goes home first. gentle: move at `homing_speed` of full speed, for
        a second try at an item that did not leave.

        Raises UsageError for an unknown route and while another one is under way, ChuteError once
        closed.
        """
        with self._lock:
            self._check_open()
            if route not in self._routes:
                raise UsageError(f"no route '{route}'; routes has {', '.join(self._routes)}")
            if self.state in (ChuteState.DELIVERING, ChuteState.RETURNING):
                raise UsageError(f"cannot start route '{route}': the chute is still {self.state}")
            speed = self._config.homing_speed if gentle else 1.0
            legs = [leg for leg in self._legs if leg.state is ChuteState.HOMING]
            if not legs:
                self._rewind()
                if not self.homed:
                    legs.append(self._homing())
            legs += [
                _Leg(ChuteState.DELIVERING, step.pose, step.hold_s, speed)
                for step in self._routes[route].steps
            ]
            legs.append(_Leg(ChuteState.RETURNING, HOME, 0.0, speed))
            self._legs = deque([*legs, self._settling])
            self.dropped = False

    def home(self) -> None:
        """Go home at `homing_speed`, settle, fall silent; gives up a route that is under way.

        Raises ChuteError once closed.
        """
        with self._lock:
            self._check_open()
            self._rewind()
            self._legs = deque([self._homing(), self._settling])

    def hold(self) -> None:
        """Interlock on: stand still until `release`, with the same pulses; may be called again.

        A chute in the middle of a route keeps its pulses, for as long as it takes: without them a
        loaded trapdoor would sag under the hand that the interlock protects. A chute that is not
        homed yet loses them at once, as it may still be moving towards them. At rest there are none
        and none begin. Settling at home goes on: it moves nothing.

        Raises ChuteError where a pin refuses to fall silent.
        """
        with self._lock:
            self._held = True
            if not self.homed:
                self._rewind()
                self._silence()

    def release(self) -> None:
        """Interlock off: go on from where it stands, within the speed limit."""
        with self._lock:
            self._held = False

    def tick(self) -> None:
        """Move on by the time since the last tick (at most LONGEST_STEP_S); every 20 ms or so.

        Raises ChuteError where a pin refuses; the servos are silenced before that.
        """
        with self._lock:
            now_s = self._clock.monotonic()
            passed_s = min(now_s - self._ticked_s, LONGEST_STEP_S)
            self._ticked_s = now_s
            state = self.state
            if state is ChuteState.RESTING or (self._held and state is not ChuteState.SETTLING):
                return
            try:
                self._advance(passed_s)
            except ChuteError:
                self.abort()
                raise

    def abort(self) -> None:
        """Give up whatever is under way and silence the servos where they are; never raises.

        What is loaded may sag then, so a chute aborted under way has to be homed again.
        """
        with self._lock:
            self.homed = self.homed and not self._legs
            self._legs.clear()
            self._rewind()
            for servo in self._servos.values():
                try:
                    servo.detach()
                except ChuteError:
                    _log.exception("a servo could not be silenced")

    def close(self) -> None:
        """Give back all pins, silent and low; may be called again and from a signal handler."""
        self._closed = True
        # A thread that hangs in the pin library must not keep the servos powered.
        locked = self._lock.acquire(timeout=CLOSE_DEADLINE_S)
        try:
            # All silent first: pulses timed in software suffer from the end of another train.
            for servo in self._servos.values():
                with contextlib.suppress(ChuteError):
                    servo.detach()
            for servo in self._servos.values():
                servo.close()
        finally:
            if locked:
                self._lock.release()

    def _check_open(self) -> None:
        if self._closed:
            raise ChuteError("the chute is closed; open a new one")

    def _homing(self) -> _Leg:
        # Not known to be home, the ramp may have no length while the servo has up to its whole
        # range to go; it gets the time for that.
        servos = () if self.homed else self._config.servos.values()
        travels_s = ((s.max_angle_deg - s.min_angle_deg) / s.speed_deg_s for s in servos)
        least_s = max(travels_s, default=0.0)
        return _Leg(ChuteState.HOMING, HOME, 0.0, self._config.homing_speed, least_s)

    def _rewind(self) -> None:
        self._trajectory = None
        self._elapsed_s = 0.0
        self._ticked_s = self._clock.monotonic()

    def _advance(self, passed_s: float) -> None:
        leg = self._legs[0]
        if self._trajectory is None:
            speeds = {n: s.speed_deg_s * leg.speed for n, s in self._config.servos.items()}
            pose = self._config.poses[leg.pose]
            self._trajectory = plan(self._angles_deg, pose, speeds, leg.least_s)
        self._elapsed_s += passed_s
        # All servos are driven on every move, so that what stands still also stands firm.
        for name, angle_deg in self._trajectory.angles_at(self._elapsed_s).items():
            self._servos[name].set_angle(angle_deg)
            self._angles_deg[name] = angle_deg
        # What is left of this tick is not carried over: each pose is sent before the next move.
        if self._elapsed_s >= self._trajectory.duration_s + leg.dwell_s:
            self._finish(leg)

    def _finish(self, leg: _Leg) -> None:
        self._legs.popleft()
        self._rewind()
        if leg.state is ChuteState.HOMING:
            self.homed = True
        elif leg.state is ChuteState.DELIVERING and self.state is not ChuteState.DELIVERING:
            self.dropped = True
        if not self._legs:
            self._silence()

    def _silence(self) -> None:
        for servo in self._servos.values():
            servo.detach()
