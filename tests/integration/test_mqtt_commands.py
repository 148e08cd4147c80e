"""Remote commands over a real mosquitto."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mqtt_parts import STATUS, Broker, Ear, Listen, NewBin, NewBroker
from waiting import wait_until

from bin_daemon.core.messages import stamp

PAUSE, PAUSED = "bins/b1/cmd/pause", "bins/b1/cmd_result/pause"


def command(cmd_id: str, expires_in_s: float = 60) -> str:
    """A command without arguments."""
    return json.dumps({"cmd_id": cmd_id, "expires": stamp(time.time() + expires_in_s)})


def answers(ear: Ear, count: int) -> list[dict[str, Any]]:
    """Wait for so many answers of the pause command."""
    wait_until(lambda: len(ear.payloads(PAUSED)) >= count, f"{count} answers")
    return [json.loads(payload) for payload in ear.payloads(PAUSED)]


def test_a_command_is_run_once_and_answered_not_retained(
    broker: Broker, listen: Listen, new_bin: NewBin
) -> None:
    done: list[Mapping[str, Any]] = []
    ear = listen(broker)
    new_bin(broker, verbs={"pause": done.append}).start()
    wait_until(lambda: ear.payloads(STATUS), "the bin to come online")

    ear.say(PAUSE, command("c1"))
    ear.say(PAUSE, command("c1"))
    ear.say(PAUSE, command("c2", expires_in_s=-5))
    told = answers(ear, 3)

    assert [(answer["cmd_id"], answer["ok"]) for answer in told] == [
        ("c1", True), ("c1", True), ("c2", False),
    ]  # fmt: skip
    assert len(done) == 1
    assert not any(retain for topic, _, retain in ear.heard if topic == PAUSED)


def test_a_command_that_the_broker_retained_is_ignored_before_and_after_the_birth(
    broker: Broker, listen: Listen, new_bin: NewBin
) -> None:
    done: list[Mapping[str, Any]] = []
    ear = listen(broker)
    ear.say(PAUSE, command("early"), retain=True)
    new_bin(broker, verbs={"pause": done.append}).start()
    wait_until(lambda: ear.payloads(STATUS), "the bin to come online")

    ear.say(PAUSE, command("late"), retain=True)
    ear.say(PAUSE, command("plain"))
    told = answers(ear, 1)

    assert [answer["cmd_id"] for answer in told] == ["plain"]
    assert len(done) == 1


def test_commands_work_again_after_the_broker_was_away(
    broker: Broker, listen: Listen, new_bin: NewBin
) -> None:
    done: list[Mapping[str, Any]] = []
    publisher = new_bin(broker, verbs={"pause": done.append})
    publisher.start()
    wait_until(lambda: publisher.connected, "the first connection")
    broker.stop()
    broker.start()
    ear = listen(broker)
    wait_until(lambda: ear.payloads(STATUS), "the second birth")

    ear.say(PAUSE, command("c1"))

    assert answers(ear, 1)[0]["ok"]
    assert len(done) == 1


def test_what_is_no_command_is_answered_and_harms_nothing(
    broker: Broker, listen: Listen, new_bin: NewBin
) -> None:
    ear = listen(broker)
    new_bin(broker, verbs={"pause": lambda _: None}).start()
    wait_until(lambda: ear.payloads(STATUS), "the bin to come online")

    ear.say("bins/b1/cmd/a/b", "{}")
    ear.say("bins/b1/cmd", "{}")
    ear.say(PAUSE, "x" * 20_000)
    ear.say(PAUSE, "x" * 200_000)  # longer than the bin lets the broker send
    ear.say(PAUSE, "{}")
    ear.say(PAUSE, command("good"))
    told = answers(ear, 3)

    assert [answer["ok"] for answer in told] == [False, False, True]
    assert "too long" in told[0]["error"]


def test_a_refused_subscription_is_reported(new_broker: NewBroker, new_bin: NewBin) -> None:
    plugin = next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"), None)
    if plugin is None:
        pytest.skip("needs mosquitto's dynamic security plugin")
    broker = new_broker()
    access = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False}
    rules = broker.config.with_name("rules.json")
    rules.write_text(json.dumps({"defaultACLAccess": {**access, "unsubscribe": True}}))
    with broker.config.open("a") as config:
        config.write(f"plugin {plugin}\nplugin_opt_config_file {rules}\n")
    broker.start()
    publisher = new_bin(broker)

    publisher.start()
    told = wait_until(publisher.problems, "the refusal to be told")

    assert told == (
        f"broker 127.0.0.1:{broker.port} refuses bins/b1/cmd/#: Not authorized",
    )  # fmt: skip
