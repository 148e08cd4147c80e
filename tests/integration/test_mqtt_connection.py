"""The connection to the broker: birth, last will, breaks and refusals, against a real mosquitto."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mqtt_parts import (
    STATUS,
    Broker,
    Listen,
    MuteBroker,
    NewBin,
    NewBroker,
    bin_process,
    sort_items,
)
from waiting import wait_until

from bin_daemon.telemetry.connection import wait_s


def test_a_bin_says_what_it_is_before_it_says_online(
    broker: Broker, listen: Listen, new_bin: NewBin
) -> None:
    ear = listen(broker)
    publisher = new_bin(broker)
    publisher.retain(publisher.topics.state, {"state": "waiting"})
    publisher.retain(publisher.topics.info, {"version": "1"})

    publisher.start()
    wait_until(lambda: ear.payloads(STATUS), "the bin to come online")

    assert ear.heard == [
        ("bins/b1/info", '{"version":"1"}', True),
        ("bins/b1/state", '{"state":"waiting"}', True),
        (STATUS, '{"state":"online","session":1}', True),
    ]


def test_a_bin_that_stops_says_so_instead_of_its_last_will(
    broker: Broker, listen: Listen, new_bin: NewBin
) -> None:
    ear = listen(broker)
    publisher = new_bin(broker)
    publisher.start()
    wait_until(lambda: ear.payloads(STATUS), "the bin to come online")

    publisher.close()
    wait_until(lambda: "Client b1 disconnected." in broker.log, "the connection to end")
    ear.say("bins/end", "")
    wait_until(lambda: ear.payloads("bins/end"), "whatever came before")

    assert [json.loads(p)["state"] for p in ear.payloads(STATUS)] == ["online", "stopped"]


def test_the_broker_tells_the_last_will_of_a_bin_that_was_killed(
    broker: Broker, listen: Listen, tmp_path: Path
) -> None:
    ear = listen(broker)
    with bin_process("connect", str(tmp_path), str(broker.port)) as process:
        wait_until(lambda: ear.payloads(STATUS), "the bin to come online")

        process.send_signal(signal.SIGKILL)
        wait_until(lambda: len(ear.payloads(STATUS)) > 1, "the last will")

    assert ear.heard[-1] == (STATUS, '{"state":"offline","session":1}', True)


def test_a_bin_starts_without_its_broker_and_delivers_once_it_is_there(
    new_broker: NewBroker, listen: Listen, new_bin: NewBin
) -> None:
    broker = new_broker()
    publisher = new_bin(broker)
    publisher.start()
    ids = sort_items(publisher, 3)
    wait_until(lambda: publisher.stats().depth == 3, "the events to be stored")
    assert publisher.problems() == (f"broker 127.0.0.1:{broker.port}: Connection refused",)

    broker.start()
    ear = listen(broker)
    wait_until(lambda: len(ear.items()) == 3, "the events")

    assert [item["id"] for item in ear.items()] == ids
    wait_until(lambda: not publisher.problems(), "the problem to be gone")


def test_what_is_retained_is_said_again_to_a_broker_that_forgot(
    broker: Broker, listen: Listen, new_bin: NewBin
) -> None:
    publisher = new_bin(broker)
    publisher.start()
    publisher.retain(publisher.topics.fill("paper"), {"percent": 40})
    publisher.retain(publisher.topics.fill("paper"), {"percent": 41})
    wait_until(lambda: publisher.connected, "the first connection")

    broker.stop()
    wait_until(lambda: not publisher.connected, "the connection to break")
    broker.start()
    ear = listen(broker)
    wait_until(lambda: ear.payloads(STATUS), "the second birth")

    assert ear.payloads("bins/b1/fill/paper") == ['{"percent":41}']
    assert ear.heard[-1][0] == STATUS


def test_a_connection_that_has_gone_silent_is_given_up(
    broker: Broker, listen: Listen, new_bin: NewBin, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = new_bin(broker, keepalive_s=1)
    publisher.start()
    wait_until(lambda: publisher.connected, "the connection")

    broker.freeze()
    sort_items(publisher, 1)
    wait_until(lambda: not publisher.connected, "the bin to notice")
    broker.thaw()
    ear = listen(broker)

    wait_until(lambda: ear.items(), "the event")
    wait_until(lambda: publisher.stats().depth == 0, "its acknowledgement")


def test_a_broker_that_answers_pings_but_acknowledges_nothing_is_left(new_bin: NewBin) -> None:
    mute = MuteBroker()
    publisher = new_bin(mute, keepalive_s=2)

    publisher.start()
    wait_until(lambda: "no acknowledgement for" in publisher.last_error, "the reason")
    wait_until(lambda: mute.connections >= 2, "a second attempt")
    mute.close()


@pytest.mark.parametrize("password", ["wrong", None])
def test_a_refused_login_is_reported_and_sorting_goes_on(
    new_broker: NewBroker, new_bin: NewBin, tmp_path: Path, password: str | None
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "b1", "right"], check=True)
    broker = new_broker(f"allow_anonymous false\npassword_file {passwords}")
    broker.start()
    login: dict[str, object] = {}
    if password is not None:
        (tmp_path / "secret").write_text(password + "\n")
        login = {"username": "b1", "password_file": tmp_path / "secret"}
    publisher = new_bin(broker, mqtt=login)

    publisher.start()
    sort_items(publisher, 2)
    told = wait_until(publisher.problems, "the problem to be told")

    assert told == (f"broker 127.0.0.1:{broker.port}: it refuses the login: Not authorized",)
    wait_until(lambda: publisher.stats().depth == 2, "the events to be stored")


def test_a_corrected_password_file_is_read_at_the_next_attempt(
    new_broker: NewBroker, new_bin: NewBin, tmp_path: Path
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "b1", "right"], check=True)
    broker = new_broker(f"allow_anonymous false\npassword_file {passwords}")
    broker.start()
    secret = tmp_path / "secret"
    publisher = new_bin(broker, mqtt={"username": "b1", "password_file": secret})
    publisher.start()
    told = wait_until(publisher.problems, "the missing file to be told")
    assert "mqtt.password_file" in told[0]

    secret.write_text("right\n")

    wait_until(lambda: publisher.connected, "the login")


def test_two_bins_of_one_id_are_told_of_each_other(
    broker: Broker, new_bin: NewBin, tmp_path: Path
) -> None:
    first = new_bin(broker)
    first.start()
    wait_until(lambda: first.connected, "the first bin")
    (tmp_path / "other").mkdir()
    second = new_bin(broker, state=tmp_path / "other")

    second.start()
    wait_until(lambda: "'b1'" in first.last_error, "the words")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")
def test_the_publisher_is_imported_without_paho() -> None:
    probe = "import sys, bin_daemon.telemetry.publisher; sys.exit('paho' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_the_wait_between_attempts_grows_to_its_bound_and_is_random() -> None:
    waits = [[wait_s(failures, 60.0) for _ in range(200)] for failures in (1, 4, 20)]

    assert max(waits[0]) <= 2.0
    assert 8.0 < max(waits[1]) <= 16.0
    assert 40.0 < max(waits[2]) <= 60.0
    assert min(waits[2]) < 20.0
    assert min(wait_s(1, 60.0, slow=True) for _ in range(200)) >= 30.0


def test_closing_a_bin_whose_broker_is_silent_takes_no_longer_than_allowed(
    broker: Broker, new_bin: NewBin
) -> None:
    publisher = new_bin(broker)
    publisher.start()
    wait_until(lambda: publisher.connected, "the connection")
    broker.freeze()

    began = time.monotonic()
    publisher.close(1.0)

    assert time.monotonic() - began < 4.0
