"""Brings a configuration of an older layout to the present one.

Plain data flows in, plain data of the present `SCHEMA_VERSION` flows out; one step for each
version, so that any old file takes all that follow its own. `load_config` does it in memory at
every start; `bin-daemon check-config --migrate` writes it back.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from bin_daemon.config.sections import SCHEMA_VERSION


def version_of(data: Any) -> int | None:
    """The version that plain data says it has; None where it says none that could be one."""
    version = data.get("version") if isinstance(data, dict) else None
    return version if type(version) is int and version > 0 else None


def migrated(data: Any) -> Any:
    """`data` in the present layout: a changed copy, or itself where there is nothing to change.

    What has no version, or one of the future, is left for the check to refuse.
    """
    version = version_of(data)
    if version is None or version >= SCHEMA_VERSION:
        return data
    data = copy.deepcopy(data)
    for step in _STEPS[version - 1 :]:
        step(data)
        data["version"] += 1
    return data


def _from_1(data: dict[str, Any]) -> None:
    """Version 1 knew one way to make pulses on a Pi; 'auto' takes the best that there is."""
    chute = data.get("chute")
    if isinstance(chute, dict) and chute.get("pins") == "lgpio":
        chute["pins"] = "auto"


_STEPS: tuple[Callable[[dict[str, Any]], None], ...] = (_from_1,)
