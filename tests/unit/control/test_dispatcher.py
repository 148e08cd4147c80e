"""Commands from outside: what runs, what does not, and what is answered."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bin_daemon.control.dispatcher import MAX_BYTES, REMEMBERED, Answer, Dispatcher, Refusal
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.errors import UsageError
from bin_daemon.core.messages import stamp

NOW = 1_800_000_000.0


class Bin:
    """A daemon with three verbs, which writes down what it was asked to do."""

    def __init__(self) -> None:
        self.done: list[tuple[str, Mapping[str, Any]]] = []
        self.clock = SimulatedClock(wall=NOW)
        verbs = {"pause": self.pause, "sort": self.sort, "break": self.break_}
        self.dispatcher = Dispatcher(verbs, self.clock)

    def pause(self, args: Mapping[str, Any]) -> None:
        """A verb that works."""
        self.done.append(("pause", args))

    def sort(self, args: Mapping[str, Any]) -> None:
        """A verb that refuses."""
        raise UsageError(f"route: no route {args['route']!r}")

    def break_(self, _: Mapping[str, Any]) -> None:
        """A verb with a fault."""
        raise KeyError("secret")

    def ask(self, verb: str, payload: Any) -> Answer:
        """Send a payload (JSON unless bytes)."""
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self.dispatcher.dispatch(verb, raw)


def command(cmd_id: str = "c1", expires_in_s: float = 60, **more: Any) -> dict[str, Any]:
    """The payload of a command."""
    return {"cmd_id": cmd_id, "expires": stamp(NOW + expires_in_s), **more}


def test_a_command_is_run_with_its_arguments_and_answered() -> None:
    bin_ = Bin()

    result = bin_.ask("pause", command(args={"minutes": 5}))

    assert result == Answer("c1")
    assert result.ok
    assert bin_.done == [("pause", {"minutes": 5})]


def test_arguments_may_be_left_out() -> None:
    bin_ = Bin()

    assert bin_.ask("pause", command()).ok
    assert bin_.done == [("pause", {})]


def test_an_expired_command_is_refused_with_the_time_of_the_bin() -> None:
    bin_ = Bin()

    result = bin_.ask("pause", command(expires_in_s=-1))

    assert result.refusal is Refusal.EXPIRED
    assert result.error == f"expired at {stamp(NOW - 1)}; the clock of this bin says {stamp(NOW)}"
    assert bin_.done == []


@pytest.mark.parametrize("zone", ["+01:00", "-05:30", "Z"])
def test_the_expiry_may_be_in_any_zone(zone: str) -> None:
    bin_ = Bin()
    in_2030, in_2020 = f"2030-01-01T00:00:00{zone}", f"2020-01-01T00:00:00{zone}"

    assert bin_.ask("pause", {"cmd_id": "a", "expires": in_2030}).ok
    assert not bin_.ask("pause", {"cmd_id": "b", "expires": in_2020}).ok


@pytest.mark.parametrize("expires", ["soon", "2030-01-01T00:00:00", ""])
def test_an_expiry_that_is_no_moment_is_refused_with_an_example(expires: str) -> None:
    result = Bin().ask("pause", {"cmd_id": "c1", "expires": expires})

    assert result.refusal is Refusal.EXPIRED
    assert stamp(NOW + 60) in str(result.error)


def test_a_repeated_command_is_answered_again_and_not_run_again() -> None:
    bin_ = Bin()

    first = bin_.ask("pause", command())
    bin_.clock.sleep(3600)
    second = bin_.ask("pause", command())

    assert first == second
    assert len(bin_.done) == 1


def test_the_same_id_for_another_verb_is_another_command() -> None:
    bin_ = Bin()
    bin_.ask("break", command())

    assert bin_.ask("pause", command()).ok


def test_the_memory_of_commands_is_bounded() -> None:
    bin_ = Bin()
    for number in range(REMEMBERED + 1):
        bin_.ask("pause", command(f"c{number}"))

    bin_.ask("pause", command(f"c{REMEMBERED}"))
    assert len(bin_.done) == REMEMBERED + 1
    bin_.ask("pause", command("c0"))
    assert len(bin_.done) == REMEMBERED + 2


def test_an_unknown_verb_is_answered_with_those_that_are_known() -> None:
    result = Bin().ask("explode", command())

    assert result.refusal is Refusal.UNKNOWN
    assert result.error == "unknown verb 'explode'; this bin knows break, pause, sort"


def test_a_refusal_of_the_daemon_goes_back_in_its_words() -> None:
    result = Bin().ask("sort", command(args={"route": "moon"}))

    assert result == Answer("c1", Refusal.REFUSED, "route: no route 'moon'")


def test_a_fault_of_the_daemon_is_answered_without_its_innards() -> None:
    result = Bin().ask("break", command())

    assert result.refusal is Refusal.FAILED
    assert result.error == "break failed inside the daemon; its log says why"


@pytest.mark.parametrize(
    ("payload", "cmd_id", "words"),
    [
        (b"{", None, "not JSON"),
        (b"\xff\xfe\x00", None, "not JSON"),
        (b"[" * 10_000, None, "not JSON"),
        ([1], None, "payload"),
        ({"cmd_id": "c1"}, "c1", "expires: is needed"),
        ({"expires": stamp(NOW)}, None, "cmd_id: is needed"),
        ({"cmd_id": 7, "expires": stamp(NOW)}, None, "cmd_id: input should be a valid string"),
        (command(args=[1]), "c1", "args: input should be a valid dictionary"),
        (command(when="now"), "c1", "when: unknown key"),
        (command("x" * 65), None, "cmd_id: string should have at most 64 characters"),
        (b" " * (MAX_BYTES + 1), None, f"too long: {MAX_BYTES + 1} bytes"),
    ],
)
def test_a_malformed_command_is_answered_with_what_is_wrong(
    payload: Any, cmd_id: str | None, words: str
) -> None:
    bin_ = Bin()

    result = bin_.ask("pause", payload)

    assert result.cmd_id == cmd_id
    assert result.refusal is Refusal.MALFORMED
    assert words in str(result.error)
    assert bin_.done == []


def test_a_repeat_through_another_door_waits_for_the_first_and_is_not_run() -> None:
    inside, release = threading.Event(), threading.Event()
    done: list[Mapping[str, Any]] = []

    def slow(args: Mapping[str, Any]) -> None:
        inside.set()
        release.wait(5.0)
        done.append(args)

    dispatcher = Dispatcher({"pause": slow}, SimulatedClock(wall=NOW))
    payload = json.dumps(command()).encode()
    answers: list[Answer] = []
    doors = [
        threading.Thread(target=lambda: answers.append(dispatcher.dispatch("pause", payload)))
        for _ in range(2)
    ]

    doors[0].start()
    inside.wait(5.0)
    doors[1].start()
    release.set()
    for door in doors:
        door.join(5.0)

    assert answers == [Answer("c1"), Answer("c1")]
    assert len(done) == 1


@given(st.binary(max_size=200))
def test_no_payload_gets_past_the_check_or_breaks_it(payload: bytes) -> None:
    bin_ = Bin()

    assert bin_.ask("pause", payload).refusal is Refusal.MALFORMED
    assert bin_.done == []
