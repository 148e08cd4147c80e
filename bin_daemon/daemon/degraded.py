"""The chute and the lamp of a bin that cannot sort: everything goes to the residual route.

A configuration flows in; the chute opens the way of the residual route once, under the interlock of
lid and beam, and is silent from then on. It opens no camera and runs no network. What cannot be
opened is left out and named in `problems`. `silence_all` is for a daemon that was killed: every
line low, nothing moved.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from typing import TYPE_CHECKING

from bin_daemon.chute.chute import Chute
from bin_daemon.config.sections import Config, Route, SensorSection
from bin_daemon.core.clock import Clock
from bin_daemon.core.closing import Closing
from bin_daemon.core.errors import BinDaemonError, ChuteError
from bin_daemon.gpio.factory import ServoPin, open_factory

if TYPE_CHECKING:
    from bin_daemon.gpio.sensors import Sensors

log = logging.getLogger(__name__)

TICK_S = 0.020  # one period of a servo
IDLE_S = 0.2


class Degraded(Closing):
    """What can be opened of such a bin; call `step` every `pause_s` seconds.

    parked: whether the chute already stands at the residual route; the attribute follows it. A bin
    whose homing is manual is not moved: nobody has said that it may.
    """

    def __init__(self, config: Config, clock: Clock, *, parked: bool) -> None:
        self.parked = parked
        self.problems: tuple[str, ...] = ()
        self._chute: Chute | None = None
        self._sensors: Sensors | None = None
        self._held = False
        self._stack = contextlib.ExitStack()
        try:
            self._open(config, clock)
        except BaseException:
            self.close()
            raise

    def _open(self, config: Config, clock: Clock) -> None:
        from bin_daemon.gpio.outputs import Mode, Outputs
        from bin_daemon.gpio.sensors import Sensors

        try:
            factory = open_factory(config.chute.pins, config.chute.board)
        except BinDaemonError as error:
            self._leave_out(error)
            return
        self._stack.callback(factory.close)
        for section in config.outputs.apart().values():
            try:
                self._stack.enter_context(Outputs(section, factory)).show(Mode.TROUBLE)
            except BinDaemonError as error:
                self._leave_out(error)
        if self.parked:
            return
        if config.chute.homing == "manual":
            self._leave_out("chute.homing is manual: the chute stays where it is")
            return
        try:
            interlock = SensorSection(lid=config.sensors.lid, beam=config.sensors.beam)
            self._sensors = self._stack.enter_context(Sensors(interlock, factory, clock))
            # Without its interlock the chute must not move, so the sensors come first.
            route = config.decision.residual
            routes = {route: _open_way(config.routes[route])}
            self._chute = self._stack.enter_context(Chute(config.chute, routes, factory, clock))
            self._chute.start(route, gentle=True)
        except BinDaemonError as error:
            self._leave_out(error)
            self._chute = None

    def _leave_out(self, why: object) -> None:
        log.error("degraded mode goes without a part: %s", why)
        self.problems += (str(why),)

    @property
    def pause_s(self) -> float:
        """How long to wait until the next step, in seconds."""
        return IDLE_S if self._chute is None else TICK_S

    def step(self) -> None:
        """Move the chute on, where it is still on its way."""
        if self._chute is None or self._sensors is None:
            return
        try:
            held = bool(self._sensors.read().interlocked)
            if held != self._held:
                self._held = held
                (self._chute.hold if held else self._chute.release)()
            self._chute.tick()
            if self._chute.dropped:
                self._chute.abort()  # silent where it stands, instead of going home
                self._chute = None
                self.parked = True
        except ChuteError as error:
            self._leave_out(error)
            self._chute = None

    def close(self) -> None:
        """Give back all pins, every output off; may be called again."""
        self._stack.close()


def _open_way(route: Route) -> Route:
    """The steps of a route up to the one in which its item falls: the last of the longest ones."""
    longest_s = max(step.hold_s for step in route.steps)
    last = max(i for i, step in enumerate(route.steps) if step.hold_s == longest_s)
    return dataclasses.replace(route, steps=route.steps[: last + 1])


def silence_all(config: Config) -> tuple[str, ...]:
    """Claim every servo and output once and let go of it: low, off, hardware PWM disabled.

    Nothing moves. Returns a message for each that could not be claimed; the others are silenced all
    the same.
    """
    from bin_daemon.gpio.outputs import Outputs

    failed: list[str] = []
    with contextlib.ExitStack() as stack:
        try:
            factory = open_factory(config.chute.pins, config.chute.board)
        except BinDaemonError as error:
            return (str(error),)
        stack.callback(factory.close)
        for name, servo in config.chute.servos.items():
            try:
                ServoPin(factory, name, servo).close()
            except BinDaemonError as error:
                failed.append(str(error))
        for output in config.outputs.apart().values():
            try:
                Outputs(output, factory).close()
            except BinDaemonError as error:
                failed.append(str(error))
    return tuple(failed)
