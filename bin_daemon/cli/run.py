"""`run` and `demo`: the daemon itself."""

from __future__ import annotations

import argparse
import gc
import signal
from pathlib import Path

from bin_daemon.cli import common
from bin_daemon.errors import UsageError


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this family to the command line."""
    run = commands.add_parser("run", help="sort, until stopped")
    common.add_config(run)
    common.add_state(run)
    common.add_model(run)
    run.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    run.set_defaults(command=run_daemon)
    demo = commands.add_parser("demo", help="watch it sort on a desk, with a private broker")
    demo.add_argument("--once", action="store_true", help="end after one round of the reel")
    demo.add_argument("--fast", action="store_true", help="as fast as the processor allows")
    demo.add_argument("--script", type=Path, metavar="FILE", help="another scene than the reel")
    common.add_model(demo)
    demo.set_defaults(command=run_demo, config="simulator")


def run_daemon(options: argparse.Namespace) -> int:
    """Sort until SIGTERM or Ctrl-C."""
    gc.disable()  # nothing that is made while starting is garbage; looking for some takes time
    from bin_daemon.app import App

    common.log_to_stderr(options.log_level)
    state = common.state_of(options)
    app = App(common.config_of(options, kept=state), state)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: app.stop())
    app.run(ready=gc.enable)
    return 0


def run_demo(options: argparse.Namespace) -> int:
    """Play the reel through the whole daemon and show what happens."""
    from bin_daemon.demo import Demo

    common.log_to_stderr("error")
    if options.script is not None and not options.script.exists():
        raise UsageError(f"{options.script}: no such script")
    config = common.config_of(options)
    source = {"source": str(options.script)} if options.script else {"source": "reel"}
    config = common.changed(config, "camera", kind="replay", loop=not options.once, **source)
    return Demo(config, fast=options.fast).run()
