"""Reads the YAML file of a bin and says, for every mistake at once, in which line it is.

A path flows in, a validated `Config` flows out, or a `ConfigError` whose message has one line per
mistake: `file:line: key: what is wrong`. The values themselves are never part of a message for keys
that may hold a secret.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from bin_daemon import paths
from bin_daemon.config import Config
from bin_daemon.errors import ConfigError

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_BYTES = 1_000_000
_SECRET = re.compile(r"password|secret|token", re.IGNORECASE)
_KEYED = re.compile(r"^([\w.\-]+): (.*)$")


class _Document:
    """A parsed YAML text with the line of every key."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.lines: dict[tuple[str, ...], int] = {(): 1}
        self.duplicates: list[str] = []
        self._walked: set[int] = set()
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                self._walk(node, ())
            self.data = loader.construct_document(node) if node is not None else None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            problem = getattr(error, "problem", None) or str(error)
            raise ConfigError(f"{name}:{line}: not valid YAML: {problem}") from error
        except RecursionError as error:
            raise ConfigError(f"{name}:1: nested too deeply to be a configuration") from error
        except ValueError as error:  # a date that is none, an integer beyond reason
            raise ConfigError(f"{name}:1: not valid YAML: {error}") from error
        finally:
            loader.dispose()

    def _walk(self, node: yaml.Node, key: tuple[str, ...]) -> None:
        if id(node) in self._walked:  # an alias: walked where its anchor stands
            return
        self._walked.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for name_node, value in node.value:
                inner = (*key, str(name_node.value))
                line = name_node.start_mark.line + 1
                if (first := self.lines.setdefault(inner, line)) != line:
                    self.duplicates.append(
                        f"{self.name}:{line}: {'.'.join(inner)}: stands twice; "
                        f"the first is in line {first}"
                    )
                self._walk(value, inner)
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                inner = (*key, str(i))
                self.lines[inner] = value.start_mark.line + 1
                self._walk(value, inner)

    def line(self, key: tuple[str, ...]) -> int:
        """The line of `key`, or of the nearest part of the file that holds it."""
        while key not in self.lines:
            key = key[:-1]
        return self.lines[key]

    def complaint(self, key: tuple[str, ...], text: str) -> str:
        """`file:line: key: text`."""
        return f"{self.name}:{self.line(key)}: {'.'.join(key) or 'file'}: {text}"


def load_config(path: Path | str) -> Config:
    """Read and check a configuration.

    path: a YAML file, or the bare name of a shipped profile ("simulator").
    Raises ConfigError with one line for each mistake.
    """
    path = find_config(path)
    document = _Document(_read(path), str(path))
    if not isinstance(document.data, dict):
        raise ConfigError(
            f"{path}:1: must be a mapping; start from a profile in {paths.profiles()}"
        )
    faults = list(document.duplicates)
    try:
        config = Config.model_validate(document.data)
    except ValidationError as error:
        faults += [document.complaint(key, text) for key, text in _explain(error)]
    if faults:
        raise ConfigError("\n".join(faults))
    return config


def find_config(path: Path | str) -> Path:
    """The file that `path` means: itself, or the shipped profile of that name.

    Raises ConfigError where there is neither.
    """
    given = Path(path)
    if given.is_file():
        return given
    profile = paths.profiles() / f"{given}.yaml"
    if given.name == str(given) and profile.is_file():
        return profile
    shipped = ", ".join(sorted(p.stem for p in paths.profiles().glob("*.yaml"))) or "none found"
    raise ConfigError(f"{given}: no such file; shipped profiles: {shipped}")


def digest(config: Config) -> str:
    """Twelve hex digits that change with the configuration (never with a secret's value)."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:12]


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path}: larger than 1 MB; this is no configuration")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot read it: {error.strerror}") from error


def _explain(error: ValidationError) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each mistake as (key, words)."""
    for fault in error.errors():
        key = tuple(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            yield key, _unknown_key(key)
        elif fault["type"] == "missing":
            yield key, f"is needed{_about(key)}"
        elif fault["type"] == "value_error":
            yield from _own(key, str(fault["ctx"]["error"]))
        else:
            yield key, f"{_lower(fault['msg'])}{_given(key, fault['input'])}{_about(key)}"


def _own(key: tuple[str, ...], text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The complaints of our own validators; those of `Config` begin with the key they mean."""
    for line in text.splitlines():
        match = _KEYED.match(line)
        if match and not key:
            yield tuple(match.group(1).split(".")), match.group(2)
        else:
            yield key, line


def _field_of(key: tuple[str, ...]) -> tuple[type[BaseModel] | None, Any]:
    """The model that holds `key`, and its field there, as far as they are plain sections."""
    model: type[BaseModel] | None = Config
    field: Any = None
    for part in key:
        if model is None:
            return None, None
        field = model.model_fields.get(part)
        holder, model = model, _section(field.annotation) if field else None
        if field is None:
            return holder, None
    return model, field


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section in `annotation`, also where it is optional."""
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _unknown_key(key: tuple[str, ...]) -> str:
    holder, _ = _field_of(key)
    known = list(holder.model_fields) if holder else []
    close = difflib.get_close_matches(key[-1], known, n=1)
    if close:
        return f"unknown key; did you mean '{close[0]}'?"
    return "unknown key" + (f"; known here: {', '.join(known)}" if known else "")


def _about(key: tuple[str, ...]) -> str:
    _, field = _field_of(key)
    return f" ({field.description})" if field is not None and field.description else ""


def _given(key: tuple[str, ...], value: Any) -> str:
    if any(_SECRET.search(part) for part in key) or isinstance(value, (dict, list)):
        return ""
    return f", not {value!r}"


def _lower(message: str) -> str:
    return message[0].lower() + message[1:]
