"""The daemon around a `Bin`: lock, store, MQTT, health, and the control interface.

It builds the parts from a configuration, starts them, and stops them in reverse. Remote commands
use its verbs, as a local console will. Only the CLI, the demo and the bench import this module.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bin_daemon import __version__, paths
from bin_daemon.bin import Bin
from bin_daemon.camera import Camera
from bin_daemon.clock import Clock, SystemClock
from bin_daemon.config import Config
from bin_daemon.config_file import digest
from bin_daemon.errors import (
    AlreadyRunningError,
    CameraError,
    CameraFinishedError,
    StoreError,
    UsageError,
)
from bin_daemon.health import Monitor, notify
from bin_daemon.messages import Alert, Severity
from bin_daemon.sorter import State
from bin_daemon.telemetry.client import Telemetry

log = logging.getLogger(__name__)

HEALTH_CHECK_S = 1.0
CLOSE_S = 3.0
_AT_REST = (State.WAITING, State.PAUSED)
_HARDWARE = Path("/proc/device-tree/model")


class App:
    """The daemon: a `Bin` with its lock, store, telemetry, health and control interface.

    state: the folder it writes to. camera: instead of the configured one. `stop` may be called
    from any thread or a signal handler.
    """

    def __init__(
        self,
        config: Config,
        state: Path | None = None,
        clock: Clock | None = None,
        camera: Camera | None = None,
    ) -> None:
        self.config = config
        self._camera = camera
        self._state = state or paths.state()
        self.clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._orders: queue.SimpleQueue[tuple[Callable[[Bin], None], bool]] = queue.SimpleQueue()
        self._problems: tuple[str, ...] | None = None
        self._health_due = self._health_check = 0.0
        self._fill: dict[str, float] = {}
        self.bin: Bin
        with contextlib.ExitStack() as stack:
            stack.enter_context(_locked(self._state))
            self.telemetry = Telemetry(config, self._state, self.clock, self.verbs())
            stack.callback(lambda: self.telemetry.close(CLOSE_S))
            self._stack = stack.pop_all()

    def run(self, drain_s: float = 0.0, ready: Callable[[], object] = lambda: None) -> None:
        """Sort until `stop`, or to the end of a replay.

        drain_s: how long to wait, at the end, for the broker to take what it has not got yet.
        ready: called once, when the camera delivers.
        Raises BinDaemonError where a part fails for good; everything is closed by then.
        """
        with self._stack:
            self.bin = Bin(
                self.config,
                self.clock,
                self.telemetry,
                session=self.telemetry.session,
                camera=self._camera,
                reference=self._state / "reference.npz",
                kept=self._state,
                told=self._tell_state,
            )
            with self.bin:
                self._monitor = Monitor(self._state, self.clock)
                self._loop(ready)
                notify("STOPPING=1")
            if drain_s:
                self.telemetry.drain(drain_s)

    @property
    def items(self) -> int:
        """How many items have come to their end since the start."""
        return self.bin.cycle.counts.total() if hasattr(self, "bin") else 0

    def stop(self) -> None:
        """End `run` after the present frame."""
        self._stopping.set()

    def verbs(self) -> Mapping[str, Callable[[Mapping[str, Any]], None]]:
        """What the bin can be told to do; each only queues the order for the sorting thread.

        Each raises UsageError where the order makes no sense now.
        """
        return {
            "pause": self._order(lambda parts: parts.cycle.pause()),
            "resume": self._order(lambda parts: parts.cycle.resume()),
            "clear": self._order(lambda parts: parts.cycle.clear()),
            "home": self._order(lambda parts: parts.chute.home(), at_rest=True),
            "learn": self._order(lambda parts: parts.chamber.learn(), at_rest=True),
        }

    def _order(
        self, action: Callable[[Bin], None], at_rest: bool = False
    ) -> Callable[[Mapping[str, Any]], None]:
        def verb(args: Mapping[str, Any]) -> None:
            if args:
                raise UsageError(f"takes no arguments, not {', '.join(args)}")
            if not hasattr(self, "bin"):
                raise UsageError("the bin is still starting; try again in a moment")
            if at_rest and self.bin.cycle.state not in _AT_REST:
                raise UsageError(f"the bin is {self.bin.cycle.state}; try again when it is waiting")
            self._orders.put((action, at_rest))

        return verb

    def _loop(self, ready: Callable[[], object]) -> None:
        started = False
        reopened = False
        while not self._stopping.is_set():
            try:
                observation = self.bin.step()
            except CameraFinishedError:
                log.info("the replay has come to its end")
                return
            except CameraError as error:
                if reopened:
                    raise
                log.error("%s; opening the camera once more", error)
                self.bin.reopen_camera()
                reopened = True
                continue
            reopened = False
            if observation is None:
                continue
            self._monitor.frame(observation.captured_at)
            if not started:
                started = True
                self._begin()
                ready()
            while not self._orders.empty():
                action, at_rest = self._orders.get()
                if at_rest and self.bin.cycle.state not in _AT_REST:
                    log.warning("an order came too late: the bin is %s", self.bin.cycle.state)
                else:
                    action(self.bin)
            self._report()

    def _begin(self) -> None:
        """The camera delivers: tell systemd, then the world."""
        notify("READY=1\nSTATUS=sorting")
        log.info("ready: %s on %s", self.bin.package.id, self.bin.classifier.runtime)
        self.telemetry.retain(self.telemetry.topics.info, self._info())
        self._tell_state(self.bin.cycle.state)
        self.telemetry.start()

    def _info(self) -> dict[str, Any]:
        import platform

        config = self.config
        return {
            "name": config.bin.name,
            "version": __version__,
            "model": self.bin.package.id,
            "labels": self.bin.package.labels,
            "runtime": self.bin.classifier.runtime,
            "routes": list(config.routes),
            "hardware": _hardware(),
            "python": platform.python_version(),
            "pin_factory": config.chute.pins,
            "camera": config.camera.kind,
            "config": digest(config),
        }

    def _tell_state(self, state: State) -> None:
        if hasattr(self, "bin"):
            news = {"state": state, "counts": self.bin.cycle.counts}
            self.telemetry.retain(self.telemetry.topics.state, news)

    def _report(self) -> None:
        """Health at its interval and when problems change; fill levels when they change."""
        now = self.clock.monotonic()
        if now < self._health_check:
            return
        self._health_check = now + HEALTH_CHECK_S
        self._report_fill()
        problems = self.telemetry.problems()
        if problems != self._problems or now >= self._health_due:
            interval = self.config.mqtt.health_interval_s if self.config.mqtt else 60.0
            self._health_due, self._problems = now + interval, problems
            stats = self.telemetry.stats()
            health = self._monitor.health(
                problems,
                outbox_depth=stats.outbox_depth,
                outbox_oldest_s=stats.outbox_oldest_s,
                events_dropped=stats.events_dropped,
            )
            self.telemetry.retain(self.telemetry.topics.health, health)

    def _report_fill(self) -> None:
        for stream, percent in self.bin.sensors.read().fill_percent.items():
            if self._fill.get(stream) == percent:
                continue
            self._fill[stream] = percent
            wall = self.clock.time()
            reading = {"percent": percent, "source": "switch", "measured_at": wall}
            self.telemetry.retain(self.telemetry.topics.fill(stream), reading)
            if percent >= self.config.decision.full_percent:
                words = f"the compartment '{stream}' is full; empty it"
                self.telemetry.raise_alert(Alert(f"full_{stream}", Severity.WARNING, words, wall))
            else:
                self.telemetry.resolve_alert(f"full_{stream}")


@contextlib.contextmanager
def _locked(state: Path) -> Any:
    """Hold the lock of a state directory, made where it is missing.

    Raises AlreadyRunningError where another daemon holds it, StoreError where it cannot be written.
    """
    try:
        state.mkdir(parents=True, exist_ok=True)
        file = (state / "lock").open("w")
    except OSError as error:
        raise StoreError(
            f"{state}: cannot write there: {error.strerror}; choose another with --state"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyRunningError(
                f"another bin-daemon uses {state}; stop it first, or give this one its own --state"
            ) from None
        yield


def _hardware() -> str:
    """What the machine calls itself."""
    try:
        return _HARDWARE.read_text().strip("\0\n ")
    except OSError:
        return " ".join((os.uname().sysname, os.uname().machine))
