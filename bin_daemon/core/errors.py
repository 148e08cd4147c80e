"""The exceptions of the daemon: one root, and one kind for each way to be wrong.

Every message says what is wrong, where, and what to do. Each kind also inherits the built-in that
it resembles, so that code which knows nothing of this package can still catch it.
"""

from enum import StrEnum


class Reason(StrEnum):
    """What an error is about, for code that has to act on it; its message is for people alone."""

    OTHER = "other"
    DRIVER_MISSING = "driver missing"  # a library that drives the device cannot be imported


class BinDaemonError(Exception):
    """Root of everything this package raises on purpose; the CLI prints it without a traceback."""

    def __init__(self, message: str = "", reason: Reason = Reason.OTHER) -> None:
        super().__init__(message)
        self.reason = reason


class UsageError(BinDaemonError, ValueError):
    """The caller asked for something that makes no sense; exit code 2."""


class ConfigError(UsageError):
    """The configuration is wrong; the message names file, line and key."""


class CameraError(BinDaemonError, OSError):
    """The camera cannot be opened, or gives no (usable) frame before its deadline."""


class CameraFinishedError(CameraError):
    """A replayed source has come to its end: no fault, there is just nothing more to see."""


class PictureError(BinDaemonError, ValueError):
    """A picture cannot be read, or has a shape or values that no camera gives."""


class ModelError(BinDaemonError, ValueError):
    """A model package is missing, damaged, or does not fit the runtime or the configuration."""


class ChuteError(BinDaemonError, RuntimeError):
    """A pin or a servo cannot be used."""


class StoreError(BinDaemonError, OSError):
    """A store, of events or samples, cannot be read or written (disk full, damaged file)."""


class AlreadyRunningError(BinDaemonError, RuntimeError):
    """Another daemon holds the lock of this state directory."""


class StalledError(BinDaemonError, RuntimeError):
    """A part of the daemon has made no progress before its deadline."""


class OverdueError(BinDaemonError, TimeoutError):
    """A call has not come back before its deadline, and was left behind."""
