"""Remote commands: what arrives on `cmd/<verb>` is checked, run once, and answered.

Raw messages flow in, results flow out; what a verb does is the app's business, given as a mapping.
Retained, expired, malformed and repeated commands never run: a bin must not move because a broker
remembers something.
"""

from __future__ import annotations

import collections
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import datetime
from typing import Annotated, Any

from bin_daemon.config.schema import Length, section
from bin_daemon.config.validate import Invalid, check
from bin_daemon.core.clock import Clock
from bin_daemon.core.errors import BinDaemonError
from bin_daemon.core.messages import stamp
from bin_daemon.telemetry.topics import Topics

log = logging.getLogger(__name__)

Verbs = Mapping[str, Callable[[Mapping[str, Any]], None]]

MAX_BYTES = 16_384
REMEMBERED = 256  # results kept, so that a repeated command is answered and not run again


@section
class _Command:
    """The payload of a command."""

    cmd_id: Annotated[str, Length(1, 64)]
    expires: str
    args: dict[str, Any] = field(default_factory=dict)


class _MalformedError(ValueError):
    """The payload is no command; carries its id as far as that could be read."""

    def __init__(self, cmd_id: str | None, why: str) -> None:
        super().__init__(why)
        self.cmd_id = cmd_id


class Commands:
    """Runs commands through the verbs of the app.

    verbs: verb -> what to call with the arguments. It must only hand the work on, since the caller
    waits, and raises BinDaemonError where it refuses; the error's words go back to the sender.
    """

    def __init__(self, topics: Topics, verbs: Verbs, clock: Clock) -> None:
        self._topics, self._verbs, self._clock = topics, dict(verbs), clock
        self._results: collections.OrderedDict[tuple[str, str], dict[str, Any]] = (
            collections.OrderedDict()
        )

    def handle(
        self, topic: str, payload: bytes, *, retained: bool
    ) -> tuple[str, dict[str, Any]] | None:
        """Run what arrived; the topic and the payload to answer with, or None for no answer."""
        verb = self._topics.parse_command(topic)
        if verb is None:
            log.warning("ignored a message on %r: it names no command", topic)
            return None
        if retained:
            log.warning("ignored a retained command on %s: send commands without retain", topic)
            return None
        return self._topics.command_result(verb), self._result(verb, payload)

    def _result(self, verb: str, payload: bytes) -> dict[str, Any]:
        try:
            command = _parse(payload)
        except _MalformedError as error:
            return _answer(error.cmd_id, str(error))
        key = (verb, command.cmd_id)
        if key in self._results:
            return self._results[key]
        result = _answer(command.cmd_id, self._run(verb, command))
        self._results[key] = result
        while len(self._results) > REMEMBERED:
            self._results.popitem(last=False)
        return result

    def _run(self, verb: str, command: _Command) -> str | None:
        """Run a command; None where that went well, else what is wrong."""
        action = self._verbs.get(verb)
        if action is None:
            return f"unknown verb '{verb}'; this bin knows {', '.join(sorted(self._verbs))}"
        try:
            deadline = datetime.fromisoformat(command.expires)
        except ValueError:
            deadline = None
        if deadline is None or deadline.tzinfo is None:
            return (
                f"expires: {command.expires!r} is no time with a zone; "
                f"write it as {stamp(self._clock.time() + 60)}"
            )
        now = self._clock.time()
        if deadline.timestamp() <= now:
            return f"expired at {command.expires}; the clock of this bin says {stamp(now)}"
        log.info("command %s %s (%r)", verb, command.args, command.cmd_id)
        try:
            action(command.args)
        except BinDaemonError as error:
            return str(error)
        except Exception:
            log.exception("command %s failed", verb)
            return f"{verb} failed inside the daemon; its log says why"
        return None


def _answer(cmd_id: str | None, error: str | None) -> dict[str, Any]:
    return {"cmd_id": cmd_id, "ok": error is None, "error": error}


def _parse(payload: bytes) -> _Command:
    """The command in a payload. Raises _MalformedError."""
    if len(payload) > MAX_BYTES:
        raise _MalformedError(
            None, f"too long: {len(payload)} bytes, at most {MAX_BYTES} are taken"
        )
    try:
        raw = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise _MalformedError(None, f"not JSON: {error}") from error
    cmd_id = raw.get("cmd_id") if isinstance(raw, dict) else None
    try:
        if not isinstance(raw, dict):
            raise Invalid([((), "a JSON object is needed")])
        return check(_Command, raw)
    except Invalid as invalid:
        known = cmd_id if isinstance(cmd_id, str) and len(cmd_id) <= 64 else None
        faults = [f"{'.'.join(key) or 'payload'}: {words}" for key, words in invalid.faults]
        raise _MalformedError(known, "; ".join(faults)) from invalid
