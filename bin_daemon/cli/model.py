"""`model list` and `model verify`: the packages in the store."""

from __future__ import annotations

import argparse
import sys

from bin_daemon.cli import common
from bin_daemon.core.errors import BinDaemonError, ModelError


def add_commands(commands: common.Commands) -> None:
    """Add this family to the command line."""
    model = commands.add_parser("model", help="the model packages")
    verbs = model.add_subparsers(metavar="VERB", required=True)
    common.set_up(verbs.add_parser("list", help="what is in the store"), run_list)
    verify = verbs.add_parser("verify", help="check files, and the golden inputs on each runtime")
    verify.add_argument("names", nargs="*", metavar="NAME", help="packages; else all")
    common.set_up(verify, run_verify)


def run_list(options: argparse.Namespace) -> int:
    """One line a package."""
    from bin_daemon.model.package import list_packages

    damaged = False
    for package in list_packages():
        if isinstance(package, ModelError):
            print(f"bin-daemon: {package}", file=sys.stderr)
            damaged = True
            continue
        metrics = package.manifest.metrics
        figure = f"accuracy {metrics['accuracy']:.3f}" if "accuracy" in metrics else "not measured"
        print(f"{package.id:<14} {figure}  {', '.join(package.labels)}")
    return 1 if damaged else 0


def run_verify(options: argparse.Namespace) -> int:
    """Checksums, then the golden inputs on every runtime that is installed."""
    from bin_daemon.model.classifier import Classifier
    from bin_daemon.model.package import list_packages, open_package
    from bin_daemon.model.runtime import installed_runtimes

    runtimes = installed_runtimes()
    if not runtimes:
        raise ModelError("no TFLite runtime is installed; pip install ai-edge-litert")
    failed = False
    for candidate in options.names or list_packages():
        try:
            if isinstance(candidate, ModelError):
                raise candidate
            package = open_package(candidate) if isinstance(candidate, str) else candidate
            package.verify()
            for runtime in runtimes:
                classifier = Classifier(package, runtime)
                classifier.check_golden()
                print(f"{package.id}: files and golden inputs are right on {classifier.runtime}")
        except BinDaemonError as error:
            print(f"bin-daemon: {error}", file=sys.stderr)
            failed = True
    return 1 if failed else 0
