"""`run`, `silence` and `demo`: the daemon itself."""

from __future__ import annotations

import argparse
import faulthandler
import gc
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bin_daemon.cli import common
from bin_daemon.core import logs, paths
from bin_daemon.core.errors import BinDaemonError, ConfigError, UsageError

if TYPE_CHECKING:
    from bin_daemon.daemon.app import App

# A pass of the main loop takes a fraction of this; what takes longer waits for a device.
GRACE_S = 1.0


def add_commands(commands: common.Commands) -> None:
    """Add this family to the command line."""
    run = commands.add_parser("run", help="sort, until stopped")
    run.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    common.set_up(run, run_daemon, "--config", "--state", *common.MODEL, "--no-taught")
    silence = commands.add_parser("silence", help="every servo and output off; nothing moves")
    common.set_up(silence, run_silence, "--config", "--state")
    demo = commands.add_parser("demo", help="watch it sort on a desk, with a private broker")
    demo.add_argument("--once", action="store_true", help="end after one round of the reel")
    demo.add_argument("--fast", action="store_true", help="as fast as the processor allows")
    demo.add_argument("--script", type=Path, metavar="FILE", help="another scene than the reel")
    common.set_up(demo, run_demo, *common.MODEL)
    demo.set_defaults(config="simulator")


def run_daemon(options: argparse.Namespace) -> None:
    """Sort until SIGTERM or Ctrl-C."""
    gc.disable()  # nothing that is made while starting is garbage; looking for some takes time
    from bin_daemon.daemon.app import App

    logs.start(options.log_level)
    faulthandler.enable()  # systemd's watchdog aborts: then the journal says where it hung
    state = options.state or paths.state()
    app = App(common.config_of(options, cache_dir=state), state, taught=options.taught)
    _obey_signals(app)
    try:
        app.run(ready=gc.enable)
    finally:  # everything is closed; the interpreter would let a late signal kill it instead
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)


def _obey_signals(app: App) -> None:
    """SIGTERM and Ctrl-C end it after the present frame, and soon also where none comes."""

    def stop(*_: object) -> None:
        if not app.stopping:
            app.stop()
            signal.setitimer(signal.ITIMER_REAL, GRACE_S)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGALRM, lambda *_: app.interrupt())


def run_silence(options: argparse.Namespace) -> None:
    """Switch off what a killed daemon left on. Tells what it could not, and never fails.

    A daemon that runs is left alone: hardware PWM and servo boards know no owner, and its chute
    would fall silent in the middle of a route.
    """
    from bin_daemon.config.cache import last_good
    from bin_daemon.config.sections import Config
    from bin_daemon.daemon.degraded import silence_all
    from bin_daemon.daemon.lock import devices_to_oneself

    logs.start("warning")
    state = options.state or paths.state()
    failed: list[object] = []
    config: Config | None
    try:
        try:
            config = common.config_of(options, cache_dir=state)
        except ConfigError as error:  # broken while it ran: the pins are those of before
            failed.append(error)
            config = last_good(Config, state)
        if config is not None:
            with devices_to_oneself({state, paths.SYSTEM_STATE}):
                failed += silence_all(config)
    except BinDaemonError as error:
        failed.append(error)
    for words in failed:
        print(f"bin-daemon: silence: {words}", file=sys.stderr)


def run_demo(options: argparse.Namespace) -> int:
    """Play the reel through the whole daemon and show what happens."""
    from bin_daemon.desk.demo import Demo

    logs.start("error")
    if options.script is not None and not options.script.exists():
        raise UsageError(f"{options.script}: no such script")
    source = str(options.script or "reel")
    camera = {"kind": "replay", "source": source, "loop": not options.once}
    config = common.changed(common.config_of(options), camera=camera)
    return Demo(config, fast=options.fast).run()
