"""The wiring page: what a person with a screwdriver reads there is what the profiles say."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bin_daemon.config.load import load_config

DOCS = Path(__file__).resolve().parents[3] / "docs"
CHIP_WIDTH = "104"  # of a wire's box; those of the legend are narrower
PROFILES = ("flap", "rotary_trapdoor", "four_stream")

# GPIO by position on the 40-pin header, the same on every board since 2014.
GPIO_AT = {
    3: 2, 5: 3, 7: 4, 8: 14, 10: 15, 11: 17, 12: 18, 13: 27, 15: 22, 16: 23, 18: 24, 19: 10,
    21: 9, 22: 25, 23: 11, 24: 8, 26: 7, 27: 0, 28: 1, 29: 5, 31: 6, 32: 12, 33: 13, 35: 19,
    36: 16, 37: 26, 38: 20, 40: 21,
}  # fmt: skip


def _pins(section: Any) -> Iterator[int]:
    """Every GPIO number in a part of a configuration."""
    if isinstance(section, dict):
        for part in section.values():
            yield from _pins(part)
    elif dataclasses.is_dataclass(section):
        for field in dataclasses.fields(section):
            value = getattr(section, field.name)
            if field.name in ("pin", "trigger", "echo"):
                yield value
            else:
                yield from _pins(value)


def _table(profile: str) -> list[tuple[int, int]]:
    """Position and GPIO of each row of a profile's table."""
    page = (DOCS / "wiring.md").read_text(encoding="utf-8")
    part = page.split(f"\n### {profile}\n", 1)[1].split("\n#", 1)[0]
    rows = re.findall(r"^\| (\d+) \| (\d+) \|", part, re.MULTILINE)
    return [(int(position), int(gpio)) for position, gpio in rows]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_pin_table_lists_every_gpio_of_its_profile_once(profile: str) -> None:
    config = load_config(profile)
    configured = [*_pins(config.chute), *_pins(config.sensors), *_pins(config.outputs)]

    listed = [gpio for _, gpio in _table(profile)]

    assert sorted(listed) == sorted(configured)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_pin_table_names_the_true_position_of_every_gpio(profile: str) -> None:
    wrong = [(position, gpio) for position, gpio in _table(profile) if GPIO_AT[position] != gpio]

    assert wrong == []


def test_the_map_of_the_header_shows_as_many_wires_as_the_tables_together() -> None:
    drawing = ET.parse(DOCS / "wiring-header.svg")

    chips = [
        box
        for box in drawing.iter("{http://www.w3.org/2000/svg}rect")
        if box.get("class") in ("servo", "input", "output") and box.get("width") == CHIP_WIDTH
    ]

    assert len(chips) == sum(len(_table(profile)) for profile in PROFILES)
