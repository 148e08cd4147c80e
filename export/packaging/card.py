"""The model card: what a person should know before trusting the model. Figures in, Markdown out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.evaluation import gate
from export.evaluation.chambers import STEPS
from export.report.template import fill

TEMPLATE = Path(__file__).with_name("card.md.j2")
KINDS = {
    "folded": "MobileNetV2 1.0/224, full int8",
    "keras": "a published backbone with a head of its own, full int8",
    "imported": "an imported classifier",
}


def card(
    name: str,
    version: int,
    report: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    teachable: bool,
) -> str:
    """The card of the package `name` and `version`.

    Takes the content of evaluation.json and config.json, and whether the model gives an embedding.
    """
    text = fill(
        TEMPLATE,
        name=name,
        version=version,
        report=report,
        config=config,
        figures=gate.quoted(report),
        kind=KINDS[config["kind"]],
        settings=_flat(config["settings"]),
        steps=STEPS,
        teachable=teachable,
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def _flat(settings: Mapping[str, Any]) -> str:
    """Settings of any depth as one line of `key value`."""
    words = (
        _flat(value) if isinstance(value, Mapping) else f"{key.replace('_', ' ')} {value}"
        for key, value in settings.items()
    )
    return "; ".join(word for word in words if word)
