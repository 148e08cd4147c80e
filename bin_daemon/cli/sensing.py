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


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this family to the command line."""
    sensors = commands.add_parser("sensor-test", help="show what every sensor says")
    sensors.add_argument("--seconds", type=float, metavar="N", help="else until Ctrl-C")
    sensors.add_argument("--json", action="store_true", help="one object a change")
    sensors.add_argument(
        "--outputs", action="store_true", help="first switch light, lamp and buzzer on for a moment"
    )
    sensors.set_defaults(command=run_sensor_test)
    common.add_options(sensors, "config", "state")


def run_sensor_test(options: argparse.Namespace) -> int:
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
        live = sys.stdout.isatty() and not options.json
        with (
            Sensors(section, factory, SystemClock()) as sensors,
            _table(live) as table,
            contextlib.suppress(KeyboardInterrupt),
        ):
            if not words_of(section, sensors.read()):
                raise UsageError("this bin has no sensors; the section 'sensors' names them")
            while time.monotonic() < until:
                said = words_of(section, sensors.read())
                if said != shown:
                    changed = {
                        name: words for name, words in said.items() if shown.get(name) != words
                    }
                    shown = said
                    table(shown) if live else _print_changes(changed, options.json)
                time.sleep(_LOOK_S)
    return 0


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


def _print_changes(changed: Mapping[str, str], as_json: bool) -> None:
    at = time.strftime("%H:%M:%S")
    for name, words in changed.items():
        line = json.dumps({"at": time.time(), "sensor": name, "says": words})
        print(line if as_json else f"{at}  {name:<20} {words}", flush=True)


@contextlib.contextmanager
def _table(live: bool) -> Iterator[Callable[[Mapping[str, str]], None]]:
    """A table in the terminal; yields what redraws it, which does nothing where it is not live."""
    if not live:
        yield lambda said: None
        return
    from rich.live import Live
    from rich.table import Table

    with Live(auto_refresh=False) as screen:
        changed_at: dict[str, tuple[str, str]] = {}

        def draw(said: Mapping[str, str]) -> None:
            table = Table("sensor", "says", "since", title="Ctrl-C ends", title_justify="left")
            for name, words in said.items():
                if changed_at.get(name, ("", ""))[0] != words:
                    changed_at[name] = (words, time.strftime("%H:%M:%S"))
                table.add_row(name, *changed_at[name])
            screen.update(table, refresh=True)

        yield draw


def _try_outputs(config: Config, factory: Factory) -> None:
    from bin_daemon.gpio.outputs import Mode, Outputs

    named = config.outputs.named()
    with Outputs(config.outputs, factory) as outputs:
        trials: dict[str, tuple[str, Callable[[], object]]] = {
            "light": ("light on", lambda: outputs.light(True)),
            "led": ("status lamp on", lambda: outputs.show(Mode.READY)),
            "buzzer": ("buzzer, once", lambda: outputs.beep(1)),
        }
        for name, output in named.items():
            words, switch = trials[name]
            print(f"{words} (GPIO {output.pin})", flush=True)
            switch()
            time.sleep(_OUTPUT_S)
            outputs.light(False)
    if not named:
        print("this bin has no outputs; the section 'outputs' names them", file=sys.stderr)
