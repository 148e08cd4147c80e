"""`check-config` and `bench`: is this machine set up right, and how fast is it."""

from __future__ import annotations

import argparse
import json
import sys

from bin_daemon.cli import common
from bin_daemon.errors import ConfigError


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this family to the command line."""
    check = commands.add_parser("check-config", help="find every mistake in a configuration")
    check.add_argument("config", nargs="?", metavar="FILE", help="file, or name of a profile")
    check.add_argument("--schema", action="store_true", help="print the JSON Schema instead")
    check.set_defaults(command=run_check)
    bench = commands.add_parser("bench", help="measure speed and memory on this machine")
    bench.add_argument("--json", action="store_true", help="one object")
    bench.add_argument("--quick", action="store_true", help="fewer repetitions, for a smoke test")
    common.add_config(bench)
    common.add_model(bench)
    bench.set_defaults(command=run_bench)


def run_check(options: argparse.Namespace) -> int:
    """Check a configuration without touching a device."""
    if options.schema:
        from bin_daemon.config_file import schema

        print(json.dumps(schema(), indent=2))
        return 0
    from bin_daemon.model_store import open_package
    from bin_daemon.policy import policy_of

    config = common.config_of(options)
    package = open_package(config.model.name)
    policy = policy_of(config, package)
    print(f"bin '{config.bin.id}': the configuration is good")
    print(f"  model   {package.id}: {', '.join(package.labels)}")
    for index, name in enumerate(policy.routes):
        takes = [
            label for label, home in zip(policy.labels, policy.home, strict=True) if home == index
        ]
        poses = " > ".join(step.pose for step in config.routes[name].steps)
        print(f"  route   {name}: {', '.join(takes) or 'nothing of this model'} ({poses} > home)")
    pins = ", ".join(f"{n} on GPIO {s.pin}" for n, s in config.chute.servos.items())
    print(f"  servos  {pins} ({config.chute.pins})")
    print(f"  broker  {f'{config.mqtt.host}:{config.mqtt.port}' if config.mqtt else 'none'}")
    if config.mqtt is not None:
        try:
            config.mqtt.password()
        except ConfigError as error:  # right on the bin, perhaps, but not where this is checked
            print(f"bin-daemon: note: {error}", file=sys.stderr)
    return 0


def run_bench(options: argparse.Namespace) -> int:
    """Measure, and print the figures."""
    from bin_daemon.bench import report, run

    with common.progress("measuring") as tell:
        figures = run(common.config_of(options), options.quick, tell)
    print(json.dumps(figures) if options.json else report(figures))
    return 0
