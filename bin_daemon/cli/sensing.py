"""`sensor-test`: what the sensors of a bin say, and whether its outputs can be seen and heard.

Levels on pins flow in through the daemon's own `Sensors`, so that what is shown is what the bin
would act on; words flow out. It moves no servo.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from bin_daemon.cli import common
from bin_daemon.cli.hardware import devices
from bin_daemon.core.errors import UsageError

if TYPE_CHECKING:
    from bin_daemon.config.hardware import SensorSection
    from bin_daemon.config.sections import Config
    from bin_daemon.core.messages import Readings
    from bin_daemon.gpio.factory import Factory

_LOOK_S = 0.02
_OUTPUT_S = 1.0


def add_commands(commands: common.Commands) -> None:
    """Add this family to the command line."""
    sensors = commands.add_parser("sensor-test", help="show what every sensor says")
    sensors.add_argument("--seconds", type=float, metavar="N", help="else until Ctrl-C")
    words = "first switch light, lamp and buzzer on for a moment"
    sensors.add_argument("--outputs", action="store_true", help=words)
    common.set_up(sensors, run_sensor_test, "--config", "--state", json="one object a change")


def run_sensor_test(options: argparse.Namespace) -> None:
    """Show every sensor, live in a terminal, else a line for each change."""
    from bin_daemon.core.clock import SystemClock
    from bin_daemon.gpio.sensors import Sensors

    config = common.config_of(options)
    if options.seconds is not None and options.seconds <= 0:
        raise UsageError("--seconds: give more than 0")
    # Somebody stands there and waits; a bin in service measures less often.
    fill = {n: dataclasses.replace(s, interval_s=1.0) for n, s in config.sensors.fill.items()}
    section = dataclasses.replace(config.sensors, fill=fill)
    with devices(options, config) as factory:
        if options.outputs:
            _try_outputs(config, factory)
        shown: dict[str, str] = {}
        until = time.monotonic() + (options.seconds or float("inf"))
        with (
            Sensors(section, factory, SystemClock()) as sensors,
            _display(options.json) as show,
            contextlib.suppress(KeyboardInterrupt),
        ):
            if not words_of(section, sensors.read()):
                raise UsageError("this bin has no sensors; the section 'sensors' names them")
            while time.monotonic() < until:
                said = words_of(section, sensors.read())
                if said != shown:
                    show(said, {n: words for n, words in said.items() if shown.get(n) != words})
                    shown = said
                time.sleep(_LOOK_S)


def words_of(sensors: SensorSection, readings: Readings) -> dict[str, str]:
    """What every configured sensor says, in words, by key."""
    said = {}
    if sensors.lid:
        said["lid"] = "open" if readings.lid_open else "shut"
    if sensors.beam:
        said["beam"] = "broken" if readings.beam_broken else "free"
    if sensors.metal:
        said["metal"] = "metal" if readings.metal else "none"
    for route in {**sensors.full, **sensors.fill}:
        percent = readings.fill_percent.get(route)
        if route in sensors.fill:
            ultrasonic = sensors.fill[route]
            said[f"fill.{route}"] = _level(percent, ultrasonic.empty_cm, ultrasonic.full_cm)
            if route in readings.silent:
                said[f"fill.{route}"] = "silent: no echo for too long"
        if route in sensors.full:
            said[f"full.{route}"] = "full" if percent == 100.0 else "not full"
    return said


def _level(percent: float | None, empty_cm: float, full_cm: float) -> str:
    if percent is None:
        return "no echo yet"
    distance_cm = empty_cm - percent / 100 * (empty_cm - full_cm)
    about = {0.0: "or more", 100.0: "or less"}.get(percent, "about")
    return f"{percent:.0f} percent ({distance_cm:.0f} cm {about})"


@contextlib.contextmanager
def _display(as_json: bool) -> Iterator[Callable[[Mapping[str, str], Mapping[str, str]], None]]:
    """Yields what shows all sensors and those that changed: a table in a terminal, else lines."""
    if as_json or not sys.stdout.isatty():
        yield lambda said, changed: _print_lines(changed, as_json)
        return
    from rich.live import Live
    from rich.table import Table

    changed_at: dict[str, str] = {}
    with Live(auto_refresh=False) as screen:

        def draw(said: Mapping[str, str], changed: Mapping[str, str]) -> None:
            changed_at.update(dict.fromkeys(changed, time.strftime("%H:%M:%S")))
            table = Table("sensor", "says", "since", title="Ctrl-C ends", title_justify="left")
            for name, words in said.items():
                table.add_row(name, words, changed_at[name])
            screen.update(table, refresh=True)

        yield draw


def _print_lines(changed: Mapping[str, str], as_json: bool) -> None:
    at = time.strftime("%H:%M:%S")
    for name, words in changed.items():
        line = json.dumps({"at": time.time(), "sensor": name, "says": words})
        print(line if as_json else f"{at}  {name:<20} {words}", flush=True)


def _try_outputs(config: Config, factory: Factory) -> None:
    from bin_daemon.gpio.outputs import Mode, Outputs

    named = config.outputs.named()
    trials: dict[str, tuple[str, Callable[[Outputs], object]]] = {
        "light": ("light on", lambda outputs: outputs.light(True)),
        "led": ("status lamp on", lambda outputs: outputs.show(Mode.READY)),
        "buzzer": ("buzzer, once", lambda outputs: outputs.beep(1)),
    }
    with Outputs(config.outputs, factory) as outputs:
        for name, output in named.items():
            words, switch = trials[name]
            print(f"{words} (GPIO {output.pin})", flush=True)
            switch(outputs)
            time.sleep(_OUTPUT_S)
            outputs.light(False)
    if not named:
        print("this bin has no outputs; the section 'outputs' names them", file=sys.stderr)
