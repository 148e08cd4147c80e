"""What a check of the doctor takes, and what it returns.

A `Site` flows in: the bin as far as it is known before anything is touched. A `Finding` flows out:
the level, what was seen, and the remedy.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pwd
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from bin_daemon.config.sections import Config
from bin_daemon.core import paths
from bin_daemon.core.errors import ConfigError
from bin_daemon.daemon.lock import in_use

SERVICE_USER = "bin-daemon"


class Level(StrEnum):
    """How serious a finding is."""

    GOOD = "good"
    WARNING = "warning"  # it works, but not well or not for long
    FAULT = "fault"  # the bin will not work like this
    NOT_APPLICABLE = "n/a"  # there is nothing to check


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """The answer of one check. seen: what it saw. remedy: a command, a line to write, or advice."""

    level: Level
    seen: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        """What `doctor --json` prints of it; the keys are a contract."""
        return {"level": self.level, "seen": self.seen, "mend": self.remedy}


good = functools.partial(Finding, Level.GOOD)
warning = functools.partial(Finding, Level.WARNING)
fault = functools.partial(Finding, Level.FAULT)
inapplicable = functools.partial(Finding, Level.NOT_APPLICABLE)


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
        texts = (self.text("/proc/device-tree/model"), self.text("/proc/cpuinfo"))
        found = re.search(
            r"^(?:Model\s*:\s*)?(.*Raspberry Pi.*)", "\n".join(filter(None, texts)), re.MULTILINE
        )
        return found[1] if found else ""


def configured(look: Callable[[Site, Config], Finding]) -> Callable[[Site], Finding]:
    """Make a check of `look`, which needs a configuration that can be read."""

    @functools.wraps(look)
    def check(site: Site) -> Finding:
        if site.config is None:
            return inapplicable("not without a configuration that can be read")
        return look(site, site.config)

    return check


def site_of(name: str, state: Path | None = None) -> Site:
    """What is to be examined: the configuration `name`, and the state folder of its daemon.

    state: that of the installed service, or the user's own, where None.
    """
    from bin_daemon.config.load import load_config

    config, error = None, ""
    try:
        config = load_config(name)
    except ConfigError as wrong:
        error = str(wrong)
    installed = any(user.pw_name == SERVICE_USER for user in pwd.getpwall())
    user = SERVICE_USER if installed else pwd.getpwuid(os.geteuid()).pw_name
    state = state or (paths.SYSTEM_STATE if installed else paths.state())
    return Site(name, config, error, state, in_use(state), user)
