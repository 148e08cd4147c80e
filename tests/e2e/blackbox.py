"""Versions of the program as black boxes: commands and files in, output and MQTT messages out.

Two versions that are compared must not share a module, so nothing here imports the project: it
knows commands, configuration, topics and files only, as they have been since version 0.2.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import yaml
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

REPOSITORY = Path(__file__).resolve().parents[2]

# Version 0.2, before its modules were moved into rooms.
FORMER = "15749acfb5137d51982ae3f07a03c5dc1f3aaa52"

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

COLOURS = {"glass": (40, 30, 190), "can": (190, 50, 30)}  # blue, green, red


class NoHistoryError(Exception):
    """The former version cannot be had here; the words say why."""


def check_out(commit: str, folder: Path) -> Path:
    """Write the files of a commit of this repository into a new folder; returns the folder."""
    command = ["git", "-C", str(REPOSITORY), "archive", "--format=tar", commit]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except FileNotFoundError:
        raise NoHistoryError("git is not installed, so the former version is not at hand") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise NoHistoryError(
            f"commit {commit[:12]} is not in this history (a shallow clone?): {said}"
        ) from None
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    """The first true value of `condition`. Raises TimeoutError with `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s in vain for: {what}")
        time.sleep(0.01)
    return value


_reserved: list[socket.socket] = []


def free_port() -> int:
    """A port of this machine that nobody listens on.

    It stays bound while this process lives, so that the kernel gives it to nobody else; a program
    that asks for it by its number, as mosquitto does, may still listen there.
    """
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    _reserved.append(probe)
    port: int = probe.getsockname()[1]
    return port


class Program:
    """`bin-daemon` of one version, with a home of its own.

    command: what starts it. home: its working directory, where its state goes by default too.
    root: the checkout that it runs from; None for an installed one.
    """

    def __init__(self, command: list[str], home: Path, root: Path | None = None) -> None:
        self.command = command
        self.home = home
        self.root = root
        home.mkdir(parents=True, exist_ok=True)

    @classmethod
    def of(cls, python: str, root: Path, home: Path) -> Program:
        """That of a checkout."""
        return cls([python, "-m", "bin_daemon"], home, root)

    def environment(self, **more: str) -> dict[str, str]:
        """What its processes see: nothing of the one who calls but the search path."""
        found = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "COLUMNS": "100",
        }
        if self.root is not None:
            found["PYTHONPATH"] = str(self.root)
        return {**found, **more}

    def run(
        self, *arguments: object, command: list[str] | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; command: another one than `bin-daemon`, with the same surroundings."""
        return subprocess.run(
            [*(command or self.command), *map(str, arguments)],
            cwd=self.home, env=self.environment(**environment), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    @contextlib.contextmanager
    def running(self, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
        """Start it and give its process, which is killed at the end; it logs to `daemon.log`."""
        with (self.home / "daemon.log").open("ab") as log:
            process = subprocess.Popen(
                [*self.command, *map(str, arguments)],
                cwd=self.home, env=self.environment(), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log,
            )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@dataclasses.dataclass(frozen=True, slots=True)
class Heard:
    """One message as the broker passed it on."""

    topic: str
    payload: str
    retain: bool
    qos: int
    properties: tuple[str, ...]

    @property
    def value(self) -> Any:
        """The payload, decoded; None of an empty one."""
        return json.loads(self.payload) if self.payload else None


class Broker:
    """A private mosquitto, and a client that hears every message that passes through it.

    folder: for its files. port: where it listens (any that is free).
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        if MOSQUITTO is None:
            raise FileNotFoundError("mosquitto is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.heard: list[Heard] = []
        self._log = folder / "mosquitto.log"
        config = folder / "mosquitto.conf"
        # As root mosquitto would become a user who cannot read the folder.
        user = "user root\n" if os.geteuid() == 0 else ""
        config.write_text(f"{user}listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [MOSQUITTO, "-v", "-c", config], stdout=log, stderr=log
            )
        wait_until(self._listens, "mosquitto to listen")
        subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, "listener", protocol=MQTTv5)
        # QoS and retain flag arrive as they were published.
        options = SubscribeOptions(qos=2, retainAsPublished=True)
        self._client.on_connect = lambda client, *_: client.subscribe("#", options=options)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", self.port)
        self._client.loop_start()
        wait_until(subscribed.is_set, "the listener to subscribe")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _on_message(self, _: Client, __: object, message: MQTTMessage) -> None:
        properties = tuple(sorted(message.properties.json())) if message.properties else ()
        self.heard.append(
            Heard(message.topic, message.payload.decode(), message.retain, message.qos, properties)
        )

    @property
    def log(self) -> str:
        """What mosquitto has logged so far."""
        return self._log.read_text(errors="replace")

    def values(self, topic: str) -> list[Any]:
        """What was heard on a topic, in order."""
        return [one.value for one in list(self.heard) if one.topic == topic]

    def say(self, topic: str, payload: str, *, retain: bool = False) -> None:
        """Publish, and wait until the broker has it."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(60)

    def close(self) -> None:
        """Hang up and end the broker."""
        self._client.disconnect()
        self._client.loop_stop()
        self._process.terminate()
        self._process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_relay(folder: Path, broker: Broker) -> None:
    """Make a `mosquitto` in `folder` that passes everything on to `broker`.

    The demo starts a broker of its own; with this folder first on its search path, what it says is
    heard from the first message on.
    """
    folder.mkdir()
    script = folder / "mosquitto"
    script.write_text(f"#!{sys.executable}\nBROKER = {broker.port}\n{_RELAY}")
    script.chmod(0o755)


_RELAY = """
import asyncio, re, sys

CONFIG = open(sys.argv[sys.argv.index("-c") + 1]).read()

async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()

async def join(reader, writer):
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", BROKER)
    ways = pump(reader, far_writer), pump(far_reader, writer)
    await asyncio.gather(*ways, return_exceptions=True)

async def main():
    port = int(re.search(r"listener (\\d+)", CONFIG)[1])
    async with await asyncio.start_server(join, "127.0.0.1", port) as server:
        await server.serve_forever()

asyncio.run(main())
"""


def chamber(level: float = 1.0) -> np.ndarray:
    """A drawn empty chamber, uint8 (480, 640, 3), BGR."""
    rows, columns = np.mgrid[0:480, 0:640]
    floor = 120 + 25 * np.cos((columns - 320) / 300) + 10 * np.sin(rows / 90)
    floor += np.random.default_rng(3).normal(0, 3, floor.shape)
    picture = np.dstack([floor * 1.05, floor, floor * 0.9]) * level
    return picture.clip(0, 255).astype(np.uint8)


def box(label: str, seed: int) -> np.ndarray:
    """The chamber with a printed box of about the colour of a class of `COLOURS`."""
    rng = np.random.default_rng([seed, *label.encode()])
    picture, width, height = chamber(), *rng.integers(60, 190, 2).tolist()
    x, y = rng.integers((40, 90), (580 - width, 430 - height)).tolist()
    colour = (np.array(COLOURS[label]) + rng.integers(-30, 31, 3)).clip(0, 255).tolist()
    cv2.rectangle(picture, (x, y), (x + width, y + height), colour, -1)
    for _ in range(int(rng.integers(1, 5))):
        ends = rng.integers((x + 5, y + 5), (x + width - 5, y + height - 5), (2, 2)).tolist()
        cv2.line(picture, *ends, rng.integers(0, 256, 3).tolist(), int(rng.integers(2, 12)))
    return picture


def draw_pictures(folder: Path) -> None:
    """Views of the chamber, a `can.png`, and in `lesson/` twelve boxes of each class."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"empty": chamber(), "dark": chamber(0.01), "can": box("can", 99)}
    for name, x in (("arm", 280), ("hand", 310)):
        pictures[name] = chamber()
        cv2.rectangle(pictures[name], (x, 0), (x + 90, 300), (130, 160, 215), -1)
    for label in COLOURS:
        (folder / "lesson" / label).mkdir(parents=True)
        pictures |= {f"lesson/{label}/{seed}": box(label, seed) for seed in range(12)}
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / f"{name}.png"), picture)


def write_script(path: Path, *steps: dict[str, Any], **more: Any) -> Path:
    """A script of the replay camera, of pictures beside it; it begins with the empty chamber."""
    script = {"fps": 10, "size": [640, 480], "noise": 1.5, "seed": 4, **more}
    script["steps"] = [{"empty": "empty.png", "frames": 15}, *steps]
    path.write_text(yaml.safe_dump(script))
    return path


def write_config(path: Path, source: object, port: int, **sections: Any) -> Path:
    """A bin of one flap that looks at `source`, with a route for each class and for cans."""
    config = {
        "version": 2,
        "bin": {"id": "b1", "name": "Bin of a test"},
        "camera": {"kind": "replay", "source": str(source), "loop": True},
        "chute": {
            "pins": "mock",
            "servos": {"flap": {"pin": 12, "speed_deg_s": 300}},
            "poses": {"home": {"flap": 0}, "left": {"flap": -60}, "right": {"flap": 60}},
        },
        "routes": {
            "recyclables": {
                "takes": ["can", "cardboard", "glass", "metal", "paper", "plastic"],
                "steps": [{"pose": "left", "hold_s": 0.3}],
            },
            "residual": {"takes": ["trash"], "steps": [{"pose": "right", "hold_s": 0.3}]},
        },
        "mqtt": {"host": "127.0.0.1", "port": port, "retry_max_s": 1, "health_interval_s": 1},
        **sections,
    }
    path.write_text(yaml.safe_dump(config))
    return path
