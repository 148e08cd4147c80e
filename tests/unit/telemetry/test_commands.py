"""Commands over MQTT."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bin_daemon.control.dispatcher import Dispatcher
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.messages import stamp
from bin_daemon.telemetry.commands import handle
from bin_daemon.telemetry.topics import Topics

NOW = 1_800_000_000.0
COMMAND = json.dumps({"cmd_id": "c1", "expires": stamp(NOW + 60)}).encode()


def handled(
    topic: str, payload: bytes, done: list[Mapping[str, Any]], *, retained: bool = False
) -> tuple[str, dict[str, Any]] | None:
    """What a bin answers whose one verb notes its arguments."""
    dispatcher = Dispatcher({"pause": done.append}, SimulatedClock(wall=NOW))
    return handle(Topics("bins", "b1"), dispatcher, topic, payload, retained=retained)


def test_a_command_is_run_and_answered_on_the_topic_of_its_verb() -> None:
    done: list[Mapping[str, Any]] = []

    answer = handled("bins/b1/cmd/pause", COMMAND, done)

    assert answer == ("bins/b1/cmd_result/pause", {"cmd_id": "c1", "ok": True, "error": None})
    assert done == [{}]


def test_a_refusal_is_answered_in_words() -> None:
    _, result = handled("bins/b1/cmd/dance", COMMAND, []) or ("", {})

    assert result == {
        "cmd_id": "c1", "ok": False, "error": "unknown verb 'dance'; this bin knows pause",
    }  # fmt: skip


def test_a_retained_command_is_neither_run_nor_answered() -> None:
    done: list[Mapping[str, Any]] = []

    assert handled("bins/b1/cmd/pause", COMMAND, done, retained=True) is None
    assert done == []


def test_a_topic_that_names_no_command_is_ignored() -> None:
    assert handled("bins/b1/cmd/a/b", b"{}", []) is None
