"""`calibrate` and `servo-test`: the servos of a bin, without the daemon.

Each holds the daemon's lock for as long as it runs, so that two programs never drive one servo.
Whatever ends a command, the servos are silent and low afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bin_daemon.cli import common
from bin_daemon.core import paths
from bin_daemon.core.errors import UsageError

if TYPE_CHECKING:
    from bin_daemon.chute.pose_editor import PoseEditor
    from bin_daemon.config.sections import Config
    from bin_daemon.gpio.factory import Factory, ServoPin

_TICK_S = 0.02


def add_commands(commands: common.Commands) -> None:
    """Add this family to the command line."""
    calibrate = commands.add_parser("calibrate", help="find the poses of a servo by hand")
    calibrate.add_argument("servo", nargs="?", metavar="SERVO", help="the first by default")
    calibrate.add_argument("--yes", action="store_true", help="write without asking")
    common.set_up(calibrate, run_calibrate, "--config", "--state")
    servos = commands.add_parser("servo-test", help="move servos slowly through their poses")
    servos.add_argument("servo", nargs="?", metavar="SERVO", help="all by default")
    servos.add_argument("--sweep", action="store_true", help="the whole range instead of the poses")
    servos.add_argument("--yes", action="store_true", help="begin without asking")
    common.set_up(servos, run_servo_test, "--config", "--state")


@contextlib.contextmanager
def devices(options: argparse.Namespace, config: Config) -> Iterator[Factory]:
    """The pins, while no daemon has them."""
    from bin_daemon.cli.keyboard import orderly_end
    from bin_daemon.daemon.lock import devices_to_oneself
    from bin_daemon.gpio.factory import open_factory

    states = {options.state or paths.state(), paths.SYSTEM_STATE}
    with orderly_end(), devices_to_oneself(states), contextlib.ExitStack() as stack:
        factory = open_factory(config.chute.pins, config.chute.board)
        stack.callback(factory.close)
        yield factory


def _servo_named(config: Config, name: str | None) -> str | None:
    if name is not None and name not in config.chute.servos:
        raise UsageError(f"no servo '{name}'; chute.servos has {', '.join(config.chute.servos)}")
    return name


@contextlib.contextmanager
def _servo_pins(config: Config, factory: Factory) -> Iterator[dict[str, ServoPin]]:
    """Every servo claimed and silent; closed, which leaves the lines low, at the end."""
    from bin_daemon.gpio.factory import ServoPin

    with contextlib.ExitStack() as stack:
        pins = {}
        for name, servo in config.chute.servos.items():
            pins[name] = ServoPin(factory, name, servo)
            stack.callback(pins[name].close)
        yield pins


def run_calibrate(options: argparse.Namespace) -> int:
    """Move servos from the keyboard, then write the poses that were stored."""
    from bin_daemon.chute.pose_editor import PoseEditor
    from bin_daemon.cli.config_files import rewrite
    from bin_daemon.config import edit
    from bin_daemon.config.load import find_config, read

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("calibrate needs a terminal: run it by hand, over SSH with `ssh -t`")
    config = common.config_of(options)
    editor = PoseEditor(config.chute, _servo_named(config, options.servo))
    path = edit.writable(find_config(common.config_name(options)))
    text = read(path)
    with devices(options, config) as factory, _servo_pins(config, factory) as pins:
        try:
            _move_by_keys(editor, pins)
        finally:
            if not editor.done and editor.stored:
                print("not written:", file=sys.stderr)
                for (pose, servo), angle_deg in editor.stored.items():
                    print(f"  chute.poses.{pose}.{servo}: {angle_deg:g}", file=sys.stderr)
    if not editor.stored:
        print("nothing was stored; the configuration stays as it is")
        return 0
    changes: dict[edit.Key, float] = {
        ("chute", "poses", *key): int(angle_deg) if angle_deg.is_integer() else angle_deg
        for key, angle_deg in editor.stored.items()
    }
    return 0 if rewrite(path, text, changes, options.yes) else 1


def _move_by_keys(editor: PoseEditor, pins: dict[str, ServoPin]) -> None:
    from bin_daemon.cli.keyboard import Keyboard

    with Keyboard() as keyboard:
        before = time.monotonic()
        while not editor.done:
            pin = pins[editor.servo]
            if editor.pulsing:
                pin.set_angle(editor.angle_deg)
            else:
                pin.detach()
            keyboard.draw([f"bin-daemon calibrate - {pin.pulses}", "", *editor.lines()])
            for key in keyboard.keys(_TICK_S):
                editor.press(key)
            now = time.monotonic()
            editor.advance(min(now - before, 5 * _TICK_S))
            before = now
            if pins[editor.servo] is not pin:
                pin.detach()


def run_servo_test(options: argparse.Namespace) -> None:
    """Play every pose, or a sweep, slowly; ends at home, silent."""
    from bin_daemon.chute.pose_editor import pulse_us
    from bin_daemon.chute.servo_test import play

    config = common.config_of(options)
    chosen = _servo_named(config, options.servo)
    names = [chosen] if chosen else list(config.chute.servos)
    where = "channel" if config.chute.pins == "pca9685" else "GPIO"
    with devices(options, config) as factory, _servo_pins(config, factory) as pins:
        _ask_to_begin(options, config, names)
        for name in names:
            servo = config.chute.servos[name]
            print(f"{name}: {where} {servo.pin}, {pins[name].pulses}", flush=True)
            for stop, angle_deg in play(config.chute, name, pins[name], options.sweep):
                pulse = f"{pulse_us(servo, angle_deg):6.0f} us"
                print(f"  {stop:<16} {angle_deg:7.1f} deg  {pulse}", flush=True)
    print("silent")


def _ask_to_begin(options: argparse.Namespace, config: Config, names: list[str]) -> None:
    """A first pulse moves a servo at its own full speed; keep hands away."""
    if options.yes or config.chute.pins == "mock":
        return
    if not sys.stdin.isatty():
        raise UsageError("servo-test moves servos: without a terminal to ask on, give --yes")
    print(f"{', '.join(names)} will JUMP home with the first pulse: hands away. Ctrl-C silences.")
    input("Enter begins: ")
