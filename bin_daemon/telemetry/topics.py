"""The names of the MQTT topics, and nothing else: who publishes or subscribes asks here.

A prefix and a bin id flow in, topic names flow out. A part of a name that comes from elsewhere (an
alert's kind, a fill stream, a verb) is checked: nobody can smuggle in a level or a wildcard.
"""

from __future__ import annotations

import re

from bin_daemon.core.errors import UsageError

_LEVEL = re.compile(r"[a-zA-Z0-9_-]+")


class Topics:
    """The topics of one bin: `<prefix>/<bin_id>/...`; the prefix may have several levels."""

    def __init__(self, prefix: str, bin_id: str) -> None:
        self.root = f"{prefix}/{bin_id}"  # what every topic of this bin begins with
        self.status = f"{self.root}/status"  # whether the bin is online; also the last will
        self.info = f"{self.root}/info"  # what the bin is made of: versions, model, hardware
        self.health = f"{self.root}/health"  # how the bin is, in figures
        self.state = f"{self.root}/state"  # where the sort cycle stands, and the counters
        self.item = f"{self.root}/event/item"  # the sort events
        self.command_filter = f"{self.root}/cmd/#"  # what to subscribe to for the commands

    def alert(self, kind: str) -> str:
        """The alert of a kind. Raises UsageError where `kind` is no topic level."""
        return f"{self.root}/alert/{_level(kind, 'kind of alert')}"

    def fill(self, stream: str) -> str:
        """The fill level of a compartment. Raises UsageError where `stream` is no topic level."""
        return f"{self.root}/fill/{_level(stream, 'fill stream')}"

    def command_result(self, verb: str) -> str:
        """Where a command is answered. Raises UsageError where `verb` is no topic level."""
        return f"{self.root}/cmd_result/{_level(verb, 'verb')}"

    def parse_command(self, topic: str) -> str | None:
        """The verb of a command topic of this bin; None where `topic` is not one."""
        return _last_level(topic, f"{self.root}/cmd/")

    def parse_alert(self, topic: str) -> str | None:
        """The kind of an alert topic of this bin; None where `topic` is not one."""
        return _last_level(topic, f"{self.root}/alert/")


def _level(text: str, what: str) -> str:
    if not _LEVEL.fullmatch(text):
        raise UsageError(f"{text!r} cannot name a {what}: use letters, digits, _ and - only")
    return text


def _last_level(topic: str, head: str) -> str | None:
    level = topic.removeprefix(head)
    return level if topic.startswith(head) and _LEVEL.fullmatch(level) else None
