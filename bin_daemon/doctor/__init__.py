"""Examines a bin and the machine it runs on, and says how to repair what is wrong.

A `Site` flows in, one `Finding` for each check flows out. Every check has a deadline, and one that
raises is a finding too. Nothing is changed, no servo moves, and devices that the running daemon
holds are left alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bin_daemon.core.errors import OverdueError
from bin_daemon.core.worker import within
from bin_daemon.doctor import devices, machine, software
from bin_daemon.doctor.finding import Finding, Level, Site, fault, site_of

__all__ = ["CHECKS", "Check", "Finding", "Level", "Site", "examine", "site_of"]


class Check(NamedTuple):
    """One part of the examination. limit_s: how long it may take."""

    name: str
    look: Callable[[Site], Finding]
    limit_s: float = 10.0


CHECKS = (
    Check("system", machine.system),
    Check("configuration", software.configuration),
    Check("runtime", software.runtime, 60.0),
    Check("model", software.model, 60.0),
    Check("groups", machine.groups),
    Check("runtime folder", machine.runtime_folder),  # before 'pins', which settles it for itself
    Check("camera", devices.camera, 30.0),
    Check("pins", devices.pins),
    Check("hardware PWM", devices.hardware_pwm),
    Check("servo board", devices.servo_board),
    Check("broker", software.broker, 30.0),
    Check("clock", machine.clock),
    Check("disk", machine.disk),
    Check("power", machine.power),
    Check("temperature", machine.temperature),
    Check("service", machine.service),
    Check("board watchdog", machine.board_watchdog),
)


def examine(site: Site, checks: tuple[Check, ...] = CHECKS) -> Iterator[tuple[str, Finding]]:
    """Carry out the checks one after the other; the name and the finding of each."""
    for check in checks:
        try:
            found = within(
                check.limit_s, functools.partial(check.look, site), f"doctor {check.name}"
            )
        except OverdueError:
            found = fault(
                f"no answer within {check.limit_s:g} s: a driver or the machine hangs",
                "sudo dmesg | tail -20; then restart the machine",
            )
        # One check that fails must not hide the others.
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            found = fault(f"the check itself failed: {words}", "please report this")
        yield check.name, found
