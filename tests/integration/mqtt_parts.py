"""Real parts for the telemetry tests: a private mosquitto, a second client that listens, a bin.

Every broker has its own port and folder, so that tests can run side by side.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from blackbox import free_port
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from waiting import wait_until

import bin_daemon
from bin_daemon.config.load import validate
from bin_daemon.config.sections import Config
from bin_daemon.core.clock import SystemClock, boot_id, uuid7
from bin_daemon.core.messages import Outcome, SortEvent
from bin_daemon.telemetry.publisher import Publisher

NewBroker = Callable[..., "Broker"]
NewBin = Callable[..., Publisher]
Listen = Callable[..., "Ear"]

STATUS, ITEM = "bins/b1/status", "bins/b1/event/item"

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Broker:
    """A mosquitto of the test's own, which can be stopped, started and killed."""

    def __init__(self, folder: Path, settings: str = "allow_anonymous true") -> None:
        self.port = free_port()
        folder.mkdir(exist_ok=True)
        # As root mosquitto would become a user who cannot read the folder of the test.
        user = "user root\n" if os.geteuid() == 0 else ""
        self.config = folder / "mosquitto.conf"
        self.config.write_text(f"{user}listener {self.port} 127.0.0.1\n{settings}\n")
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        assert MOSQUITTO is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [MOSQUITTO, "-v", "-c", str(self.config)], stdout=log, stderr=log
            )
        wait_until(self._listens, f"mosquitto to listen; {self._log}")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        """Stop it; without a persistence setting it forgets everything."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it accept bytes and answer nothing, as a link does whose other end is gone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None


class MuteBroker:
    """A broker that lets a client in and answers its pings, and acknowledges nothing."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client = self._server.accept()[0]
            except OSError:
                return  # closed
            self.connections += 1
            # A client may leave in the middle of an answer; the next one is let in all the same.
            with contextlib.suppress(OSError), client, client.makefile("rb") as stream:
                while head := stream.read(1):
                    self._answer(client, head[0] >> 4, stream.read(_length(stream)))

    def _answer(self, client: socket.socket, kind: int, body: bytes) -> None:
        if kind == 1:
            client.sendall(b"\x20\x03\x00\x00\x00")  # CONNACK, success
        elif kind == 8:
            client.sendall(b"\x90\x04" + body[:2] + b"\x00\x01")  # SUBACK, QoS 1
        elif kind == 12:
            client.sendall(b"\xd0\x00")  # PINGRESP

    def close(self) -> None:
        """Let no one in any more."""
        self._server.close()


def _length(stream: BinaryIO) -> int:
    """The remaining length of a packet (MQTT 5, section 1.5.5)."""
    value, shift = 0, 0
    while (byte := stream.read(1)) and byte[0] & 0x80:
        value |= (byte[0] & 0x7F) << shift
        shift += 7
    return value | (byte[0] if byte else 0) << shift


class Ear:
    """A fleet owner's client: keeps all it hears of the bins, in order.

    user: its name at the broker, and its password. faithful: comes back after a break, with a
    session in which the broker keeps what it missed.
    """

    def __init__(self, port: int, *, faithful: bool = False, user: str | None = None) -> None:
        self.heard: list[tuple[str, str, bool]] = []
        self._client = Client(CallbackAPIVersion.VERSION2, "ear", protocol=MQTTv5)
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        if faithful:
            session.SessionExpiryInterval = 3600
            self._client.reconnect_delay_set(0.1, 0.1)  # type: ignore[arg-type]
        self._client.username_pw_set(user, user)
        self._subscribed = False
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        # mosquitto 2.0.11 does not save a session that was begun with a clean start.
        self._client.connect("127.0.0.1", port, clean_start=not faithful, properties=session)
        self._client.loop_start()
        wait_until(lambda: self._subscribed, "the ear to subscribe")

    def _on_connect(self, *_: object) -> None:
        # Retain as published: the ear hears whether the publisher set the flag.
        options = SubscribeOptions(qos=1, retainAsPublished=True)
        self._client.subscribe("bins/#", options=options)

    def _on_subscribe(self, *_: object) -> None:
        self._subscribed = True

    def _on_message(self, _: Client, __: object, message: MQTTMessage) -> None:
        self.heard.append((message.topic, message.payload.decode(), message.retain))

    def payloads(self, topic: str) -> list[str]:
        """What was heard on a topic, in order."""
        return [payload for where, payload, _ in list(self.heard) if where == topic]

    def items(self) -> list[dict[str, Any]]:
        """The sort events that were heard, in order, repeats included."""
        return [json.loads(payload) for payload in self.payloads(ITEM)]

    def say(self, topic: str, payload: str, *, retain: bool = False) -> None:
        """Publish, and wait until the broker has it."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(60)

    def close(self) -> None:
        """Hang up."""
        self._client.disconnect()
        self._client.loop_stop()


def bin_config(mqtt: dict[str, Any] | None, **store: Any) -> Config:
    """The smallest configuration of a bin, with this broker and store."""
    return validate(Config, {
        "version": 2,
        "bin": {"id": "b1"},
        "camera": {"kind": "replay", "source": "reel"},
        "chute": {"pins": "mock", "servos": {"flap": {"pin": 12}}, "poses": {"home": {"flap": 0}}},
        "routes": {"residual": {"takes": [], "steps": [{"pose": "home"}]}},
        "mqtt": mqtt,
        "store": store,
    })  # fmt: skip


def sort_event(session: int, seq: int, **changes: Any) -> SortEvent:
    """One decided item of this boot, without its outcome."""
    clock = SystemClock()
    values: dict[str, Any] = {
        "id": uuid7(clock.time()),
        "session": session,
        "seq": seq,
        "decided_at": clock.time(),
        "label": "metal",
        "confidence": 0.93,
        "top_k": (("metal", 0.93), ("glass", 0.04)),
        "route": "recycling",
        "reason": "metal 0.93 is above its threshold 0.70",
        "model": "waste6-1",
        "looks": 3,
        "item": {"area": 0.11, "centre": [0.5, 0.48], "box": [210, 150, 190, 200]},
        "timings_ms": {"settle": 402.0, "looks": 31.5, "decide": 0.2},
        "boot_id": boot_id(),
        "monotonic_s": clock.monotonic(),
        "clock_synced": True,
    }
    return SortEvent(**{**values, **changes})


def sort_items(publisher: Publisher, count: int, first: int = 1) -> list[str]:
    """Let a bin sort `count` items; returns the ids of their events."""
    events = [sort_event(publisher.session, first + i) for i in range(count)]
    for event in events:
        publisher.decided(event)
        publisher.completed(event.id, Outcome.SORTED, time.time(), {})
    return [event.id for event in events]


def empty(publisher: Publisher) -> bool:
    """Whether a bin has delivered all it has; false until it has looked."""
    return publisher.stats().depth == 0 and publisher.stats().unwritten == 0


def bin_process(*arguments: str) -> subprocess.Popen[str]:
    """Start `bin_process.py` with these arguments; its output can be read."""
    script = Path(__file__).with_name("bin_process.py")
    package = str(Path(bin_daemon.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, str(script), *arguments], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([package, *sys.path])},
    )  # fmt: skip
