"""Reads the YAML file of a bin and says, for every mistake at once, in which line it is.

A path flows in, a validated `Config` flows out, or a `ConfigError` whose message has one line per
mistake: `file:line: key: what is wrong`. No value of a key that may hold a secret is part of it.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from bin_daemon.config import rules
from bin_daemon.config.cache import cached
from bin_daemon.config.migrate import migrated, version_of
from bin_daemon.config.sections import SCHEMA_VERSION, Config
from bin_daemon.config.validate import Fault, InvalidError, check
from bin_daemon.core import paths
from bin_daemon.core.errors import ConfigError

T = TypeVar("T")

_MAX_BYTES = 1_000_000


def load_config(path: Path | str, cache_dir: Path | None = None) -> Config:
    """Read and check a configuration.

    path: a YAML file, or the bare name of a shipped profile ("simulator"). cache_dir: the folder
    of the cache. Raises ConfigError with one line for each mistake.
    """
    path = find_config(path)
    text = read(path)
    return cached(Config, text.encode(), cache_dir, lambda: parse(text, str(path)))


def read(path: Path) -> str:
    """The text of a configuration, its line ends as they are. Raises ConfigError where it is none.

    At most 1 MB of UTF-8.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path}: larger than 1 MB; this is no configuration")
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ConfigError:
    cure = "; run it with sudo" if isinstance(error, PermissionError) else ""
    return ConfigError(f"{path}: cannot read it: {error.strerror}{cure}")


def parse(text: str, name: str) -> Config:
    """Check a configuration; `name` stands for the file in what ConfigError says."""
    from bin_daemon.config.yaml_lines import Document

    document = Document(text, name)
    version = version_of(document.data)
    if version is not None and version > SCHEMA_VERSION:
        words = f"{version} is newer than this bin-daemon, which knows {SCHEMA_VERSION}; upgrade it"
        raise ConfigError(document.located(("version",), words))
    data = migrated(document.data)
    if not isinstance(data, dict):
        raise ConfigError(
            f"{name}:1: must be a mapping; start from a profile in {paths.profiles()}"
        )
    faults = list(document.duplicates)
    try:
        config = check(Config, data)
        faults += [document.located(key, words) for key, words in rules.faults(config)]
    except InvalidError as invalid:
        found = [*invalid.faults, *_rules_of_the_rest(data, invalid.faults)]
        faults += [document.located(key, words) for key, words in found]
    if faults:
        raise ConfigError("\n".join(faults))
    return config


def _rules_of_the_rest(data: dict[str, Any], invalid: list[Fault]) -> list[Fault]:
    """What breaks the rules besides values that are wrong by themselves, as far as can be seen."""
    rest = copy.deepcopy(data)
    for key, _ in invalid:
        holder: Any = rest
        for part in key[:-1]:
            holder = holder.get(part) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and key:
            holder.pop(key[-1], None)
    try:
        return list(rules.faults(check(Config, rest)))
    except InvalidError:
        return []


def validate(kind: type[T], raw: Any) -> T:
    """Check plain data against a section, or the whole `Config` and its rules, as `load_config`."""
    try:
        section = check(kind, raw)
        faults = list(rules.faults(section)) if isinstance(section, Config) else []
    except InvalidError as invalid:
        faults = invalid.faults
    if faults:
        raise ConfigError("\n".join(f"{'.'.join(key)}: {words}" for key, words in faults))
    return section


def schema() -> dict[str, Any]:
    """The JSON Schema of the configuration."""
    from pydantic import TypeAdapter

    return TypeAdapter(Config).json_schema()


def find_config(path: Path | str) -> Path:
    """The file that `path` means: itself, or the shipped profile of that name.

    Raises ConfigError where there is neither.
    """
    given = Path(path)
    profile = paths.profiles() / f"{given}.yaml"
    try:
        if given.is_file():
            return given
        if given.name == str(given) and profile.is_file():
            return profile
    except OSError as error:  # a folder that may not be entered, a name that is too long
        raise _unreadable(given, error) from error
    shipped = ", ".join(sorted(p.stem for p in paths.profiles().glob("*.yaml"))) or "none found"
    raise ConfigError(f"{given}: no such file; shipped profiles: {shipped}")


def digest(config: Config) -> str:
    """Twelve hex digits that change with the configuration (never with a secret's value)."""
    plain = json.dumps(dataclasses.asdict(config), default=str)
    return hashlib.sha256(plain.encode()).hexdigest()[:12]
