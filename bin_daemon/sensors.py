"""The switches and digital sensors of a bin, as readings.

Pins flow in through `chute.pins`, one `Readings` flows out for each call of `read`. Nothing here
decides anything: that an open lid forbids motion is the sort cycle's business.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

from bin_daemon.chute.pins import InputPin
from bin_daemon.messages import Readings

if TYPE_CHECKING:
    from bin_daemon.chute.pins import Factory
    from bin_daemon.config import Input, SensorSection


class Sensors:
    """The lid switch, the metal sensor and the `full` switches, as far as a bin has them.

    Raises ChuteError, naming the key and the pin, where a pin cannot be used.
    """

    def __init__(self, config: SensorSection, factory: Factory) -> None:
        # On a failure half-way the pins claimed so far are given back.
        with contextlib.ExitStack() as claimed:

            def claim(key: str, pin: Input) -> InputPin:
                device = InputPin(factory, f"sensors.{key}.pin", pin)
                claimed.callback(device.close)
                return device

            self._lid = claim("lid", config.lid) if config.lid else None
            self._metal = claim("metal", config.metal) if config.metal else None
            self._full = {name: claim(f"full.{name}", pin) for name, pin in config.full.items()}
            self._claimed = claimed.pop_all()
        self._last = Readings()

    def read(self) -> Readings:
        """What the sensors say now; after `close`, what they said last.

        A bin without a lid switch reads as closed, one without a metal sensor as None.
        fill_percent: 100 or 0 by route, for routes with a `full` switch.
        """
        if self._lid is None and self._metal is None and not self._full:
            return self._last
        self._last = Readings(
            lid_open=self._lid_open(),
            metal=None if self._metal is None else self._metal.active,
            fill_percent={n: 100.0 if pin.active else 0.0 for n, pin in self._full.items()},
        )
        return self._last

    def close(self) -> None:
        """Give back all pins; may be called again."""
        self._claimed.close()
        self._lid = self._metal = None
        self._full = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _lid_open(self) -> bool:
        # Hands may be in: it counts as open as soon as the level says so, without waiting for the
        # debounce, and as long as either does, should an edge ever get lost.
        return self._lid is not None and (self._lid.active_now or self._lid.active)
