"""Fill the templates of report and card: figures flow in, text flows out.

No figure is computed here. What goes into HTML is escaped by Jinja, except where a template says
that it is markup of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from export.errors import ExportError
from export.evaluation import gate

try:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
except ModuleNotFoundError as error:
    raise ExportError("no Jinja2 to write with: pip install 'bin-daemon[export]'") from error


def fill(template: Path, **values: Any) -> str:
    """The text of a template (`*.html.j2` or `*.md.j2`) with values in it.

    Templates have the filters `number`, `share` and `span`, and `words` for a check of the gate.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": _optional("{:.3f}"),
        "share": _optional("{:.1%}"),
        "span": lambda pair: "{:.3f} to {:.3f}".format(*pair),
        "words": gate.words,
    }
    return environment.get_template(template.name).render(values)


def _optional(pattern: str) -> Callable[[float | None], str]:
    """Writes a figure, or a dash for what was not measured."""
    return lambda value: "-" if value is None else pattern.format(value)
