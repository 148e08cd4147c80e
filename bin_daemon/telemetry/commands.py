"""Commands that come over MQTT: topics in and out, and the retain flag.

A message on `cmd/<verb>` flows in, what to publish as its answer flows out; everything between is
the dispatcher's. A retained command never gets there: a bin must not move because a broker
remembers something.
"""

from __future__ import annotations

import logging
from typing import Any

from bin_daemon.control.dispatcher import Dispatcher
from bin_daemon.telemetry.topics import Topics

log = logging.getLogger(__name__)


def handle(
    topics: Topics, dispatcher: Dispatcher, topic: str, payload: bytes, *, retained: bool
) -> tuple[str, dict[str, Any]] | None:
    """Run what arrived; the topic and the payload to answer with, or None for no answer."""
    verb = topics.parse_command(topic)
    if verb is None:
        log.warning("ignored a message on %r: it names no command", topic)
        return None
    if retained:
        log.warning("ignored a retained command on %s: send commands without retain", topic)
        return None
    answer = dispatcher.dispatch(verb, payload)
    result = {"cmd_id": answer.cmd_id, "ok": answer.ok, "error": answer.error}
    return topics.command_result(verb), result
