"""gpiozero's factory for the header of a Raspberry Pi, with pulses that a servo can use.

Pins flow out, one object for each GPIO: an lgpio line whose duty cycle keeps its fractions, or a
channel of the kernel's hardware PWM where the boot overlay gives the pin one. gpiozero's own lgpio
pin truncates a duty cycle to whole percents, which leaves a 1 to 2 ms servo at 50 Hz about six
positions (gpiozero #1209). Needs lgpio: import it through `open_factory`, which says where it may
write.
"""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import Any

import lgpio
from gpiozero.exc import PinEdgeDetectUnsupported, PinFixedPull, PinInvalidState, PinSetInput
from gpiozero.pins import Factory
from gpiozero.pins.lgpio import LGPIOFactory, LGPIOPin
from gpiozero.pins.local import LocalPiPin

from bin_daemon.core.errors import ChuteError
from bin_daemon.gpio.kernel_pwm import Channel, KernelPwm, NoHardwarePwmError, probe

# lgpio applies a new duty cycle after at most one period: 20 ms at 50 Hz, and a margin.
_TAKEN_OVER_S = 0.05

# The kernel's label of the chip that drives the header: Pi 5, Pi 4, all before.
_HEADER_CHIPS = ("pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835")
_DEVICES = Path("/dev")

_log = logging.getLogger(__name__)


def _header_chip() -> int | None:
    """The number of the header's chip, by its label; None leaves it to gpiozero.

    gpiozero assumes 4 on a Pi 5, which kernels have numbered differently (gpiozero #1166).
    """
    for device in sorted(_DEVICES.glob("gpiochip*")):
        number = int(device.name.removeprefix("gpiochip"))
        with contextlib.suppress(lgpio.error):  # gpiozero reports one that may not be opened
            handle = lgpio.gpiochip_open(number)
            try:
                label = lgpio.gpio_get_chip_info(handle)[3]
            finally:
                lgpio.gpiochip_close(handle)
            if label in _HEADER_CHIPS:
                return number
    return None


class FractionalPin(LGPIOPin):  # type: ignore[misc]
    """An lgpio line, whose pulses a thread of lgpio times to 1 us, as far as the load permits.

    lgpio applies a new duty cycle at the end of a period, so that no pulse is cut. Ending a pulse
    train outright can cut a pulse or leave the line high, and delays the edges of other trains by
    up to 20 ms; so a silent train goes on at a duty cycle of 0 until the pin is closed or gets
    another function.
    """

    pulses = "lgpio, timed in software"

    def __init__(self, factory: PiFactory, info: Any) -> None:
        # Free places in lgpio's queue when the duty cycle of 0 went in; None without a train.
        self._silent_room: int | None = None
        self._pwm: tuple[float, float] | None = None  # frequency in Hz, duty cycle in percent
        super().__init__(factory, info)

    def close(self) -> None:
        """Let the pulse under way end, then float."""
        if self.factory._handle is not None:
            self.frequency = None
            self._end_train()
            super().close()

    def _set_function(self, value: str) -> None:
        if value != "output":
            self.frequency = None
        self._end_train()
        super()._set_function(value)

    def _set_frequency(self, value: float | None) -> None:
        # gpiozero's servos set it with every angle.
        if value and value != self._get_frequency():
            super()._set_frequency(value)
            self._silent_room = None
        elif not value and self._pwm:
            frequency, _ = self._pwm
            self._pwm = None
            self._silent_room = self._transmit(frequency, 0.0)

    def _set_state(self, value: float) -> None:
        if self._pwm:
            frequency, _ = self._pwm
            percent = value * 100
            self._transmit(frequency, percent)
            self._pwm = (frequency, percent)
        elif self._silent_room is None or value:
            self._end_train()
            super()._set_state(value)

    def _transmit(self, frequency: float, percent: float) -> int:
        try:
            return int(lgpio.tx_pwm(self.factory._handle, self._number, frequency, percent))
        except lgpio.error as error:
            raise PinInvalidState(f"{percent:g} % at {frequency:g} Hz: {error}") from error

    def _end_train(self) -> None:
        if self._silent_room is None:
            return
        deadline = time.monotonic() + _TAKEN_OVER_S
        where = (self.factory._handle, self._number)
        while lgpio.tx_room(*where, lgpio.TX_PWM) <= self._silent_room:
            if time.monotonic() > deadline:
                break
            time.sleep(0.001)
        lgpio.tx_pwm(*where, 0, 0)
        lgpio.gpio_write(*where, 0)
        self._silent_room = None


