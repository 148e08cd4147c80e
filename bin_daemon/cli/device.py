"""`doctor`, `check-config` and `bench`: is this bin set up right, and how fast is it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

from bin_daemon.cli import common
from bin_daemon.core.errors import ConfigError

if TYPE_CHECKING:
    from bin_daemon.doctor import Finding


def add_commands(commands: common.Commands) -> None:
    """Add this family to the command line."""
    doctor = commands.add_parser(
        "doctor", help="examine bin and machine, and say how to put them right"
    )
    common.set_up(doctor, run_doctor, "--config", "--state", json="one object")
    check = commands.add_parser("check-config", help="find every mistake in a configuration")
    check.add_argument("config", nargs="?", metavar="FILE", help="file, or name of a profile")
    what = check.add_mutually_exclusive_group()
    what.add_argument("--schema", action="store_true", help="print the JSON Schema instead")
    what.add_argument(
        "--migrate", action="store_true", help="rewrite an older file in the present layout"
    )
    check.add_argument("--yes", action="store_true", help="--migrate: write without asking")
    common.set_up(check, run_check)
    bench = commands.add_parser("bench", help="measure speed and memory on this machine")
    bench.add_argument("--quick", action="store_true", help="fewer repetitions, for a smoke test")
    common.set_up(bench, run_bench, "--config", *common.MODEL, json="one object")


def run_doctor(options: argparse.Namespace) -> int:
    """Examine, and print each finding as it comes; 1 where there is a fault."""
    import logging

    from bin_daemon.doctor import Level, examine, site_of

    logging.disable()  # the findings say it all
    site = site_of(common.config_name(options), options.state)
    found: dict[str, Finding] = {}
    for name, finding in examine(site):
        found[name] = finding
        if not options.json:
            _print_finding(name, finding)
    counts = Counter(finding.level for finding in found.values())
    if options.json:
        checks = {name: f.as_json() for name, f in found.items()}
        print(json.dumps({"good": not counts[Level.FAULT], "checks": checks}))
    else:
        print("\n" + ", ".join(f"{counts[level]} {level}" for level in Level if counts[level]))
    sys.stdout.flush()
    if any(t.name.startswith("doctor ") for t in threading.enumerate()):
        os._exit(1)  # what hangs in a driver would hang at the ordinary end too
    return 1 if counts[Level.FAULT] else 0


def _print_finding(name: str, finding: Finding) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # a file has no margin, and a command that is cut cannot be copied
    colours = {"good": "green", "warning": "yellow", "fault": "red", "n/a": "dim"}
    columns = (Column(width=width, no_wrap=True) for width in (7, 14))
    table = Table.grid(*columns, Column(overflow="fold"), padding=(0, 2, 0, 0))
    level = Text(finding.level, colours[finding.level])
    table.add_row(level, Text(name, "bold"), Text(finding.seen))
    if finding.remedy:
        table.add_row("", Text("  remedy", "dim"), Text(finding.remedy, "cyan"))
    with console.capture() as drawn:
        console.print(table)
    print("\n".join(line.rstrip() for line in drawn.get().splitlines()), flush=True)


def _migrate(options: argparse.Namespace) -> int:
    """Bring a file to the present layout; the old one stays beside it."""
    from bin_daemon.cli.config_files import rewrite
    from bin_daemon.config import edit
    from bin_daemon.config.load import find_config, read
    from bin_daemon.config.sections import SCHEMA_VERSION

    path = find_config(common.config_name(options))
    text = read(path)
    changes = edit.migration(text, str(path))
    if not changes:
        print(f"{path}: is of version {SCHEMA_VERSION} already; nothing to do")
        return 0
    path = edit.writable(path)
    backup = path.with_name(f"{path.name}.v{edit.version_in(text, str(path))}")
    return 0 if rewrite(path, text, changes, options.yes, backup) else 1


def run_check(options: argparse.Namespace) -> int:
    """Check a configuration without touching a device."""
    if options.schema:
        from bin_daemon.config.load import schema

        print(json.dumps(schema(), indent=2))
        return 0
    if options.migrate:
        return _migrate(options)
    from bin_daemon.model.package import open_package
    from bin_daemon.sorting.policy import policy_of

    config = common.config_of(options)
    package = open_package(config.model.name)
    policy = policy_of(config, package)
    print(f"bin '{config.bin.id}': the configuration is good")
    print(f"  model   {package.id}: {', '.join(package.labels)}")
    for index, name in enumerate(policy.routes):
        taken = zip(policy.labels, policy.route_of, strict=True)
        takes = [label for label, by in taken if by == index]
        poses = " > ".join(step.pose for step in config.routes[name].steps)
        print(f"  route   {name}: {', '.join(takes) or 'nothing of this model'} ({poses} > home)")
    where = "channel" if config.chute.pins == "pca9685" else "GPIO"
    pins = ", ".join(f"{n} on {where} {s.pin}" for n, s in config.chute.servos.items())
    print(f"  servos  {pins} ({config.chute.pins})")
    sensors = [f"{n} on GPIO {s.pin}" for n, s in config.sensors.switches().items()]
    for route, sensor in config.sensors.fill.items():
        sensors.append(f"fill.{route} on GPIO {sensor.trigger} and {sensor.echo}")
    print(f"  sensors {', '.join(sensors) or 'none'}")
    outputs = [f"{n} on GPIO {output.pin}" for n, output in config.outputs.named().items()]
    print(f"  outputs {', '.join(outputs) or 'none'}")
    print(f"  broker  {f'{config.mqtt.host}:{config.mqtt.port}' if config.mqtt else 'none'}")
    if config.mqtt is not None:
        try:
            config.mqtt.password()
        except ConfigError as error:  # right on the bin, perhaps, but not where this is checked
            print(f"bin-daemon: note: {error}", file=sys.stderr)
    return 0


def run_bench(options: argparse.Namespace) -> None:
    """Measure, and print the figures."""
    from bin_daemon.doctor.benchmark import report, run

    with common.progress("measuring") as progress:
        figures = run(common.config_of(options), options.quick, progress)
    print(json.dumps(figures) if options.json else report(figures))
