"""Fill the templates of report and card: figures flow in, text flows out.

No figure is computed here. What goes into HTML is escaped by Jinja, except where a template says
that it is markup of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    environment.filters |= {"number": number, "share": share, "span": span, "words": gate.words}
    return environment.get_template(template.name).render(values)


def number(value: float | None) -> str:
    """Three decimals, or a dash for what was not measured."""
    return "-" if value is None else f"{value:.3f}"


def share(value: float | None) -> str:
    """A percentage, or a dash for what was not measured."""
    return "-" if value is None else f"{value:.1%}"


def span(pair: Sequence[float]) -> str:
    """An interval."""
    return f"{pair[0]:.3f} to {pair[1]:.3f}"
