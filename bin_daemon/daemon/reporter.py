"""What the daemon reports of itself: what it is made of, its health, and how full the bin is.

Readings, figures and problems flow in, retained messages and the alerts of full compartments flow
out to telemetry. It decides nothing, and repeats nothing before it has changed or is due.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bin_daemon import __version__
from bin_daemon.config.load import digest
from bin_daemon.config.sections import Config
from bin_daemon.core.clock import Clock
from bin_daemon.core.messages import Alert, Readings, Severity
from bin_daemon.daemon.health import Monitor
from bin_daemon.telemetry.publisher import Publisher

if TYPE_CHECKING:
    from bin_daemon.daemon.bin import Bin
    from bin_daemon.model.head import Head

CHECK_S = 1.0


class Reporter:
    """Reports what is new; folder: on the disk whose free space is watched."""

    def __init__(self, config: Config, folder: Path, clock: Clock, publisher: Publisher) -> None:
        self._config, self._clock, self._publisher = config, clock, publisher
        self.monitor = Monitor(folder, clock)
        self._problems: tuple[str, ...] | None = None
        self._check_due = self._health_due = 0.0
        self._fill: dict[str, float | None] = {}

    def due(self) -> bool:
        """Whether it is time to call `report` again, CHECK_S seconds after the last time."""
        now = self._clock.monotonic()
        if now < self._check_due:
            return False
        self._check_due = now + CHECK_S
        return True

    def report(self, readings: Readings, problems: tuple[str, ...] = ()) -> None:
        """Send fill levels that changed; health at its interval and when problems change.

        problems: those that neither telemetry nor a sensor reports.
        """
        self._report_fill(readings)
        now = self._clock.monotonic()
        silent = (f"the fill sensor of '{s}' gives no echo; clean it" for s in readings.silent)
        problems = (*problems, *silent, *self._publisher.problems())
        if problems == self._problems and now < self._health_due:
            return
        interval_s = self._config.mqtt.health_interval_s if self._config.mqtt else 60.0
        self._health_due, self._problems = now + interval_s, problems
        health = self.monitor.health(self._publisher.stats(), problems)
        self._publisher.retain(self._publisher.topics.health, health)

    def _report_fill(self, readings: Readings) -> None:
        levels = {**dict.fromkeys(readings.silent), **readings.fill_percent}
        news = [(s, p) for s, p in levels.items() if (s, p) not in self._fill.items()]
        self._fill |= news
        for stream, percent in news:
            wall = self._clock.time()
            source = "ultrasonic" if stream in self._config.sensors.fill else "switch"
            level = {"percent": percent, "source": source, "measured_at": wall}
            self._publisher.retain(self._publisher.topics.fill(stream), level)
            kind, message = f"full_{stream}", f"the compartment '{stream}' is full; empty it"
            if percent is None:
                continue  # the alert stays until the compartment is known to have room
            if percent >= self._config.decision.full_percent:
                self._publisher.raise_alert(Alert(kind, Severity.WARNING, message, wall))
            else:
                self._publisher.resolve_alert(kind)

    def report_info(self, bin_: Bin | None, failures: int) -> None:
        """Send what the bin is made of; bin_: None in degraded mode, which has no network."""
        import platform

        config, classifier = self._config, bin_ and bin_.classifier
        head = classifier and classifier.head
        info: dict[str, Any] = {
            "name": config.bin.name,
            "version": __version__,
            "model": bin_ and bin_.package.id,
            "labels": classifier.labels if classifier else [],
            "taught": head and {"model": head.id, "taught_at": head.taught_at, **_accuracy(head)},
            "runtime": classifier and classifier.runtime,
            "routes": list(config.routes),
            "hardware": _hardware(),
            "python": platform.python_version(),
            "pin_factory": config.chute.pins,
            "pulses": bin_.chute.pulses if bin_ else {},
            "camera": config.camera.kind,
            "config": digest(config),
            "failures": failures,
        }
        self._publisher.retain(self._publisher.topics.info, info)


def _accuracy(head: Head) -> dict[str, Any]:
    """How good a head is in cross-validation, and on how many pictures."""
    figures = {"pictures": head.figures["pictures"], **head.figures["after"]}
    return {key: figures[key] for key in ("pictures", "accuracy", "accuracy_se")}


def _hardware() -> str:
    """The model of the board, or the system and processor of another machine."""
    try:
        return Path("/proc/device-tree/model").read_text().strip("\0\n ")
    except OSError:
        return f"{os.uname().sysname} {os.uname().machine}"
