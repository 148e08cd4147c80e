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
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bin_daemon.chute.chute import Chute
from bin_daemon.config.hardware import SensorSection
from bin_daemon.config.sections import Config, Route
from bin_daemon.core.clock import Clock
from bin_daemon.core.closing import Closing
from bin_daemon.core.errors import BinDaemonError, ChuteError
from bin_daemon.gpio.factory import FRAME_S, ServoPin, open_factory

if TYPE_CHECKING:
    from bin_daemon.gpio.sensors import Sensors

log = logging.getLogger(__name__)


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
        with contextlib.ExitStack() as stack:
            self._open(config, clock, stack)
            self._stack = stack.pop_all()

    def _open(self, config: Config, clock: Clock, stack: contextlib.ExitStack) -> None:
        from bin_daemon.gpio.outputs import Mode, Outputs
        from bin_daemon.gpio.sensors import Sensors

        with self._optional():
            factory = open_factory(config.chute.pins, config.chute.board)
            stack.callback(factory.close)
            for section in config.outputs.apart().values():
                with self._optional():
                    stack.enter_context(Outputs(section, factory)).show(Mode.TROUBLE)
            if self.parked:
                return
            if config.chute.homing == "manual":
                raise ChuteError("chute.homing is manual: the chute stays where it is")
            # Without its interlock the chute must not move, so the sensors come first.
            interlock = SensorSection(lid=config.sensors.lid, beam=config.sensors.beam)
            self._sensors = stack.enter_context(Sensors(interlock, factory, clock))
            route = config.decision.residual
            routes = {route: _open_way(config.routes[route])}
            chute = stack.enter_context(Chute(config.chute, routes, factory, clock))
            chute.start(route, gentle=True)
            self._chute = chute

    @contextlib.contextmanager
    def _optional(self) -> Iterator[None]:
        """Go on without a part that fails."""
        try:
            yield
        except BinDaemonError as error:
            log.error("degraded mode goes without a part: %s", error)
            self.problems += (str(error),)

    @property
    def pause_s(self) -> float:
        """How long to wait until the next step, in seconds."""
        return FRAME_S if self._chute else 0.2

    def step(self) -> None:
        """Move the chute on, where it is still on its way."""
        if self._chute is None or self._sensors is None:
            return
        chute, self._chute = self._chute, None
        with self._optional():
            (chute.hold if self._sensors.read().interlocked else chute.release)()
            chute.tick()
            if chute.dropped:
                chute.abort()  # silent where it stands, instead of going home
                self.parked = True
            else:
                self._chute = chute

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
    with contextlib.ExitStack() as stack, _collected(failed):
        factory = open_factory(config.chute.pins, config.chute.board)
        stack.callback(factory.close)
        for name, servo in config.chute.servos.items():
            with _collected(failed):
                ServoPin(factory, name, servo).close()
        for output in config.outputs.apart().values():
            with _collected(failed):
                Outputs(output, factory).close()
    return tuple(failed)


@contextlib.contextmanager
def _collected(messages: list[str]) -> Iterator[None]:
    """End the block at an error of ours, and note what it says."""
    try:
        yield
    except BinDaemonError as error:
        messages.append(str(error))
