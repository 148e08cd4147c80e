"""The command line: parse, call, print. A module for each family of commands.

Exit codes: 0 done, 1 a failure, 2 wrong usage or configuration, 130 interrupted by the user. What a
program reads goes to standard output, everything else to standard error.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from bin_daemon import __version__
from bin_daemon.core.errors import BinDaemonError, UsageError

FAMILIES = ("run", "look", "device", "hardware", "sensing", "model", "teach", "samples")


def parser(families: Sequence[str] = FAMILIES) -> argparse.ArgumentParser:
    """The parser of all commands; each sets `command` to the function that carries it out.

    families: the modules to take them from.
    """
    top = argparse.ArgumentParser(
        prog="bin-daemon",
        description="Runs a smart recycling bin: looks, decides, sorts, and tells the fleet.",
    )
    top.add_argument("--version", action="version", version=f"bin-daemon {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for family in families:
        importlib.import_module(f"bin_daemon.cli.{family}").add_commands(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    # The daemon starts without the code of the other commands.
    options = parser(FAMILIES[:1] if given[:1] == ["run"] else FAMILIES).parse_args(given)
    try:
        code: int = options.command(options) or 0
        sys.stdout.flush()
    except BinDaemonError as error:
        print(f"bin-daemon: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a path that may not even be asked about
        print(f"bin-daemon: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
