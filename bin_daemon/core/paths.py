"""Where things are: the one module that knows paths.

What the project ships (model packages, profiles, the reel) lies beside the package in a checkout
and under `<prefix>/share/bin-daemon` once installed; `BIN_DAEMON_SHARE` overrules both. What a bin
writes goes to its state directory, which systemd names in `STATE_DIRECTORY`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Where systemd keeps the state of the installed service (StateDirectory= of the unit).
SYSTEM_STATE = Path("/var/lib/bin-daemon")


def share() -> Path:
    """The folder that holds `models/` and `firmware_config/`."""
    if override := os.environ.get("BIN_DAEMON_SHARE"):
        return Path(override)
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "models").is_dir() and (checkout / "firmware_config").is_dir():
        return checkout
    return Path(sys.prefix) / "share" / "bin-daemon"


def models() -> Path:
    """The folder of the shipped model packages."""
    return share() / "models"


def profiles() -> Path:
    """The folder of the shipped configuration profiles."""
    return share() / "firmware_config"


def reel() -> Path:
    """The folder of the rendered demo reel."""
    return profiles() / "reel"


def state() -> Path:
    """The folder a bin writes to: systemd's, else that of the user (XDG Base Directory)."""
    if directory := os.environ.get("STATE_DIRECTORY"):
        return Path(directory.split(":")[0])
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "bin-daemon"


def teaching(state: Path) -> Path:
    """The folder, in a state directory, of what the bin was taught and learns from."""
    return state / "teaching"


def taught_head(state: Path) -> Path:
    """The head in use; none where nothing was taught."""
    return teaching(state) / "head.npz"
