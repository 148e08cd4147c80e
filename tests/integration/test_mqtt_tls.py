"""Encrypted connections: a certificate authority of the test's own, and client certificates."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mqtt_parts import Broker, NewBin, NewBroker
from waiting import wait_until

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        self.folder, self.certificate = folder, folder / "ca.crt"
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", f"/CN={name}",
        )  # fmt: skip

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate and its key for `name`, good for this machine's address."""
        (self.folder / "names").write_text("subjectAltName=IP:127.0.0.1")
        self._openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}",
        )  # fmt: skip
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", f"{name}.crt", "-days", "2", "-extfile", "names",
        )  # fmt: skip
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The authority that both sides trust."""
    return Authority(tmp_path / "authority", "Test CA")


@pytest.fixture
def tls_broker(new_broker: NewBroker, authority: Authority) -> Broker:
    """A broker that speaks TLS only and asks for a client certificate, whose name is the user."""
    certificate, key = authority.issue("broker")
    broker = new_broker(
        f"cafile {authority.certificate}\ncertfile {certificate}\nkeyfile {key}\n"
        "require_certificate true\nuse_identity_as_username true\nallow_anonymous false\n"
    )
    broker.start()
    return broker


def test_a_client_certificate_opens_the_line(
    tls_broker: Broker, authority: Authority, new_bin: NewBin
) -> None:
    certificate, key = authority.issue("b1")
    tls = {"ca": authority.certificate, "certificate": certificate, "key": key}
    publisher = new_bin(tls_broker, mqtt={"tls": tls})

    publisher.start()
    wait_until(lambda: publisher.connected, "the connection")

    assert publisher.problems() == ()
    assert "u'b1'" in tls_broker.log


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("authority", "its certificate is not trusted"),
        ("name", "its certificate is not trusted"),
        ("no certificate", "does it want a client certificate"),
        ("no tls", "does it want TLS"),
        ("missing file", "mqtt.tls.ca: cannot use"),
        ("wrong key", "mqtt.tls.certificate: cannot use"),
    ],
)
def test_a_connection_that_cannot_be_trusted_is_not_made_and_the_reason_reported(
    tls_broker: Broker, authority: Authority, new_bin: NewBin, tmp_path: Path, fault: str,
    words: str,
) -> None:  # fmt: skip
    certificate, key = authority.issue("b1")
    tls: dict[str, Path] | None = {
        "ca": authority.certificate, "certificate": certificate, "key": key
    }  # fmt: skip
    mqtt: dict[str, Any] = {"tls": tls}
    assert tls is not None
    if fault == "authority":
        tls["ca"] = Authority(tmp_path / "stranger", "Stranger").certificate
    elif fault == "name":
        mqtt["host"] = "localhost"
    elif fault == "no certificate":
        del tls["certificate"], tls["key"]
    elif fault == "no tls":
        mqtt["tls"] = None
    elif fault == "missing file":
        tls["ca"] = tmp_path / "nowhere.crt"
    else:
        tls["key"] = authority.issue("b2")[1]
    publisher = new_bin(tls_broker, mqtt=mqtt)

    publisher.start()
    told = wait_until(publisher.problems, "the reason")

    assert words in told[0]
    assert not publisher.connected
