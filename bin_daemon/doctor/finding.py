"""What a check of the doctor takes, and what it returns.

A `Site` flows in: the bin as far as it is known before anything is touched. A `Finding` flows out:
the level, what was seen, and the remedy.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pwd
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from bin_daemon.core import paths
from bin_daemon.core.errors import ConfigError
from bin_daemon.daemon.lock import in_use

if TYPE_CHECKING:
    from bin_daemon.config.sections import Config

SERVICE_USER = "bin-daemon"


class Level(StrEnum):
    """How serious a finding is."""

    GOOD = "good"
    WARNING = "warning"
    FAULT = "fault"
    NOT_APPLICABLE = "n/a"


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """The answer of one check. seen: what it saw. remedy: a command, a line to write, or advice."""

    level: Level
    seen: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        """What `doctor --json` prints of it; the keys are a contract."""
        return {"level": self.level, "seen": self.seen, "mend": self.remedy}


def good(seen: str) -> Finding:
    """It is as it should be."""
    return Finding(Level.GOOD, seen)


def warning(seen: str, remedy: str) -> Finding:
    """It works, but not well or not for long."""
    return Finding(Level.WARNING, seen, remedy)


def fault(seen: str, remedy: str) -> Finding:
    """The bin will not work like this."""
    return Finding(Level.FAULT, seen, remedy)


def not_applicable(seen: str) -> Finding:
    """There is nothing to check; seen: why."""
    return Finding(Level.NOT_APPLICABLE, seen)


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """The bin that is examined.

    name: of the configuration. config: its content, or None with `config_error`. state: the folder
    that the daemon writes to. running: whether a daemon does. user: who runs the service. root:
    where the files of the system lie.
    """

    name: str
    config: Config | None
    config_error: str
    state: Path
    running: bool
    user: str
    root: Path = Path("/")

    def text(self, path: str) -> str | None:
        """The content of a system file; None where it cannot be read."""
        try:
            return self.at(path).read_text(errors="replace").strip("\0\n ")
        except OSError:
            return None

    def at(self, path: str) -> Path:
        """A system path below `root`."""
        return self.root / path.lstrip("/")

    @property
    def board(self) -> str:
        """The model of the Raspberry Pi; empty on any other machine."""
        model = self.text("/proc/device-tree/model") or ""
        if not model:
            lines = (self.text("/proc/cpuinfo") or "").splitlines()
            model = next((ln.partition(":")[2].strip() for ln in lines if ln[:5] == "Model"), "")
        return model if "Raspberry Pi" in model else ""


def configured(look: Callable[[Site, Config], Finding]) -> Callable[[Site], Finding]:
    """Make a check of `look`, which needs a configuration that can be read."""

    @functools.wraps(look)
    def check(site: Site) -> Finding:
        if site.config is None:
            return not_applicable("not without a configuration that can be read")
        return look(site, site.config)

    return check


def site_of(name: str, state: Path | None = None) -> Site:
    """What is to be examined: the configuration `name`, and the state folder of its daemon.

    state: that of the installed service, or the user's own, where None.
    """
    from bin_daemon.config.load import load_config

    config, error, user = None, "", _service_user()
    try:
        config = load_config(name)
    except ConfigError as wrong:
        error = str(wrong)
    if state is None:
        state = paths.SYSTEM_STATE if user == SERVICE_USER else paths.state()
    return Site(name, config, error, state, in_use(state), user)


def _service_user() -> str:
    names = {user.pw_name for user in pwd.getpwall()}
    return SERVICE_USER if SERVICE_USER in names else pwd.getpwuid(os.geteuid()).pw_name
