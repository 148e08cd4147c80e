"""What the workshop raises on purpose; `python -m export` prints it and exits with code 2."""

from bin_daemon.core.errors import UsageError


class ExportError(UsageError):
    """An input is missing or wrong, or a step is asked for before the one it builds on."""
