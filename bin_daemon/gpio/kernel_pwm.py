"""Hardware PWM of a Raspberry Pi through the kernel's sysfs: which pins have it, and one channel.

GPIO numbers flow in, channels flow out; a channel takes period and pulse width in nanoseconds. The
chip is found by the address of its device, never by its number, which differs between kernels. Pins
that the boot overlay has not assigned to the PWM are never touched.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bin_daemon.core.errors import ChuteError

SYSFS = Path("/sys")
OVERLAY = "dtoverlay=pwm-2chan,pin=12,func=4,pin2=13,func2=4"
BOOT_CONFIG = "/boot/firmware/config.txt"

# By the end of the device's name, which is its address in the device tree. The first is that of the
# BCM2835 and its successors (2020c000, 3f20c000, fe20c000), the second that of the RP1 in a Pi 5,
# whose other PWM block drives the fan.
CHANNELS = {
    "20c000.pwm": {12: 0, 13: 1, 18: 0, 19: 1},
    "1f00098000.pwm": {12: 0, 13: 1, 18: 2, 19: 3},
}

_PINS = (12, 13, 18, 19)

# udev gives the files of a new channel to the group gpio some 100 to 300 ms after the export.
UDEV_DEADLINE_S = 3.0
_RETRY_S = 0.01


class NoHardwarePwmError(ChuteError):
    """This pin has no hardware PWM on this board, or the boot overlay does not assign it any.

    seen: the fault. overlay: the line of the boot configuration that would assign it, or "".
    """

    def __init__(self, seen: str, overlay: str = "") -> None:
        super().__init__(
            f"{seen}; write `{overlay}` to {BOOT_CONFIG} and restart" if overlay else seen
        )
        self.seen, self.overlay = seen, overlay


@dataclass(frozen=True, slots=True)
class Channel:
    """One output of a PWM chip."""

    chip: Path
    number: int

    def __str__(self) -> str:
        return f"{self.chip.name} channel {self.number}"


def probe(pin: int) -> Channel:
    """The PWM channel that drives this GPIO; opens nothing and changes nothing.

    Raises NoHardwarePwmError, with the overlay line to add, where there is none.
    """
    if pin not in _PINS:
        given = ", ".join(map(str, _PINS))
        raise NoHardwarePwmError(f"no Raspberry Pi has hardware PWM on GPIO {pin}, but on {given}")
    for chip in sorted((SYSFS / "class/pwm").glob("pwmchip*")):
        device = (chip / "device").resolve().name
        for address, channels in CHANNELS.items():
            if not device.endswith(address):
                continue
            if pin not in (muxed := set(_muxed_pins(chip))):
                held = ", ".join(f"GPIO {n}" for n in sorted(muxed)) or "no pin"
                raise NoHardwarePwmError(
                    f"the boot overlay gives hardware PWM to {held}, not to GPIO {pin}",
                    _overlay(pin),
                )
            return Channel(chip, channels[pin])
    raise NoHardwarePwmError(f"no PWM chip that serves GPIO {pin}", _overlay(pin))


def _overlay(pin: int) -> str:
    return OVERLAY if pin in (12, 13) else "dtoverlay=pwm-2chan,pin=18,func=2,pin2=19,func2=2"


def _muxed_pins(chip: Path) -> Iterator[int]:
    """The GPIOs that the device tree assigns to this chip.

    The chip's node names its groups of pins by phandle; they lie below the pin controller, whose
    path is among the symbols that overlays are applied with.
    """
    tree = SYSFS / "firmware/devicetree/base"
    try:
        wanted = set(_cells(chip / "device/of_node/pinctrl-0"))
        controller = (tree / "__symbols__/gpio").read_text().strip("\0")
        groups = sorted((tree / controller.lstrip("/")).glob("*/phandle"))
        for phandle in groups:
            if wanted.intersection(_cells(phandle)):
                # Either the Pi's own property or the generic one of newer device trees.
                if (own := phandle.with_name("brcm,pins")).exists():
                    yield from _cells(own)
                elif (general := phandle.with_name("pins")).exists():
                    names = general.read_text().split("\0")
                    yield from (int(n[4:]) for n in names if n.startswith("gpio"))
    except OSError:
        return


def _cells(path: Path) -> tuple[int, ...]:
    """A property of the device tree as numbers: 32 bits each, big-endian."""
    data = path.read_bytes()
    return struct.unpack(f">{len(data) // 4}I", data[: len(data) // 4 * 4])


class KernelPwm:
    """One channel, opened and silent; low after `close`.

    A channel that a killed process has left running is stopped first.
    Raises ChuteError, with what to do, where it cannot be opened.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._path = channel.chip / f"pwm{channel.number}"
        self._period_ns = self._duty_ns = 0
        try:
            if not self._path.exists():
                _write(channel.chip / "export", str(channel.number))
            self._wait_until_writable()
            self._stop()
            if (self._path / "polarity").read_text().strip() != "normal":
                _write(self._path / "polarity", "normal")
        except OSError as error:
            raise ChuteError(f"{channel}: {error.strerror or error}; {_remedy(error)}") from error

    def set(self, period_ns: int, duty_ns: int) -> None:
        """Send pulses of `duty_ns` every `period_ns` from the next period on; 0 is low.

        Raises OSError where the kernel refuses.
        """
        # The kernel accepts no pulse longer than the period, not even for a moment.
        if period_ns != self._period_ns:
            if self._duty_ns > period_ns:
                _write(self._path / "duty_cycle", "0")
            _write(self._path / "period", str(period_ns))
        _write(self._path / "duty_cycle", str(duty_ns))
        if not self._period_ns:
            _write(self._path / "enable", "1")
        self._period_ns, self._duty_ns = period_ns, duty_ns

    def close(self) -> None:
        """Drive it low, stop it and release it; raises OSError where the kernel refuses."""
        try:
            self._stop()
        finally:
            _write(self._channel.chip / "unexport", str(self._channel.number))

    def _wait_until_writable(self) -> None:
        deadline = time.monotonic() + UDEV_DEADLINE_S
        while True:
            try:
                # Opened for writing only: 'enable' takes no 0 before there is a period.
                for name in ("period", "duty_cycle", "enable", "polarity"):
                    os.close(_open(self._path / name))
                return
            except OSError as error:
                waiting = error.errno in (errno.EACCES, errno.ENOENT)
                if not waiting or time.monotonic() > deadline:
                    raise
            time.sleep(_RETRY_S)

    def _stop(self) -> None:
        period_ns, duty_ns, enabled = (
            int((self._path / name).read_text()) for name in ("period", "duty_cycle", "enable")
        )
        if duty_ns:
            _write(self._path / "duty_cycle", "0")
        if enabled:
            if duty_ns:
                # Stopped at once, the pulse under way would be cut short and move the servo.
                time.sleep(period_ns / 1e9)
            _write(self._path / "enable", "0")
        self._period_ns = self._duty_ns = 0


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CLOEXEC)


def _write(path: Path, text: str) -> None:
    file = _open(path)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def _remedy(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            "is the user in group gpio (`sudo usermod -aG gpio <user>`), are the udev rules of "
            "bin-daemon installed, and may the service write below /sys/devices/platform?"
        )
    if error.errno == errno.EBUSY:
        return "the kernel uses it itself; `dtparam=audio=off` frees it from the headphone jack"
    return f"`sudo cat /sys/kernel/debug/pwm` shows its state; is `{OVERLAY}` in {BOOT_CONFIG}?"
