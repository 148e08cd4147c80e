"""Commands from outside: parsed, checked for age and repeats, run once, and answered.

A verb and the payload of a command flow in, an `Answer` flows out. Several channels (MQTT, a
socket) share one dispatcher, and may call it from threads of their own. It knows no topics and
moves nothing: what a verb does is the daemon's business, given as a mapping.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from bin_daemon.config.schema import Bounds, section
from bin_daemon.config.validate import InvalidError, check
from bin_daemon.core.clock import Clock
from bin_daemon.core.errors import BinDaemonError
from bin_daemon.core.messages import stamp

log = logging.getLogger(__name__)

Verb = Callable[[Mapping[str, Any]], None]

MAX_BYTES = 16_384
REMEMBERED = 256  # answers kept, so that a repeated command is answered and not run again
_ID_LENGTH = 64


class Refusal(StrEnum):
    """Why a command was not taken on."""

    MALFORMED = "malformed"  # the payload is no command
    UNKNOWN = "unknown"  # there is no such verb
    EXPIRED = "expired"  # it came too late, or does not say when that is
    REFUSED = "refused"  # the bin does not do it now, or not with these arguments
    FAILED = "failed"  # a fault of the daemon


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command.

    cmd_id: the sender's name for it; None where it could not be read. refusal: None where the bin
    has taken it on, which does not mean that it is done. error: the refusal in words.
    """

    cmd_id: str | None
    refusal: Refusal | None = None
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the bin has taken the command on."""
        return self.refusal is None


@section
class _Command:
    """The payload of a command."""

    cmd_id: Annotated[str, Bounds(min_length=1, max_length=_ID_LENGTH)]
    expires: str
    args: dict[str, Any] = field(default_factory=dict)


class Dispatcher:
    """Runs commands through the verbs of the daemon.

    verbs: verb -> what to call with the arguments. It must only hand the work on, since the caller
    waits, and raises BinDaemonError where it refuses; the error's words go back to the sender.
    """

    def __init__(self, verbs: Mapping[str, Verb], clock: Clock) -> None:
        self._verbs, self._clock = dict(verbs), clock
        self._lock = threading.Lock()
        self._answers: collections.OrderedDict[tuple[str, str], Answer] = collections.OrderedDict()

    def dispatch(self, verb: str, payload: bytes) -> Answer:
        """Run the command in `payload`, unless it is malformed, expired or a repeat.

        A repeat - the same verb and id, through whatever channel - gets the answer of the first.
        """
        command = _parse(payload)
        if isinstance(command, Answer):
            return command
        key = (verb, command.cmd_id)
        with self._lock:  # a repeat that comes by another channel must find the first one done
            if key not in self._answers:
                self._answers[key] = self._run(verb, command)
            if len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
            return self._answers[key]

    def _run(self, verb: str, command: _Command) -> Answer:
        if verb not in self._verbs:
            words = f"unknown verb '{verb}'; this bin knows {', '.join(sorted(self._verbs))}"
            return Answer(command.cmd_id, Refusal.UNKNOWN, words)
        if overdue := self._overdue(command.expires):
            return Answer(command.cmd_id, Refusal.EXPIRED, overdue)
        log.info("command %s %s (%r)", verb, command.args, command.cmd_id)
        try:
            self._verbs[verb](command.args)
        except BinDaemonError as error:
            return Answer(command.cmd_id, Refusal.REFUSED, str(error))
        except Exception:
            log.exception("command %s failed", verb)
            words = f"{verb} failed inside the daemon; its log says why"
            return Answer(command.cmd_id, Refusal.FAILED, words)
        return Answer(command.cmd_id)

    def _overdue(self, expires: str) -> str:
        """What is wrong with the expiry; empty where the command is still good."""
        now = self._clock.time()
        try:
            late = datetime.fromisoformat(expires) <= datetime.fromtimestamp(now, UTC)
        except (ValueError, TypeError):  # it is no time, or one without a zone
            return f"expires: {expires!r} is no time with a zone; write it as {stamp(now + 60)}"
        return f"expired at {expires}; the clock of this bin says {stamp(now)}" if late else ""


def _parse(payload: bytes) -> _Command | Answer:
    """The command in a payload, or the answer to what is none."""
    if len(payload) > MAX_BYTES:
        words = f"too long: {len(payload)} bytes, at most {MAX_BYTES} are taken"
        return Answer(None, Refusal.MALFORMED, words)
    try:
        raw = json.loads(payload)
    except (ValueError, RecursionError) as error:
        return Answer(None, Refusal.MALFORMED, f"not JSON: {error}")
    if not isinstance(raw, dict):
        return Answer(None, Refusal.MALFORMED, "payload: a JSON object is needed")
    try:
        return check(_Command, raw)
    except InvalidError as invalid:
        cmd_id = raw.get("cmd_id")
        known = cmd_id if isinstance(cmd_id, str) and len(cmd_id) <= _ID_LENGTH else None
        faults = "; ".join(f"{'.'.join(key) or 'payload'}: {why}" for key, why in invalid.faults)
        return Answer(known, Refusal.MALFORMED, faults)
