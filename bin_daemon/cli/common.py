"""What several commands share: options, the configuration they mean, and progress."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bin_daemon.core import paths
from bin_daemon.core.errors import UsageError
from bin_daemon.core.messages import to_json

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001
    from bin_daemon.config.sections import Config
    from bin_daemon.model.classifier import Classifier

CONFIG_VARIABLE = "BIN_DAEMON_CONFIG"
_SYSTEM_CONFIG = Path("/etc/bin-daemon/config.yaml")
_DESK_PROFILE = "simulator"


_OPTIONS: dict[str, dict[str, Any]] = {
    "--config": {
        "metavar": "FILE",
        "help": f"configuration, or the name of a shipped profile; else ${CONFIG_VARIABLE}, "
        f"{_SYSTEM_CONFIG}, or the profile '{_DESK_PROFILE}'",
    },
    "--state": {
        "type": Path,
        "metavar": "DIR",
        "help": "state folder (events, empty view, taught pictures)",
    },
    "--model": {"metavar": "NAME", "help": "model package, by name or path"},
    "--runtime": {
        "choices": ["auto", "ai-edge-litert", "tflite-runtime"],
        "help": "TFLite runtime",
    },
    "--threads": {"type": int, "metavar": "N", "help": "threads of one inference"},
    "--no-taught": {
        "dest": "taught",
        "action": "store_false",
        "help": "use the model as it ships, not what the bin was taught",
    },
}
MODEL = ("--model", "--runtime", "--threads")


def set_up(
    command: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], int | None],
    *shared: str,
    json: str = "",
) -> None:
    """Let `run` carry a command out, and add the options that it shares with others.

    run: gives the exit code, or None for 0. json: the help of its `--json`, where it has one.
    """
    for option in shared:
        command.add_argument(option, **_OPTIONS[option])
    if json:
        command.add_argument("--json", action="store_true", help=json)
    command.set_defaults(command=run)


def config_name(options: argparse.Namespace) -> str:
    """The file or the profile that `--config` and the environment mean."""
    name: str = options.config or os.environ.get(CONFIG_VARIABLE, "")
    if name:
        return name
    try:
        return str(_SYSTEM_CONFIG) if _SYSTEM_CONFIG.is_file() else _DESK_PROFILE
    except PermissionError:  # reported by whoever reads it
        return str(_SYSTEM_CONFIG)


def config_of(options: argparse.Namespace, cache_dir: Path | None = None) -> Config:
    """The configuration that the options mean, with what they overrule; see `load_config`."""
    from bin_daemon.config.load import load_config

    config = load_config(config_name(options), cache_dir)
    chosen = {"name": "model", "runtime": "runtime", "threads": "threads"}
    overruled = {k: getattr(options, o, None) for k, o in chosen.items()}
    given = {k: v for k, v in overruled.items() if v is not None}
    return changed(config, model=given) if given else config


def changed(config: Config, **sections: Mapping[str, object]) -> Config:
    """A copy of `config` with these values of some sections replaced, checked as the file was.

    Takes sections that every bin has. Raises ConfigError where a value is not allowed.
    """
    from bin_daemon.config.load import validate

    raw = dataclasses.asdict(config)
    for name, values in sections.items():
        raw[name].update(values)
    return validate(type(config), raw)


def looked_into(options: argparse.Namespace) -> Path:
    """The state directory to look into: that of the options, else of the installed service."""
    if options.state is None and paths.SYSTEM_STATE.is_dir():
        return paths.SYSTEM_STATE
    return options.state or paths.state()


def taught_in(options: argparse.Namespace) -> Path | None:
    """The state directory whose taught head is to be used; None for the package as it ships.

    None, with a warning, also for a directory that may not be read.
    """
    state = looked_into(options)
    try:
        return state if options.taught and paths.taught_head(state).exists() else None
    except PermissionError:
        cure = "run it with sudo, or give --no-taught"
        warn(f"{state} may not be read, so the model is used as it ships; {cure}")
        return None


def classifier_of(config: Config, state: Path | None) -> Classifier:
    """The network with the head that was taught in `state`; None for the package as it ships."""
    from bin_daemon.model.classifier import Classifier
    from bin_daemon.model.package import open_package

    package = open_package(config.model.name)
    classifier = Classifier(package, config.model.runtime, config.model.threads)
    if state is not None:
        from bin_daemon.teaching.activation import head_for

        classifier.head, words = head_for(classifier, config, state, keep=False)
        if words:
            warn(words)
    return classifier


def answer(options: argparse.Namespace, data: Mapping[str, object], words: str) -> None:
    """Print what a command did, as JSON or in words."""
    print(to_json(data) if options.json else words)


def warn(words: str) -> None:
    """Tell a person what they should know, beside the output that programs read."""
    print(f"bin-daemon: warning: {words}", file=sys.stderr)


@contextlib.contextmanager
def progress(words: str) -> Iterator[Callable[[str], None]]:
    """A line on a terminal's standard error that shows how far long work is; yields its setter."""
    if not sys.stderr.isatty():
        yield lambda words: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    console, piped = Console(stderr=True), not sys.stdout.isatty()
    with Progress(*columns, console=console, transient=True, redirect_stdout=not piped) as shown:
        task = shown.add_task(words)
        yield lambda words: shown.update(task, description=words)


def pictures_in(named: list[Path], empty: Path | None = None) -> list[Path]:
    """All pictures: files as they are named, folders as the pictures in them but `empty`.

    Raises UsageError for a path that is neither.
    """
    from bin_daemon.camera.replay import pictures_in as in_folder

    found: list[Path] = []
    for path in named:
        if path.is_dir():
            found += [p for p in in_folder(path) if not empty or p.resolve() != empty.resolve()]
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"{path}: no such picture or folder")
    return found
