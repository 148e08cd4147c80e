"""What plain data may be: closed frozen dataclasses, and bounds on their fields.

`@section` makes the class, `Annotated[int, Interval(ge=1)]` bounds a field, the words under a field
describe it. pydantic reads all three when `checked.check` builds one from a mapping. Until then
none of it costs anything: a daemon whose files have not changed starts without pydantic.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, eq_default=False)
def section(cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass with named fields, whose check refuses unknown keys.

    It has no own `==` and `repr`: nobody compares configurations, and making them is a good part of
    the time that making the class takes.
    """
    cls.__pydantic_config__ = {  # type: ignore[attr-defined]
        "extra": "forbid",
        "use_attribute_docstrings": True,
    }
    return dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)(cls)


class Interval:
    """A number within bounds; those that are None do not hold."""

    def __init__(
        self,
        *,
        ge: float | None = None,
        gt: float | None = None,
        le: float | None = None,
        lt: float | None = None,
    ) -> None:
        bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
        self._rules = {name: bound for name, bound in bounds.items() if bound is not None}

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return {**handler(source), **self._rules}


class Length:
    """A text, list or mapping that is at least, and at most, so long."""

    def __init__(self, least: int, most: int | None = None) -> None:
        self._rules = {"min_length": least}
        if most is not None:
            self._rules["max_length"] = most

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return {**handler(source), **self._rules}


class Matches:
    """A text, of at most 128 characters, that matches a regular expression."""

    def __init__(self, pattern: str) -> None:
        self._rules = {"pattern": pattern, "max_length": 128}

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return {**handler(source), **self._rules}
