"""What plain data may be: closed frozen dataclasses, and bounds on their fields.

`@section` makes the class, `Annotated[int, Bounds(ge=1)]` bounds a field, the words under a field
describe it. pydantic reads all three when `validate.check` builds one from a mapping. Until then
none of it costs anything: a daemon whose files have not changed starts without pydantic.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, TypeVar, dataclass_transform

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


class Bounds:
    """Rules for a field: `ge`, `gt`, `le`, `lt`, `min_length`, `max_length`, `pattern`."""

    def __init__(self, **rules: float | str) -> None:
        self._rules = rules

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return {**handler(source), **self._rules}


Name = Annotated[str, Bounds(pattern=r"^[a-zA-Z0-9_-]+$", max_length=128)]
