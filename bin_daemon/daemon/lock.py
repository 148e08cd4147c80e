"""Who may touch the devices of a bin: the daemon, or a person at the command line, never both.

The daemon holds the lock file of its state directory for as long as it runs. Commands that move a
servo or claim a pin hold the same lock while they run. They never create the file: one created by
root would keep the daemon out.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterable, Iterator
from pathlib import Path

from bin_daemon.core.errors import AlreadyRunningError, StoreError

UNIT = "bin-daemon.service"


def in_use(state: Path) -> bool:
    """Whether a daemon runs on this state directory; where it may not be read, systemd is asked."""
    with contextlib.ExitStack() as held:
        # Shared, so that two who ask at the same time do not take each other for the daemon.
        return _taken(state, fcntl.LOCK_SH, held)


def unit_active() -> bool:
    """Whether systemd says that the service runs; False where there is no systemd."""
    import subprocess

    asked = ["systemctl", "is-active", "--quiet", UNIT]
    try:
        return subprocess.run(asked, timeout=5.0, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@contextlib.contextmanager
def hold(state: Path) -> Iterator[None]:
    """Hold the lock of a state directory, created where it is missing; for the daemon itself.

    Raises AlreadyRunningError where another daemon holds it, StoreError where it cannot be written.
    """
    try:
        state.mkdir(parents=True, exist_ok=True)
        file = (state / "lock").open("w")
    except OSError as error:
        message = f"{state}: cannot write there: {error.strerror}; choose another with --state"
        raise StoreError(message) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            message = (
                f"another bin-daemon uses {state}; stop it first, or give this one its own --state"
            )
            raise AlreadyRunningError(message) from None
        yield


@contextlib.contextmanager
def devices_to_oneself(states: Iterable[Path]) -> Iterator[None]:
    """Keep the daemons of these state directories from starting while the block lasts.

    Raises AlreadyRunningError where one runs.
    """
    with contextlib.ExitStack() as held:
        for state in states:
            if _taken(state, fcntl.LOCK_EX, held):
                raise AlreadyRunningError(
                    f"the daemon is running on {state} and holds camera and pins; stop it first "
                    f"(`sudo systemctl stop bin-daemon`, or Ctrl-C where it was started by hand), "
                    f"and start it again afterwards"
                )
        yield


def _taken(state: Path, mode: int, held: contextlib.ExitStack) -> bool:
    """Lock a state directory until `held` ends; whether a daemon has it already."""
    try:
        file = held.enter_context((state / "lock").open())
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except PermissionError:
        return unit_active()
    except OSError:
        pass  # no such file: nothing has ever run there
    return False
