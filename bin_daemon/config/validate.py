"""Plain data checked against frozen dataclasses, every mistake in words.

Mappings from YAML or JSON flow in, dataclasses flow out, or `InvalidError` with the key and the
words of each mistake. pydantic does the checking; it is loaded at the first use and not before.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

T = TypeVar("T")
Key = tuple[str, ...]
Fault = tuple[Key, str]

_SECRET = re.compile(r"password|secret|token", re.IGNORECASE)


class InvalidError(Exception):
    """Values that are wrong by themselves, with their keys."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(faults)
        self.faults = faults


def check(kind: type[T], raw: Any) -> T:
    """Build `kind` from plain data. Raises InvalidError with all that is wrong."""
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(kind)
    try:
        return adapter.validate_python(raw)
    except ValidationError as error:
        described = adapter.json_schema()
        raise InvalidError([_explain(described, fault) for fault in error.errors()]) from error


def _explain(schema: dict[str, Any], fault: Any) -> Fault:
    """One error of pydantic as (key, words)."""
    key = tuple(str(part) for part in fault["loc"])
    about = _node(schema, key).get("description", "")
    words = f" ({about})" if about else ""
    if fault["type"] == "unexpected_keyword_argument":
        return key, _unknown_key(schema, key)
    if fault["type"] == "missing":
        return key, f"is needed{words}"
    if fault["type"] == "value_error":
        return key, str(fault["ctx"]["error"])
    message, value = fault["msg"], fault["input"]
    hidden = isinstance(value, (dict, list)) or any(map(_SECRET.search, key))
    given = "" if hidden else f", not {value!r}"
    return key, f"{message[0].lower()}{message[1:]}{given}{words}"


def _node(schema: dict[str, Any], key: tuple[str, ...]) -> dict[str, Any]:
    """What the JSON Schema says of `key`; nothing where there is no such key."""
    node = schema
    for part in key:
        node = _target(schema, node)
        inner = node.get("properties", {}).get(part) or node.get("additionalProperties")
        node = inner if isinstance(inner, dict) else node.get("items") or {}
    return node


def _target(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """The section that a node refers to, also where it is optional."""
    for candidate in (node, *node.get("anyOf", ())):
        if "$ref" in candidate:
            found: dict[str, Any] = schema["$defs"][candidate["$ref"].rsplit("/", 1)[1]]
            return found
    return node


def _unknown_key(schema: dict[str, Any], key: tuple[str, ...]) -> str:
    import difflib

    known = list(_target(schema, _node(schema, key[:-1])).get("properties", ()))
    if close := difflib.get_close_matches(key[-1], known, n=1):
        return f"unknown key; did you mean '{close[0]}'?"
    return "unknown key" + (f"; known here: {', '.join(known)}" if known else "")
