"""What plain data may be: closed frozen dataclasses, and bounds on their fields.

`@section` makes the class, `Annotated[int, Interval(ge=1)]` bounds a field, the words under a field
describe it. pydantic reads all three when `validate.check` builds one from a mapping. Until then
none of it costs anything: a daemon whose files have not changed starts without pydantic.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, eq_default=False)
def section(cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass with named fields, whose check refuses unknown keys.

    It has no `==` and `repr` of its own: no code compares configurations, and to make them takes
    much of the time that it takes to make the class.
    """
    cls.__pydantic_config__ = {  # type: ignore[attr-defined]
        "extra": "forbid",
        "use_attribute_docstrings": True,
    }
    return dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)(cls)


class _Bounds:
    """Rules of pydantic's core schema for a field; those that are None do not hold."""

    def __init__(self, **rules: Any) -> None:
        self._rules = {name: rule for name, rule in rules.items() if rule is not None}

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return {**handler(source), **self._rules}


class Interval(_Bounds):
    """A number within bounds."""

    def __init__(
        self,
        *,
        ge: float | None = None,
        gt: float | None = None,
        le: float | None = None,
        lt: float | None = None,
    ) -> None:
        super().__init__(ge=ge, gt=gt, le=le, lt=lt)


class Length(_Bounds):
    """A text, list or mapping that is at least, and at most, so long."""

    def __init__(self, least: int, most: int | None = None) -> None:
        super().__init__(min_length=least, max_length=most)


class Matches(_Bounds):
    """A text, of at most 128 characters, that matches a regular expression."""

    def __init__(self, pattern: str) -> None:
        super().__init__(pattern=pattern, max_length=128)
