"""The one way to gpiozero: pin factories, servo outputs and switch inputs.

A configuration names the factory and gets that one or a `ChuteError`; gpiozero's own fallback to
whatever else works is never used, because a bin on the wrong factory looks alive and does not move.
gpiozero takes some 60 ms to load, so it is imported by the calls that need it. It ships no types:
what comes from it is `Any` in this module and goes no further.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bin_daemon.core.closing import Closing
from bin_daemon.core.errors import ChuteError, Reason

if TYPE_CHECKING:
    from gpiozero.pins import Factory  # noqa: TC004 - others name the type from here

    from bin_daemon.config.hardware import BoardSection, Input, Servo

__all__ = ["FRAME_S", "Factory", "InputPin", "ServoPin", "claiming", "open_factory", "release"]

FRAME_S = 0.020  # the servo standard: one pulse every 20 ms
RECORDED_STATES = 2000  # of a simulated pin; half a minute of motion

_log = logging.getLogger(__name__)


def open_factory(kind: str = "outputs", board: BoardSection | None = None) -> Factory:
    """The pin factory of this name, never another one. Its owner calls `close()` on it, last.

    kind: `mock` has simulated pins, which record their latest states. The others are the header of
    a Pi: those of `ChuteSection.pins` differ in what makes the pulses of servos; with `outputs`, as
    gpiozero opens it under the name `bindaemon`, every output that can have hardware PWM gets it.
    board: the servo board of `pca9685`.

    Raises ChuteError, with the likely cause and remedy, where it cannot be opened.
    """
    if kind == "mock":
        return _open_mock()
    with contextlib.ExitStack() as opened:
        servo_board: Factory | None = None
        if kind == "pca9685":
            from bin_daemon.gpio.pca9685 import BoardFactory

            servo_board = opened.enter_context(contextlib.closing(BoardFactory(board)))
        factory = _open_header(kind, servo_board)
        opened.pop_all()
    return factory


def _open_mock() -> Factory:
    from gpiozero.pins.mock import MockFactory, MockPWMPin, PinState

    class BoundedPin(MockPWMPin):  # type: ignore[misc]
        """Records only its latest states: a bin may run on a desk for weeks."""

        def clear_states(self) -> None:
            super().clear_states()
            self.states = deque([PinState(0.0, self._state)], maxlen=RECORDED_STATES)

    return MockFactory(pin_class=BoundedPin)


def _open_header(kind: str, servo_board: Factory | None) -> Factory:
    # lgpio creates a FIFO in its working directory as soon as it is imported, so this comes first.
    os.environ["LG_WD"] = _lgpio_directory()
    try:
        from gpiozero.exc import PinUnknownPi

        from bin_daemon.gpio.raspberry import PiFactory
    except ImportError as error:
        raise ChuteError(
            f"chute.pins: lgpio cannot be loaded ({error}); `apt install python3-lgpio` and use a "
            f"virtual environment with --system-site-packages, or take `pins: mock` on a desk",
            Reason.DRIVER_MISSING,
        ) from error
    try:
        return PiFactory(kind, servo_board)
    except PinUnknownPi as error:
        raise ChuteError(
            f"chute.pins: this machine is no Raspberry Pi ({error}); take `pins: mock` on a desk"
        ) from error
    # lgpio raises a kind of Exception that cannot be named where lgpio is not installed.
    except Exception as error:
        raise ChuteError(
            f"chute.pins: cannot open the GPIO chip ({error}); is the user in group gpio "
            f"(`usermod -aG gpio <user>`), and does the unit allow char-gpiochip?"
        ) from error


def _lgpio_directory() -> str:
    """Where lgpio may leave its FIFO: what LG_WD says, else systemd's or a temporary directory."""
    if own := os.environ.get("LG_WD"):
        return own
    if runtime := os.environ.get("RUNTIME_DIRECTORY"):
        return runtime.split(":")[0]
    directory = tempfile.mkdtemp(prefix="bin-daemon-lgpio-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


@contextlib.contextmanager
def claiming(where: str) -> Iterator[None]:
    """Turn whatever is raised within into a ChuteError; where: key and name of the pin."""
    try:
        yield
    except Exception as error:
        hint = "; is it wired to something else, or held by another program (see `gpioinfo`)?"
        # A ChuteError knows the cause, and what to do.
        known = isinstance(error, ChuteError)
        raise ChuteError(f"{where} cannot be used: {error}{'' if known else hint}") from error


def release(device: Any, pin: Any, pull: str, where: str) -> None:
    """Close a gpiozero device and leave its pin pulled "up" or "down"; logs, and never raises."""
    from gpiozero.exc import PinFixedPull

    try:
        device.close()
        pin.frequency = None
        pin.function = "input"
        # gpiozero leaves a closed pin floating; the pull keeps the line at its level, and the pad
        # keeps the pull after the process has gone.
        with contextlib.suppress(PinFixedPull):
            pin.pull = pull
    # The other devices must be closed too, whatever this one says.
    except Exception:
        _log.exception("%s: could not be closed", where)


class ServoPin(Closing):
    """One servo on its pin: silent until the first angle, silent and low again after the last.

    pulses: what makes them, in words, as "lgpio, timed in software".
    Raises ChuteError, naming the servo and its pin, where the pin cannot be used.
    """

    def __init__(self, factory: Factory, name: str, servo: Servo) -> None:
        import gpiozero

        key = f"chute.servos.{name}"
        self._where = f"{key}: GPIO {servo.pin}"
        self._angle_deg: float | None = None
        self._closed = False
        with claiming(self._where):
            # Servos may have a factory of their own: the channels of a board.
            for_servo = getattr(factory, "for_servo", None)
            servos = for_servo(servo.pin) if for_servo else factory
            if servos is not factory:
                self._where = f"{key}: {servos.pin(servo.pin)!r}"
        with claiming(self._where):
            self._servo: Any = gpiozero.AngularServo(
                servo.pin,
                # The default, 0, would move the servo to its middle at once.
                initial_angle=None,
                min_angle=servo.min_angle_deg,
                max_angle=servo.max_angle_deg,
                min_pulse_width=servo.min_pulse_us / 1e6,
                max_pulse_width=servo.max_pulse_us / 1e6,
                frame_width=FRAME_S,
                pin_factory=servos,
            )
        self._pin: Any = self._servo.pwm_device.pin
        self.pulses: str = getattr(self._pin, "pulses", "simulated")
        _log.info("%s: %s", self._where, self.pulses)

    def set_angle(self, angle_deg: float) -> None:
        """Send pulses for this angle from now on; does nothing once closed.

        angle_deg: clipped to the range of the servo. Raises ChuteError where the pin refuses.
        """
        # gpiozero computes the upper bound as low + (high - low), which may round below high.
        angle_deg = min(max(angle_deg, self._servo.min_angle), self._servo.max_angle)
        if angle_deg != self._angle_deg:
            self._send(angle_deg)

    def detach(self) -> None:
        """Stop the pulses and drive the pin low. Raises ChuteError where the pin refuses."""
        self._send(None)

    def _send(self, angle_deg: float | None) -> None:
        if self._closed:
            return
        try:
            self._servo.angle = angle_deg
            if angle_deg is None:
                # Factories differ in the level that they leave behind when they end a pulse train.
                self._pin.state = 0
            self._angle_deg = angle_deg
        except Exception as error:
            if not self._closed:
                raise ChuteError(f"{self._where}: {error}") from error
        finally:
            # A signal handler may have closed the pin between two lines of the above.
            if self._closed:
                self._let_go()

    def close(self) -> None:
        """Detach for good and leave the pin low; may be called again, and never raises."""
        if not self._closed:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        self._angle_deg = None
        release(self._servo, self._pin, "down", self._where)


class InputPin(Closing):
    """One switch or digital sensor on its pin.

    key: where the configuration names it, for messages. Raises ChuteError where the pin cannot be
    used.
    """

    def __init__(self, factory: Factory, key: str, config: Input) -> None:
        import gpiozero

        where = f"{key}: GPIO {config.pin}"
        high = config.active == "high"
        pull_up = {"auto": not high, "up": True, "down": False, "none": None}[config.pull]
        # To gpiozero a pull-up means active low and a pull-down active high. Where the pull points
        # the other way (a switch that opens when it is used, so that a broken wire reads as
        # active), its yes is our no.
        self._inverted = pull_up is not None and pull_up == high
        with claiming(where):
            self._device: Any = gpiozero.DigitalInputDevice(
                config.pin,
                pull_up=pull_up,
                active_state=high if pull_up is None else None,
                bounce_time=config.debounce_s or None,
                pin_factory=factory,
            )

    @property
    def active(self) -> bool:
        """Whether it is active, debounced: the state after the last edge that stayed."""
        device = self._device
        return (device.inactive_time if self._inverted else device.active_time) is not None

    @property
    def active_now(self) -> bool:
        """Whether the level of the pin is active at this very moment, bouncing or not."""
        return bool(self._device.value) != self._inverted

    def when_released(self, call: Callable[[], None]) -> None:
        """Let a thread of gpiozero call `call` at each debounced change to inactive."""
        setattr(self._device, "when_activated" if self._inverted else "when_deactivated", call)

    def close(self) -> None:
        """Release the pin; may be called again."""
        self._device.close()
