"""What the bin shows of itself: the lamp of the chamber, the status LED, the buzzer.

Modes and beeps flow in, levels on pins flow out. Every call returns at once: blinking and beeping
go on in gpiozero's own threads. An output that fails is logged and nothing more, for no lamp is
worth a bin that stops. What the bin should show is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from bin_daemon.core.closing import Closing
from bin_daemon.gpio.factory import claiming, release

if TYPE_CHECKING:
    from collections.abc import Callable

    from bin_daemon.config.hardware import Light, Output, OutputSection
    from bin_daemon.gpio.factory import Factory

# Far above gpiozero's 100 Hz, which a camera sees as crawling stripes.
LIGHT_HZ = 1000
SLOW_BLINK_S = 1.0  # on, and again off
FAST_BLINK_S = 0.15
BEEP_S = 0.12
BETWEEN_BEEPS_S = 0.12

_log = logging.getLogger(__name__)


class Mode(StrEnum):
    """What a person in front of the bin should know."""

    READY = "ready"  # throw something in
    BUSY = "busy"  # an item is being looked at or sorted
    HELD = "held"  # a lid, a hand or an operator holds it
    TROUBLE = "trouble"  # it needs somebody


class Outputs(Closing):
    """The outputs of one bin, as far as it has them; all off at first.

    Calls may come from any thread. Raises ChuteError, naming the key and the pin, where a pin
    cannot be used.
    """

    def __init__(self, config: OutputSection, factory: Factory) -> None:
        import gpiozero

        self._lock = threading.Lock()
        self._blink_s: float | None = None  # of the LED: None is off, 0 steady
        # On a failure half-way the pins claimed so far are released.
        with contextlib.ExitStack() as claimed:

            def claim(kind: Any, name: str, output: Output | Light, **more: Any) -> _OutputPin:
                pin = _OutputPin(kind, name, output, pin_factory=factory, **more)
                return claimed.enter_context(pin)

            light, led, buzzer = config.light, config.led, config.buzzer
            self._brightness = light.brightness if light else 0.0
            self._light = self._led = self._buzzer = None
            if light and light.brightness < 1:
                self._light = claim(gpiozero.PWMLED, "light", light, frequency=LIGHT_HZ)
            elif light:
                self._light = claim(gpiozero.LED, "light", light)
            if led:
                self._led = claim(gpiozero.LED, "led", led)
            if buzzer:
                self._buzzer = claim(gpiozero.Buzzer, "buzzer", buzzer)
            self._claimed = claimed.pop_all()

    def show(self, mode: Mode) -> None:
        """Let the LED show `mode`; a repetition changes nothing."""
        blink_s = {Mode.HELD: SLOW_BLINK_S, Mode.TROUBLE: FAST_BLINK_S}.get(mode, 0.0)
        with self._lock:
            if self._led is None or blink_s == self._blink_s:
                return
            self._blink_s = blink_s
            self._led.do(lambda led: led.blink(blink_s, blink_s) if blink_s else led.on())

    def beep(self, times: int) -> None:
        """Beep so often, in the background; beeps that still go on are cut short."""
        with self._lock:
            if self._buzzer is not None:
                self._buzzer.do(lambda buzzer: buzzer.beep(BEEP_S, BETWEEN_BEEPS_S, times))

    def light(self, on: bool) -> None:
        """Switch the lamp of the chamber."""
        value = self._brightness if on else 0
        with self._lock:
            if self._light is not None:
                self._light.do(lambda lamp: setattr(lamp, "value", value))

    def close(self) -> None:
        """Everything off, for good; may be called again, and never raises."""
        with self._lock:
            self._light = self._led = self._buzzer = None
            self._claimed.close()


class _OutputPin(Closing):
    """One gpiozero output device, off at first, on a pin that is left at its off level."""

    def __init__(self, kind: Any, name: str, output: Output | Light, **more: Any) -> None:
        self._where = f"outputs.{name}.pin: GPIO {output.pin}"
        high = output.active == "high"
        self._off = "down" if high else "up"
        self._failed = False
        with claiming(self._where):
            self._device: Any = kind(output.pin, active_high=high, initial_value=False, **more)
        self._pin: Any = self._device.pin

    def do(self, action: Callable[[Any], None]) -> None:
        """Carry out `action` on the device; the first failure goes to the log."""
        try:
            action(self._device)
        except Exception:
            if not self._failed:
                _log.exception("%s does not answer", self._where)
            self._failed = True

    def close(self) -> None:
        """Switch off and release the pin; never raises."""
        self.do(lambda device: device.off())
        release(self._device, self._pin, self._off, self._where)
