"""The whole daemon on a desk: a rendered chamber as camera, mock pins, a private broker.

Between camera and broker all is the real thing: what is printed for each item is what a subscriber
got over MQTT. The demo only adds the true class of the item, from the script of the reel.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from bin_daemon import __version__
from bin_daemon.camera import Camera, open_camera
from bin_daemon.camera.replay import ReplayCamera
from bin_daemon.config.load import validate
from bin_daemon.config.sections import Config
from bin_daemon.core.clock import Clock, SimulatedClock, SystemClock
from bin_daemon.core.messages import Frame
from bin_daemon.daemon.app import App
from bin_daemon.desk.broker import Broker
from bin_daemon.sorting.sorter import State
from bin_daemon.telemetry.topics import Topics

_DELIVERY_S = 10.0  # for the broker to hand over, after the last item, what is under way


class _WitnessCamera(Camera):
    """A replay camera that remembers the true class of each sorted item."""

    def __init__(self, camera: ReplayCamera) -> None:
        self._camera = camera
        self._state = ""
        self.truths: list[str] = []

    def capture(self, deadline_s: float) -> Frame:
        return self._camera.capture(deadline_s)

    def on_cycle(self, state: str, dropped: bool) -> None:
        if state == State.SORTING and self._state not in (State.CLEARING, state):
            self.truths.append(self._camera.truth)
        self._state = state
        self._camera.on_cycle(state, dropped)

    def close(self) -> None:
        self._camera.close()


class Demo:
    """One run of the demo.

    config: a profile with mock pins and a replay camera; its broker is replaced by a private one.
    fast: on a simulated clock, as fast as the processor allows.
    """

    def __init__(self, config: Config, fast: bool = False) -> None:
        self._config, self._fast = config, fast
        self._console = Console(highlight=False)
        self._received: list[dict[str, Any]] = []
        self._started = time.monotonic()

    def run(self) -> int:
        """Play, print and sum up; returns the exit code: 1 where an event did not arrive."""
        with contextlib.ExitStack() as stack:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="bin-daemon-demo-"))
            return self._run(Path(name), stack.enter_context(Broker(Path(name))))

    def _run(self, folder: Path, broker: Broker) -> int:
        raw = dataclasses.asdict(self._config)
        raw["mqtt"] = {"host": broker.host, "port": broker.port, "health_interval_s": 5.0}
        config = validate(Config, raw)
        clock: Clock = SimulatedClock() if self._fast else SystemClock()
        replay = open_camera(config.camera, clock)
        assert isinstance(replay, ReplayCamera)
        self._witness = camera = _WitnessCamera(replay)
        app = App(config, folder / "state", clock, camera)
        self._introduce(config, broker)
        subscriber = self._subscribe(app.publisher.topics, broker)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: app.stop())
        try:
            app.run(drain_s=_DELIVERY_S)
            deadline = time.monotonic() + _DELIVERY_S
            while len(self._received) < len(camera.truths) and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            subscriber.disconnect()
            subscriber.loop_stop()
        self._sum_up(app.bin.package.labels if app.bin else ())
        return 0 if len(self._received) == len(camera.truths) else 1

    def _introduce(self, config: Config, broker: Broker) -> None:
        pace = "as fast as the processor allows" if self._fast else "in real time; Ctrl-C ends it"
        self._console.print(f"[bold]bin-daemon {__version__}[/] on a desk, {pace}")
        lines = [
            ("camera", config.camera.source),
            ("pins", "gpiozero's mock factory"),
            ("broker", f"mosquitto at {broker.host}:{broker.port}"),
            *((f"route {n}", ", ".join(r.takes)) for n, r in config.routes.items()),
        ]
        for name, value in lines:
            self._console.print(f"  {name:<16} {value}", markup=False)
        self._console.print()

    def _subscribe(self, topics: Topics, broker: Broker) -> Any:
        """A subscriber like any other, that knows only the documented topics."""
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(CallbackAPIVersion.VERSION2, client_id="demo-subscriber", protocol=MQTTv5)

        def on_message(_client: Any, _data: Any, message: Any) -> None:
            kind = message.topic.removeprefix(f"{topics.root}/")
            if message.topic == topics.item:
                self._show(json.loads(message.payload), message.topic)
            elif kind == "status" or (kind.startswith("alert/") and message.payload):
                line = f"      {message.topic} {message.payload.decode()}"
                self._console.print(Text(line, "yellow", overflow="ellipsis"), no_wrap=True)

        client.on_message = on_message
        client.connect(broker.host, broker.port)
        client.subscribe(f"{topics.root}/#", qos=1)
        client.loop_start()
        return client

    def _show(self, event: dict[str, Any], topic: str) -> None:
        self._received.append(event)
        truths, number = self._witness.truths, event["seq"]
        truth = truths[number - 1] if number <= len(truths) else ""
        line = Text.assemble(
            (f"{number:4d}  ", "dim"),
            (f"{event['label']:<11}", "bold"),
            f"{event['confidence']:4.0%} -> ",
            (f"{event['route']:<11}", "cyan"),
            (f"{event['outcome']:<12}", "green" if event["outcome"] == "sorted" else "yellow"),
            (f"truly {truth}" if truth else "", "dim"),
        )
        self._console.print(line)
        times = "  ".join(f"{name} {ms:.0f}" for name, ms in event["timings_ms"].items())
        payload = json.dumps(event, separators=(",", ":"))
        for text in (event["reason"], f"{times} ms", f"{topic} {payload}"):
            self._console.print(Text(f"      {text}", "dim", overflow="ellipsis"), no_wrap=True)

    def _sum_up(self, labels: tuple[str, ...]) -> None:
        events, truths = self._received, dict(enumerate(self._witness.truths, start=1))
        seconds = time.monotonic() - self._started
        outcomes = Counter(event["outcome"] for event in events)
        counted = ", ".join(f"{count} {name}" for name, count in outcomes.items()) or "none"
        self._console.print(f"\n[bold]{len(events)} items[/] in {seconds:.1f} s: {counted}")
        right = [e["label"] == truths[e["seq"]] for e in events if truths.get(e["seq"]) in labels]
        if right:
            words = f"the network named {sum(right)} of the {len(right)} labelled items correctly"
            self._console.print(f"  {words}")
        if missing := len(truths) - len(events):
            self._console.print(f"[red]{missing} events did not arrive[/]")
