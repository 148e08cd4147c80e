"""The switches, digital sensors and fill sensors of a bin, as readings.

Pins flow in through `gpio.factory`, one `Readings` flows out for each call of `read`. That an open
lid forbids motion is decided by the sort cycle.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

from bin_daemon.core.closing import Closing
from bin_daemon.core.messages import Readings
from bin_daemon.gpio.factory import InputPin

if TYPE_CHECKING:
    from bin_daemon.config.hardware import Input, SensorSection
    from bin_daemon.core.clock import Clock
    from bin_daemon.gpio.factory import Factory
    from bin_daemon.gpio.fill_level import FillLevels

# A bottle falls through the beam in some 50 ms, between two frames: the beam counts as broken until
# a frame has certainly been taken since.
BEAM_HOLD_S = 0.3


class Sensors(Closing):
    """The lid switch, beam, metal sensor, `full` switches and fill sensors that a bin has.

    clock: what the age of a fill level is measured on. Where there are fill sensors, a thread
    measures from construction until `close`.
    Raises ChuteError, naming the key and the pin, where a pin cannot be used.
    """

    def __init__(self, config: SensorSection, factory: Factory, clock: Clock) -> None:
        # On a failure half-way the pins claimed so far are released.
        with contextlib.ExitStack() as claimed:

            def claim(key: str, pin: Input) -> InputPin:
                return claimed.enter_context(InputPin(factory, f"sensors.{key}.pin", pin))

            lid, beam, metal = config.lid, config.beam, config.metal
            self._lid = claim("lid", lid) if lid else None
            self._beam = claimed.enter_context(_Beam(factory, beam, clock)) if beam else None
            self._metal = claim("metal", metal) if metal else None
            self._full = {name: claim(f"full.{name}", pin) for name, pin in config.full.items()}
            self._fill: FillLevels | None = None
            if config.fill:
                from bin_daemon.gpio.fill_level import FillLevels

                self._fill = claimed.enter_context(FillLevels(config.fill, factory, clock))
            self._claimed = claimed.pop_all()
        self._last = Readings()
        self._closed = False

    @property
    def beat_at(self) -> float | None:
        """When the thread that measures was last seen alive, `time.monotonic`; None without one."""
        return None if self._fill is None else self._fill.beat_at

    def read(self) -> Readings:
        """The present readings; after `close`, the last ones. Never waits for an echo.

        A bin without a lid switch reads as closed, without a beam as free, without a metal sensor
        as None. fill_percent: by route. A `full` switch gives 100 or 0; where the route has a fill
        sensor too, an active switch gives 100, and otherwise the sensor counts.
        """
        if self._closed:
            return self._last
        levels, silent = self._fill.read() if self._fill else ({}, ())
        for route, switch in self._full.items():
            if switch.active:
                levels[route] = 100.0
            elif self._fill is None or route not in self._fill.routes:
                levels[route] = 0.0
        self._last = Readings(
            lid_open=self._lid is not None and _forbids(self._lid),
            beam_broken=self._beam is not None and self._beam.broken,
            metal=None if self._metal is None else self._metal.active,
            fill_percent=levels,
            silent=silent,
        )
        return self._last

    def close(self) -> None:
        """Release all pins; may be called again."""
        self._closed = True
        self._claimed.close()


class _Beam(InputPin):
    """A beam across the opening, which remembers for a moment that it was broken."""

    def __init__(self, factory: Factory, config: Input, clock: Clock) -> None:
        super().__init__(factory, "sensors.beam.pin", config)
        self._clock = clock
        self._freed_at = -math.inf
        self.when_released(self._freed)

    @property
    def broken(self) -> bool:
        """Whether something is in it, or was a moment ago."""
        return _forbids(self) or self._clock.monotonic() - self._freed_at < BEAM_HOLD_S

    def _freed(self) -> None:
        self._freed_at = self._clock.monotonic()


def _forbids(switch: InputPin) -> bool:
    # Hands may be in: it counts at once, without waiting for the debounce, and for as long as
    # either is active, should an edge ever get lost.
    return switch.active_now or switch.active
