"""Checks of the devices: camera, pins, hardware PWM, servo board.

A `Site` flows in, a `Finding` flows out of each function. Devices that the running daemon holds are
not touched: that it runs is the answer. Claiming a pin sends no pulse and switches nothing on.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bin_daemon.core.errors import BinDaemonError, Reason
from bin_daemon.daemon.failures import recorded
from bin_daemon.doctor.finding import Finding, Site, configured, fault, good, inapplicable, warning

if TYPE_CHECKING:
    from bin_daemon.config.sections import CameraSection, Config
    from bin_daemon.gpio.factory import Factory

DARK = 8.0  # mean of all pixels, of 255; a covered lens gives 0 to 3
_BOOT = "/boot/firmware/config.txt"


def _in_use(site: Site) -> Finding:
    """What the running daemon holds is as good as the daemon says it is."""
    count, last = recorded(site.state)
    if not count:
        return good("in use by the running daemon, which reports no failure")
    return warning(
        f"in use by the running daemon, which has failed lately ({count}); the last time: {last}",
        "to examine the device itself: sudo systemctl stop bin-daemon; sudo bin-daemon doctor",
    )


@configured
def camera(site: Site, config: Config) -> Finding:
    """Open the camera as it is configured, and look at one frame."""
    section = config.camera
    if site.running and section.kind != "replay":
        return _in_use(site)
    from bin_daemon.camera import open_camera
    from bin_daemon.core.clock import SystemClock

    try:
        with open_camera(section, SystemClock()) as opened:
            frame = opened.capture(section.warmup_s + section.deadline_s)
    except BinDaemonError as error:
        return fault(str(error), _remedy(section, error))
    height, width = frame.image.shape[:2]
    mean = frame.image.mean()
    seen = f"{section.kind} '{section.source}': {width}x{height}, mean brightness {mean:.0f} of 255"
    if mean < DARK:
        return warning(f"black picture: {seen}", "uncover the lens; light the chamber")
    return good(seen)


def _remedy(section: CameraSection, error: BinDaemonError) -> str:
    if section.kind == "picamera2" and error.reason is Reason.DRIVER_MISSING:
        return (
            "sudo apt install python3-picamera2; only Raspberry Pi OS has it, elsewhere take a USB "
            "camera and camera.kind: opencv"
        )
    if section.kind == "picamera2":
        return (
            f"rpicam-hello --list-cameras; if it lists none: seat the ribbon cable with the power "
            f"off, and write camera_auto_detect=1 in {_BOOT}; if it does: does another program use "
            f"it?"
        )
    if section.kind == "opencv":
        return "v4l2-ctl --list-devices lists the cameras; name one of them in camera.source"
    return "name a folder, clip or script in camera.source, or 'reel'"


@configured
def pins(site: Site, config: Config) -> Finding:
    """Claim every configured pin, and release it."""
    if config.chute.pins == "mock":
        return inapplicable("simulated pins")
    if site.running:
        return _in_use(site)
    from bin_daemon.gpio.factory import open_factory

    troubles, names = [], []
    try:
        factory = open_factory(config.chute.pins, config.chute.board)
    except BinDaemonError as error:
        return fault(
            str(error),
            "sudo apt install python3-lgpio (Raspberry Pi OS has it)"
            if error.reason is Reason.DRIVER_MISSING
            else "see 'groups' and 'servo board'; `pins: mock` is for a desk",
        )
    with contextlib.closing(factory):
        for name, claim in _claims(config, factory):
            try:
                claim().close()
                names.append(name)
            except BinDaemonError as error:
                troubles.append(str(error))
    if troubles:
        return fault(
            "\n".join(troubles), "sudo gpioinfo names the program that holds a line; stop it"
        )
    return good(f"free: {', '.join(names)}")


def _claims(config: Config, factory: Factory) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Name and opener of each device by itself, so that one failure hides no other."""
    from bin_daemon.config.hardware import Input
    from bin_daemon.gpio.factory import InputPin, ServoPin
    from bin_daemon.gpio.outputs import Outputs

    for name, servo in config.chute.servos.items():
        yield f"{name} {servo.pin}", functools.partial(ServoPin, factory, name, servo)
    inputs = {f"{name}.pin": switch for name, switch in config.sensors.switches().items()}
    for route, sensor in config.sensors.fill.items():
        # As inputs, both of them: a trigger that is driven would ping.
        inputs[f"fill.{route}.trigger"] = Input(pin=sensor.trigger, pull="none")
        inputs[f"fill.{route}.echo"] = Input(pin=sensor.echo, pull="none")
    for name, switch in inputs.items():
        shown = f"{name.removesuffix('.pin')} {switch.pin}"
        yield shown, functools.partial(InputPin, factory, f"sensors.{name}", switch)
    pins = {name: output.pin for name, output in config.outputs.named().items()}
    for name, one in config.outputs.apart().items():
        yield f"{name} {pins[name]}", functools.partial(Outputs, one, factory)


@configured
def hardware_pwm(site: Site, config: Config) -> Finding:
    """Whether the kernel can make the pulses of each servo itself; opens nothing."""
    if config.chute.pins not in ("auto", "pwm"):
        return inapplicable(f"chute.pins is {config.chute.pins}")
    from bin_daemon.gpio.kernel_pwm import BOOT_CONFIG, NoHardwarePwmError, probe

    found, missing, overlay = [], [], ""
    for name, servo in config.chute.servos.items():
        try:
            found.append(f"{name}: {probe(servo.pin)}")
        except NoHardwarePwmError as error:
            missing.append(f"{name}: {error.seen}")
            overlay = error.overlay or overlay
    if not missing:
        return good(", ".join(found))
    if re.search(r"^dtoverlay=\S*pwm", site.text(BOOT_CONFIG) or "", re.MULTILINE):
        remedy = f"{BOOT_CONFIG} has a PWM overlay: restart the Pi; if it stays, compare the pins"
    elif overlay:
        remedy = f"write `{overlay}` to {BOOT_CONFIG} (install.sh does it for you) and restart"
    else:
        remedy = "take another pin for the servo, or set chute.pins: lgpio"
    what = fault if config.chute.pins == "pwm" else warning
    return what("\n".join([*found, *missing]), remedy)


@configured
def servo_board(site: Site, config: Config) -> Finding:
    """Whether the PCA9685 board answers on its bus."""
    if config.chute.pins != "pca9685":
        return inapplicable(f"chute.pins is {config.chute.pins}")
    board = config.chute.board
    bus = site.at(f"/dev/i2c-{board.bus}")
    where = f"{bus}, address {board.address:#x}"
    if not bus.exists():
        return fault(f"{bus} does not exist", f"write dtparam=i2c_arm=on to {_BOOT} and restart")
    if site.running:
        return _in_use(site)
    from bin_daemon.gpio.factory import open_factory

    try:
        open_factory("pca9685", board).close()
    except BinDaemonError as error:
        return fault(
            f"{where}: {error}", f"sudo i2cdetect -y {board.bus} shows which addresses answer"
        )
    return good(f"answers on {where}")
