"""The names of the MQTT topics, and nothing else: who publishes or subscribes asks here.

A prefix and a bin id flow in, topic names flow out. A part of a name that comes from elsewhere (an
alert's kind, a fill stream, a verb) is checked: nobody can smuggle in a level or a wildcard.
"""

from __future__ import annotations

import dataclasses
import re

from bin_daemon.core.errors import UsageError

_LEVEL = re.compile(r"[a-zA-Z0-9_-]+")


@dataclasses.dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one bin: `<prefix>/<bin_id>/...`; the prefix may have several levels."""

    prefix: str
    bin_id: str

    @property
    def root(self) -> str:
        """What every topic of this bin begins with, without a slash at the end."""
        return f"{self.prefix}/{self.bin_id}"

    @property
    def status(self) -> str:
        """Whether the bin is online; also the topic of the last will."""
        return f"{self.root}/status"

    @property
    def info(self) -> str:
        """What the bin is made of: versions, model, hardware."""
        return f"{self.root}/info"

    @property
    def health(self) -> str:
        """How the bin is, in figures."""
        return f"{self.root}/health"

    @property
    def state(self) -> str:
        """Where the sort cycle stands, and the counters."""
        return f"{self.root}/state"

    @property
    def item(self) -> str:
        """The sort events."""
        return f"{self.root}/event/item"

    def alert(self, kind: str) -> str:
        """The alert of a kind. Raises UsageError where `kind` is no topic level."""
        return f"{self.root}/alert/{_level(kind, 'kind of alert')}"

    def fill(self, stream: str) -> str:
        """The fill level of a compartment. Raises UsageError where `stream` is no topic level."""
        return f"{self.root}/fill/{_level(stream, 'fill stream')}"

    @property
    def command_filter(self) -> str:
        """What to subscribe to for the commands."""
        return f"{self.root}/cmd/#"

    def command(self, verb: str) -> str:
        """Where a command is sent to. Raises UsageError where `verb` is no topic level."""
        return f"{self.root}/cmd/{_level(verb, 'verb')}"

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