class KernelPwmPin(LocalPiPin):  # type: ignore[misc]
    """An output whose pulses the kernel's PWM makes; on and off are duty cycles of 1 and 0.

    The line is never claimed as a GPIO, which would detach the pin from the PWM until the next
    boot.
    """

    def __init__(self, factory: PiFactory, info: Any, channel: Channel) -> None:
        super().__init__(factory, info)
        self.pulses = f"hardware PWM, {channel}"
        self._channel = channel
        self._pwm: KernelPwm | None = None
        self._frequency: float | None = None
        self._state = 0.0

    def close(self) -> None:
        """Drive it low and release the channel."""
        self.function = "input"

    def _get_function(self) -> str:
        return "input" if self._pwm is None else "output"

    def _set_function(self, value: str) -> None:
        self._frequency, self._state = None, 0.0
        if value == "output" and self._pwm is None:
            for other in self.factory.pins.values():
                driven = isinstance(other, KernelPwmPin) and other._pwm is not None
                if driven and other._channel == self._channel:
                    raise ChuteError(
                        f"it is on the same PWM channel as {other!r} ({self._channel}), so both "
                        f"would get the same pulses; take GPIO 12 or 18 for one servo and GPIO 13 "
                        f"or 19 for the other"
                    )
            self._pwm = KernelPwm(self._channel)
        elif value != "output" and self._pwm is not None:
            pwm, self._pwm = self._pwm, None
            pwm.close()

    def _get_frequency(self) -> float | None:
        return self._frequency

    def _set_frequency(self, value: float | None) -> None:
        # gpiozero's servos set it with every angle; no pulse may be lost in between.
        if value != self._frequency:
            self._frequency = value or None
            self._set_state(self._state if value else 0.0)

    def _get_state(self) -> float:
        return self._state

    def _set_state(self, value: float) -> None:
        if self._pwm is not None:
            period_ns = round(1e9 / (self._frequency or 50))
            self._pwm.set(period_ns, round(value * period_ns))
            self._state = value
        elif value:
            raise PinSetInput(f"cannot set state of pin {self!r}: it is closed")

    def _set_pull(self, value: str) -> None:
        raise PinFixedPull(self._no_input())

    def _enable_event_detect(self) -> None:
        raise PinEdgeDetectUnsupported(self._no_input())

    def _no_input(self) -> str:
        return (
            f"the boot overlay assigns it to the hardware PWM ({self._channel}), so it cannot be "
            f"an input; take another pin, or change the overlay"
        )


class PiFactory(LGPIOFactory):  # type: ignore[misc]
    """The GPIOs of the header.

    kind: which pins get hardware PWM. 'auto': those of servos, where they have it. 'pwm': those of
    servos, or an error. 'outputs': all that have it, which suits gpiozero's own devices and makes
    them unusable as inputs. Any other: none. board: the factory of a servo board, closed with this.
    """

    def __init__(self, kind: str, board: Factory | None = None) -> None:
        super().__init__(_header_chip())
        self.pin_class = self._make_pin
        self._kind = kind
        self._board = board
        self._servos: set[int] = set()

    def for_servo(self, number: int) -> Factory:
        """The factory that a servo gets its pin from: this one, or that of a servo board.

        Raises NoHardwarePwmError where 'pwm' was asked for and the pin has none.
        """
        if self._board is not None:
            return self._board
        if self._kind in ("auto", "pwm"):
            self._servos.add(number)
            try:
                probe(number)
            except NoHardwarePwmError as error:
                if self._kind == "pwm":
                    raise
                _log.info("GPIO %d gets its pulses from lgpio: %s", number, error)
        return self

    def pin(self, name: int | str) -> Any:
        """As gpiozero's; raises ChuteError, with the owner, where another program has the line."""
        try:
            return super().pin(name)
        except lgpio.error as error:
            raise ChuteError(self._owner(name, error)) from error

    def close(self) -> None:
        """Close every pin, even where another one fails, and the servo board."""
        for pin in self.pins.values():
            try:
                pin.close()
            except Exception:
                _log.exception("%r could not be closed", pin)
        self.pins.clear()
        try:
            super().close()
        finally:
            if self._board is not None:
                self._board.close()

    def _make_pin(self, factory: PiFactory, info: Any) -> FractionalPin | KernelPwmPin:
        if "gpio" in info.interfaces:
            number = int(info.name[4:])
            if number in self._servos or self._kind == "outputs":
                with contextlib.suppress(NoHardwarePwmError):
                    return KernelPwmPin(factory, info, probe(number))
        return FractionalPin(factory, info)

    def _owner(self, name: int | str, error: Exception) -> str:
        with contextlib.suppress(Exception):
            number = int(self.board_info.to_gpio(name)[4:])
            if user := lgpio.gpio_get_line_info(self._handle, number)[4]:
                lg = " (a program with lgpio: another bin-daemon, a gpiozero script)"
                hint = lg if user == "lg" else ""
                return f"held by '{user}'{hint} (the kernel's name); stop it, or take another pin"
        return str(error)
