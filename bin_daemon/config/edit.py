"""Changes single values in the text of a configuration and leaves every other letter as it was.

A text and values by key flow in, the changed text flows out, checked to mean exactly what was
wanted. A text that is parsed and dumped again would lose its columns, and nearly every line of the
difference that a person is to approve would be noise.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from bin_daemon.config.load import parse
from bin_daemon.config.migrate import migrated, version_of
from bin_daemon.config.yaml_lines import Document
from bin_daemon.core import paths
from bin_daemon.core.errors import ConfigError, UsageError
from bin_daemon.core.files import write_whole

Key = tuple[str, ...]


def edited(text: str, name: str, changes: Mapping[Key, Any]) -> str:
    """`text` with a value put at each key, replaced or added; `name` stands for it in messages.

    Raises ConfigError where that cannot be done by changing these values alone (anchors, merged
    keys), or where the result would be no good configuration; the text is not half changed then.
    """
    wanted = Document(text, name).data
    for key, value in changes.items():
        text = _put(text, name, key, value)
        wanted = _with(wanted, key, value)
    if Document(text, name).data != wanted:
        keys = ", ".join(".".join(key) for key in changes)
        raise ConfigError(f"{name}: {keys}: too interwoven to be changed here; edit it by hand")
    parse(text, name)
    return text


def version_in(text: str, name: str) -> int:
    """The version that a text says it has. Raises ConfigError where it says none."""
    version = version_of(Document(text, name).data)
    if version is None:
        raise ConfigError(f"{name}:1: version: is needed to know what to change; see the profiles")
    return version


def migration(text: str, name: str) -> dict[Key, Any]:
    """What to put into an older configuration to bring it to the present layout, by key.

    Empty where it is of the present version. Raises ConfigError where it has none.
    """
    version_in(text, name)
    data = Document(text, name).data
    return dict(_changes(data, migrated(data)))


def difference(old: str, new: str, name: str) -> str:
    """A unified diff for people; empty where nothing changed."""
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), name, f"{name} (new)", lineterm="", n=1
    )
    return "\n".join(lines)


def writable(path: Path) -> Path:
    """The file to replace: `path` itself, or what it links to.

    Raises UsageError for a shipped profile, which the next upgrade would overwrite.
    """
    real = path.resolve()
    if real.parent == paths.profiles().resolve():
        raise UsageError(
            f"{path}: is a shipped profile, which stays as it is; copy it and give the copy: "
            f"`cp {path} my-bin.yaml`, then --config my-bin.yaml"
        )
    return real


def replace(path: Path, text: str, like: Path | None = None) -> None:
    """Write `path` whole or not at all, also when the power fails; mode and owner stay.

    like: the file whose mode and owner it takes; itself by default.
    Raises ConfigError where the folder or the owner does not allow it.
    """
    try:
        write_whole(path, text.encode(), like=(like or path).stat())
    except OSError as error:
        raise ConfigError(f"{path}: cannot write it: {error.strerror}; try it with sudo") from error


def _with(data: Any, key: Key, value: Any) -> Any:
    """`data` with a value put at a key; what an anchor shares with other places stays there."""
    if not key:
        return value
    inner = data or {}
    return {**inner, key[0]: _with(inner.get(key[0]), key[1:], value)}


def _changes(old: Any, new: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() <= new.keys():
        for name, value in new.items():
            if name in old:
                yield from _changes(old[name], value, (*key, name))
            else:
                yield (*key, name), value
    elif old != new:
        yield key, new


def _put(text: str, name: str, key: Key, value: Any) -> str:
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    for depth, part in enumerate(key):
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{name}: {'.'.join(key[:depth])}: is no mapping; edit it by hand")
        inner = next((v for k, v in node.value if k.value == part), None)
        if inner is None:
            return _insert(text, node, part, _with(None, key[depth + 1 :], value))
        node = inner
    assert node is not None
    style = node.style if isinstance(node, yaml.ScalarNode) and isinstance(value, str) else None
    return text[: node.start_mark.index] + _flow(value, style) + text[node.end_mark.index :]


def _insert(text: str, mapping: yaml.MappingNode, key: str, value: Any) -> str:
    """Add an entry at the end of a mapping, in the manner of the one before it."""
    if not mapping.value:
        at = mapping.start_mark.index + 1
        return f"{text[:at]}{_flow(key)}: {_flow(value)}{text[at:]}"
    last_key, last = mapping.value[-1]
    air = " " if text.startswith("{ ", last.start_mark.index) else ""
    entry = f"{_flow(key)}:", _flow(value, None, air)
    if mapping.flow_style:
        at = last.end_mark.index
        return f"{text[:at]}, {' '.join(entry)}{text[at:]}"
    column = last_key.start_mark.column
    same_line = last.start_mark.line == last_key.start_mark.line
    width = last.start_mark.column - column - 1 if same_line else 0
    ending = "\r\n" if "\r\n" in text else "\n"
    at = text.find("\n", _end(last)) + 1
    if not at:
        text, at = text + ending, len(text) + len(ending)
    return f"{text[:at]}{' ' * column}{entry[0]:<{width}} {entry[1]}{ending}{text[at:]}"


def _end(node: yaml.Node) -> int:
    """Where the text of a node ends; a block's end mark comes after the comments that follow."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(node, yaml.MappingNode) else last
    return int(node.end_mark.index)


def _flow(value: Any, style: str | None = None, air: str = "") -> str:
    """A value on one line. style: its quotes. air: what stands inside the braces of a mapping."""
    if isinstance(value, dict):
        inner = ", ".join(f"{_flow(k)}: {_flow(v)}" for k, v in value.items())
        return f"{{{air}{inner}{air}}}"
    text: str = yaml.safe_dump(
        value, default_flow_style=True, default_style=style, width=1_000_000, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")
