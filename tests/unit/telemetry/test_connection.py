"""How a connection comes up and ends, without a broker: its states, and which reason stays."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bin_daemon.config.sections import MqttSection, TlsSection
from bin_daemon.telemetry.connection import Connection, ConnectionState, Parameters

CONNACK = b"\x20\x03\0"  # a reason code and the length of the properties follow
DISCONNECT = b"\xe0\x02"  # so here


class Listener:
    """Hears, and does nothing about it."""

    def ignore(self, *_: object, **__: object) -> None:
        """Any message of a connection."""

    on_up = on_down = on_acknowledged = on_subscribed = on_message = ignore


def connection(port: int, **mqtt: object) -> Connection:
    """One to that port of this machine."""
    section = MqttSection(host="127.0.0.1", port=port, **mqtt)  # type: ignore[arg-type]
    return Connection(
        Parameters(section, "b1", ("bins/b1/status", ""), "bins/b1/cmd/#"), Listener()
    )


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A server that nobody serves yet."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def port_of(server: socket.socket) -> int:
    """Where it listens."""
    return int(server.getsockname()[1])


def test_a_connection_that_was_not_tried_yet_takes_no_message() -> None:
    made = connection(1)

    assert made.state is ConnectionState.NEW
    assert made.publish("bins/b1/state", "{}", retain=True) is None


def test_where_nobody_listens_it_is_lost_with_the_words_of_the_system(
    server: socket.socket,
) -> None:
    port = port_of(server)
    server.close()
    made = connection(port)

    made.run()

    assert (made.state, made.why, made.up_at) == (ConnectionState.LOST, "Connection refused", None)


def serve(server: socket.socket, answer: bytes) -> Connection:
    """Connect to a peer that takes the login, answers this and hangs up."""

    def peer() -> None:
        client, _ = server.accept()
        with client:
            client.recv(4096)
            client.sendall(answer)

    threading.Thread(target=peer, daemon=True).start()
    made = connection(port_of(server))
    made.run()
    return made


def test_a_peer_that_hangs_up_before_the_login_is_told_from_one_that_refuses(
    server: socket.socket,
) -> None:
    made = serve(server, b"")

    assert made.state is ConnectionState.HUNG_UP
    assert made.why == "it hangs up before the login; does it want TLS (mqtt.tls)?"
    assert made.up_at is None


def test_a_broker_that_refuses_the_login_is_reported_as_such(server: socket.socket) -> None:
    made = serve(server, CONNACK + b"\x87\0")

    assert (made.state, made.why) == (
        ConnectionState.REFUSED,
        "it refuses the login: Not authorized",
    )


def test_a_broker_that_cannot_serve_now_may_be_tried_again_soon(server: socket.socket) -> None:
    made = serve(server, CONNACK + b"\x88\0")

    assert (made.state, made.why) == (ConnectionState.LOST, "Server unavailable")


def test_the_goodbye_of_the_broker_ends_what_was_up(server: socket.socket) -> None:
    made = serve(server, CONNACK + b"\0\0" + DISCONNECT + b"\x8b\0")

    assert (made.state, made.why) == (
        ConnectionState.HUNG_UP, "it ended the connection: Server shutting down",
    )  # fmt: skip
    assert made.up_at is not None


def test_a_file_that_cannot_be_used_ends_it_before_the_network(tmp_path: Path) -> None:
    made = connection(1, tls=TlsSection(ca=tmp_path / "missing.crt"))

    made.run()

    assert made.state is ConnectionState.REFUSED
    assert made.why.startswith("mqtt.tls.ca: cannot use")


def test_what_ended_it_first_is_the_reason() -> None:
    made = connection(1)

    made.drop("no acknowledgement for 40 s")
    made.drop("the daemon stops")
    made.disconnect()
    made.run()

    assert (made.state, made.why) == (ConnectionState.LOST, "no acknowledgement for 40 s")
