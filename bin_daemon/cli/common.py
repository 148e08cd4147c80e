"""What several commands share: options, the configuration they mean, and progress."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bin_daemon.core import paths
from bin_daemon.core.errors import UsageError

if TYPE_CHECKING:
    from bin_daemon.config.sections import Config

CONFIG_VARIABLE = "BIN_DAEMON_CONFIG"
_SYSTEM_CONFIG = Path("/etc/bin-daemon/config.yaml")
_DESK_PROFILE = "simulator"


def add_config(command: argparse.ArgumentParser) -> None:
    """`--config`."""
    command.add_argument(
        "--config",
        metavar="FILE",
        help=f"configuration, or the name of a shipped profile; else ${CONFIG_VARIABLE}, "
        f"{_SYSTEM_CONFIG}, or the profile '{_DESK_PROFILE}'",
    )


def add_state(command: argparse.ArgumentParser) -> None:
    """`--state`."""
    command.add_argument(
        "--state", type=Path, metavar="DIR", help="folder the bin writes to (events, reference)"
    )


def add_model(command: argparse.ArgumentParser) -> None:
    """`--model`, `--runtime`, `--threads`."""
    command.add_argument("--model", metavar="NAME", help="model package, by name or path")
    command.add_argument(
        "--runtime", choices=["auto", "ai-edge-litert", "tflite-runtime"], help="TFLite runtime"
    )
    command.add_argument("--threads", type=int, metavar="N", help="threads of one inference")


def add_taught(command: argparse.ArgumentParser) -> None:
    """`--no-taught`."""
    command.add_argument(
        "--no-taught",
        dest="taught",
        action="store_false",
        help="use the model as it ships, not what the bin was taught",
    )


def config_name(options: argparse.Namespace) -> str:
    """The file or the profile that `--config` and the environment mean."""
    name: str = options.config or os.environ.get(CONFIG_VARIABLE, "")
    if name:
        return name
    try:
        return str(_SYSTEM_CONFIG) if _SYSTEM_CONFIG.is_file() else _DESK_PROFILE
    except PermissionError:  # told by whoever reads it
        return str(_SYSTEM_CONFIG)


def config_of(options: argparse.Namespace, cache_dir: Path | None = None) -> Config:
    """The configuration that the options mean, with what they overrule.

    cache_dir: the folder that remembers what was checked before.
    """
    from bin_daemon.config.load import load_config

    config = load_config(config_name(options), cache_dir)
    chosen = {"name": "model", "runtime": "runtime", "threads": "threads"}
    overruled = {k: getattr(options, o, None) for k, o in chosen.items()}
    return changed(config, "model", **{k: v for k, v in overruled.items() if v is not None})


def changed(config: Config, section: str, **values: object) -> Config:
    """A copy of `config` with values of one section replaced, checked as the file was.

    Raises ConfigError where a value is not allowed.
    """
    if not values:
        return config
    from bin_daemon.config.load import validate

    raw = dataclasses.asdict(config)
    raw[section] = {**(raw[section] or {}), **values}
    return validate(type(config), raw)


def state_of(options: argparse.Namespace) -> Path:
    """The state directory that the options mean."""
    return options.state or paths.state()


def looked_into(options: argparse.Namespace) -> Path:
    """The state directory to look into: that of the options, else of the installed service."""
    if options.state is None and paths.SYSTEM_STATE.is_dir():
        return paths.SYSTEM_STATE
    return state_of(options)


def taught_in(options: argparse.Namespace) -> Path | None:
    """The state directory whose taught head is meant; None where the package as it ships is.

    One of the service that may not be read counts as that too, and is told.
    """
    state = looked_into(options)
    try:
        return state if options.taught and paths.taught_head(state).exists() else None
    except PermissionError:
        print(
            f"bin-daemon: warning: {state} may not be read, so the model is used as it ships; run "
            f"it with sudo, or give --no-taught",
            file=sys.stderr,
        )
        return None


@contextlib.contextmanager
def progress(words: str) -> Iterator[Callable[[str], None]]:
    """A line on the terminal that tells how far long work is; gives what changes its words.

    Nothing is shown where nobody looks. It goes to standard error, so that output can be piped.
    """
    if not sys.stderr.isatty():
        yield lambda words: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    shown = Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    )
    with shown:
        task = shown.add_task(words)
        yield lambda words: shown.update(task, description=words)


def pictures_in(named: list[Path], empty: Path | None = None) -> list[Path]:
    """The pictures meant: files as they are named, folders as the pictures in them.

    empty: the view of the empty chamber, which may lie in such a folder and is left out there.
    Raises UsageError for a path that is neither.
    """
    from bin_daemon.camera.replay import pictures_in as in_folder

    found: list[Path] = []
    left_out = empty.resolve() if empty else None
    for path in named:
        if path.is_dir():
            found += [one for one in in_folder(path) if one.resolve() != left_out]
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"{path}: no such picture or folder")
    return found
