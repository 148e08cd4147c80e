"""A PCA9685 servo board on I2C as a gpiozero factory: 16 channels of hardware PWM.

Duty cycles flow in, register values flow out over the bus; the chip goes on making the pulses until
it gets other values. All channels are off at open and at close. smbus2 talks to the bus: one pure
Python module over the kernel's own interface, while servokit needs Blinka, which guesses the board.
Registers as in NXP's PCA9685 data sheet, rev. 4.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from gpiozero.exc import PinInvalidFunction, PinInvalidPin, PinPWMFixedValue
from gpiozero.pins import Factory, Pin, PinInfo

from bin_daemon.config.hardware import BoardSection
from bin_daemon.core.errors import ChuteError

CHANNELS = 16
FREQUENCY_HZ = 50
STEPS = 4096  # of one period

MODE1, MODE2, LED0_ON_L, ALL_LED_OFF_H, PRE_SCALE = 0x00, 0x01, 0x06, 0xFD, 0xFE
RESTART, AUTO_INCREMENT, SLEEP = 0x80, 0x20, 0x10  # in MODE1; all others at 0
TOTEM_POLE = 0x04  # in MODE2: drive both ways, not inverted, change on STOP
FULL = 0x10  # in ON_H: always on; in OFF_H: always off, which wins
OSCILLATOR_START_S = 0.0005

_log = logging.getLogger(__name__)


def _open_bus(number: int) -> Any:
    try:
        from smbus2 import SMBus
    except ImportError as error:
        raise ChuteError(
            f"chute.pins: smbus2 cannot be loaded ({error}); `apt install python3-smbus2`"
        ) from error
    try:
        return SMBus(number)
    except OSError as error:
        remedy = "write `dtparam=i2c_arm=on` to /boot/firmware/config.txt and restart"
        if error.errno in (errno.EACCES, errno.EPERM):
            remedy = "is the user in group i2c (`sudo usermod -aG i2c <user>`)?"
        raise ChuteError(
            f"chute.board.bus: cannot open /dev/i2c-{number} ({error}); {remedy}"
        ) from error


class BoardFactory(Factory):  # type: ignore[misc]
    """The channels of one board as gpiozero pins 0 to 15, at 50 Hz and all off at first.

    Its owner closes it, last. Raises ChuteError, naming bus and address, where it does not answer.
    """

    def __init__(self, board: BoardSection | None = None) -> None:
        super().__init__()
        board = board or BoardSection()
        self.lock = threading.Lock()
        self.address = board.address
        # Data sheet, 7.3.5: prescale = round(oscillator / (4096 * rate)) - 1.
        prescale = round(board.oscillator_hz / (STEPS * FREQUENCY_HZ)) - 1
        self._step_s = (prescale + 1) / board.oscillator_hz
        self._pins = {n: BoardPin(self, n) for n in range(CHANNELS)}
        self.closed = False
        self._bus = _open_bus(board.bus)
        where = f"chute.board: PCA9685 at address {board.address:#x} of /dev/i2c-{board.bus}"
        with contextlib.ExitStack() as opened:
            opened.callback(self._bus.close)
            try:
                self._start(prescale)
                kept = self._bus.read_byte_data(self.address, PRE_SCALE) == prescale
            except OSError as error:
                raise ChuteError(
                    f"{where} does not answer ({error}); is it wired and powered, is "
                    f"`dtparam=i2c_arm=on` in /boot/firmware/config.txt? `i2cdetect -y {board.bus}`"
                    f" lists the devices on the bus"
                ) from error
            if not kept:
                raise ChuteError(
                    f"{where} does not keep what is written; is another chip at that address?"
                )
            opened.pop_all()

    def _start(self, prescale: int) -> None:
        self._write(ALL_LED_OFF_H, FULL)
        mode = self._bus.read_byte_data(self.address, MODE1)
        # The prescaler can be set only while the oscillator sleeps.
        self._write(MODE1, mode & ~RESTART | AUTO_INCREMENT | SLEEP)
        self._write(PRE_SCALE, prescale)
        self._write(MODE2, TOTEM_POLE)
        self._write(MODE1, AUTO_INCREMENT)
        time.sleep(OSCILLATOR_START_S)
        # Set where the chip was put to sleep with channels on; all are off now.
        if self._bus.read_byte_data(self.address, MODE1) & RESTART:
            self._write(MODE1, AUTO_INCREMENT | RESTART)

    def _write(self, register: int, value: int) -> None:
        self._bus.write_byte_data(self.address, register, value)

    def send(self, channel: int, pulse_s: float) -> None:
        """Pulses this long every 20 ms; 0 is low. Raises OSError where the board does not answer.

        To be called with `lock`.
        """
        steps = round(pulse_s / self._step_s)
        on, off = (0, steps) if steps else (0, FULL << 8)
        if steps >= STEPS:
            on, off = FULL << 8, 0
        # One write of all four registers: they take effect together.
        data = [on & 0xFF, on >> 8, off & 0xFF, off >> 8]
        self._bus.write_i2c_block_data(self.address, LED0_ON_L + 4 * channel, data)

    def pin(self, name: int | str) -> BoardPin:
        """The channel of this number. Raises PinInvalidPin where there is none."""
        for _, info in self._find(name):
            return self._pins[info.number]
        raise PinInvalidPin(f"a PCA9685 board has channels 0 to {CHANNELS - 1}, not {name}")

    def close(self) -> None:
        """All channels off, for good; may be called again, and never raises."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
            try:
                with contextlib.closing(self._bus):
                    self._write(ALL_LED_OFF_H, FULL)
            except OSError:
                _log.exception("the servo board could not be switched off")

    def _get_board_info(self) -> SimpleNamespace:
        return SimpleNamespace(find_pin=self._find)

    def _find(self, name: int | str) -> Iterator[tuple[None, Any]]:
        return ((None, pin.info) for pin in self._pins.values() if name in pin.info.names)


class BoardPin(Pin):  # type: ignore[misc]
    """One channel, always an output."""

    def __init__(self, factory: BoardFactory, channel: int) -> None:
        super().__init__()
        self._factory = factory
        name = f"channel {channel}"
        self.pulses = f"PCA9685 {factory.address:#x} {name}"
        self._info = PinInfo(
            number=channel,
            name=name,
            names=frozenset({channel, str(channel), name}),
            pull="",
            row=channel + 1,
            col=1,
            interfaces=frozenset({"pwm"}),
        )
        self._frequency: float | None = None
        self._state = 0.0

    def __repr__(self) -> str:
        return f"PCA9685 {self._info.name}"

    @property
    def factory(self) -> BoardFactory:
        """That of the board."""
        return self._factory

    def close(self) -> None:
        """Drive it low."""
        self.frequency = None

    def _get_info(self) -> Any:
        return self._info

    def _get_function(self) -> str:
        return "output"

    def _set_function(self, value: str) -> None:
        if value == "input":  # how devices release a pin
            self.frequency = None
        elif value != "output":
            raise PinInvalidFunction(f"{self!r} is an output")

    def _get_frequency(self) -> float | None:
        return self._frequency

    def _set_frequency(self, value: float | None) -> None:
        if value not in (None, 0, FREQUENCY_HZ):
            raise PinPWMFixedValue(f"{self!r} runs at {FREQUENCY_HZ} Hz, not {value:g}")
        if not value:
            self._set_state(0.0)
        self._frequency = value or None

    def _get_state(self) -> float:
        return self._state

    def _set_state(self, value: float) -> None:
        with self._factory.lock:
            if value != self._state and not self._factory.closed:
                self._factory.send(self._info.number, value / FREQUENCY_HZ)
                self._state = value
