"""The doctor at a real mosquitto: what it says of logins and of encryption, and that it is mute."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from mqtt_parts import Broker, Listen, NewBroker, bin_config
from waiting import wait_until

from bin_daemon.doctor import Finding, Level, Site
from bin_daemon.doctor.software import broker as look


def examined(broker: Broker, tmp_path: Path, **mqtt: object) -> Finding:
    config = bin_config({"host": "127.0.0.1", "port": broker.port, **mqtt})
    return look(Site("b1", config, "", tmp_path, running=True, user="root"))


@pytest.fixture
def guarded(new_broker: NewBroker, tmp_path: Path) -> Broker:
    """A broker that knows the bin b1 and its password, b1."""
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), "b1", "b1"], check=True)
    made = new_broker(f"allow_anonymous false\npassword_file {passwords}")
    made.start()
    return made


def test_a_broker_that_takes_the_bin_is_good_and_hears_nothing(
    broker: Broker, listen: Listen, tmp_path: Path
) -> None:
    ear = listen(broker)

    found = examined(broker, tmp_path)

    assert found.level is Level.GOOD
    assert found.seen == f"127.0.0.1:{broker.port}: no login, no encryption"
    ear.say("bins/b1/end", "")
    wait_until(lambda: ear.heard, "the last word")
    assert ear.payloads("bins/b1/end") == [""]
    assert len(ear.heard) == 1


def test_the_configured_login_is_used(guarded: Broker, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("b1\n")

    found = examined(guarded, tmp_path, username="b1", password_file=str(tmp_path / "secret"))

    assert "logged in as b1" in found.seen


def test_a_refused_login_names_the_keys(guarded: Broker, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("wrong\n")

    found = examined(guarded, tmp_path, username="b1", password_file=str(tmp_path / "secret"))

    assert found.level is Level.FAULT
    assert "refuses the login" in found.seen
    assert "mqtt.username and mqtt.password_file" in found.remedy


def test_a_broker_that_does_not_speak_tls_is_reported(broker: Broker, tmp_path: Path) -> None:
    found = examined(broker, tmp_path, tls={})

    assert found.level is Level.FAULT
    assert "mqtt.tls" in found.remedy


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_a_certificate_of_an_unknown_authority_is_reported(
    new_broker: NewBroker, tmp_path: Path
) -> None:
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", "own.key", "-out", "own.crt", "-days", "2", "-subj", "/CN=own",
        ],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    made = new_broker(
        f"certfile {tmp_path}/own.crt\nkeyfile {tmp_path}/own.key\nallow_anonymous true"
    )
    made.start()

    found = examined(made, tmp_path, tls={})

    assert found.level is Level.FAULT
    assert "certificate is not trusted" in found.seen
