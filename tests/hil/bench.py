"""The virtual Pi as the bench of one bin: its chamber, its wires, its service, its news.

A `Pi` flows in; tests put items into the chamber, pull lines, read pulses and wait for what the
daemon tells. It changes nothing of the installed package.
"""

from __future__ import annotations

import contextlib
import json
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from pi import Pi, wait_until

UNIT = "bin-daemon.service"
PYTHON = "/opt/bin-daemon/bin/python"
REEL = "/opt/bin-daemon/share/bin-daemon/firmware_config/reel"
CONFIG = "/etc/bin-daemon/config.yaml"
STATE = "/var/lib/bin-daemon"
ROOT = "bins/hil"
SERVO, LID, BEAM, METAL, LED = 18, 5, 17, 6, 22

START_S = 60.0
_LINES = "/sys/devices/platform/gpio-sim.0/gpiochip*/sim_gpio"
_TRACING = "/sys/kernel/tracing"


class Bench:
    """What a test does to the bin, and what it sees of it."""

    def __init__(self, pi: Pi) -> None:
        self.pi = pi

    # The chamber.

    def show(self, picture: str) -> None:
        """Let the camera see a picture of the reel, such as `items/metal_can`, from now on."""
        place = "/srv/chamber"
        self.pi.run(
            f"cp {REEL}/{picture}.jpg {place}/new && chmod 644 {place}/new && "
            f"mv {place}/new {place}/frame.jpg"
        )

    def stall(self, stalled: bool = True) -> None:
        """Stop the frames of the camera, or let them come again."""
        self.pi.run("touch /srv/chamber/stall" if stalled else "rm -f /srv/chamber/stall")

    # The service.

    def start(self) -> None:
        """Start it with an empty chamber, as if it had never failed, and wait until it could sort.

        By then it knows the empty view and has gone home.
        """
        self.stop()
        self.pi.run(f"rm -f {STATE}/failures.json")
        self.stall(False)
        self.show("empty")
        self.free_lines()
        began = time.monotonic()
        self.pi.run(f"systemctl start {UNIT}", START_S + 40)
        self.wait_state("waiting", since=began)
        known = f"test -e {STATE}/reference.npz"
        wait_until(lambda: self.pi.ask(known)[0] == 0, "the empty view to be known")
        wait_until(self._quiet, "the servo to be at home")

    def _quiet(self) -> bool:
        with self.traced():
            self.pi.run("sleep 1")
            return not self.edges()

    def stop(self) -> None:
        """Stop it; does nothing where it is stopped."""
        self.pi.run(f"systemctl stop {UNIT}; systemctl reset-failed {UNIT} 2> /dev/null; true")

    def shown(self, name: str) -> str:
        """A property of the unit."""
        return self.pi.run(f"systemctl show -p {name} --value {UNIT}")

    @property
    def pid(self) -> int:
        """The process of the daemon; 0 where there is none."""
        return int(self.shown("MainPID"))

    @property
    def restarts(self) -> int:
        """How often systemd has restarted it."""
        return int(self.shown("NRestarts"))

    def journal(self, cursor: str = "") -> str:
        """What the service and systemd wrote about it, since a `cursor` of the journal."""
        since = f"--after-cursor='{cursor}'" if cursor else ""
        return self.pi.run(f"journalctl -q --no-pager -o cat -u {UNIT} {since}")

    def cursor(self) -> str:
        """Where the journal ends now."""
        told = self.pi.run("journalctl -q --no-pager -n 0 --show-cursor")
        return told.rpartition("cursor: ")[2].strip()

    def wait_restarted(self, before: int, limit_s: float = 90.0) -> None:
        """Wait until systemd has restarted it, after `before` restarts, and it is ready again."""
        wait_until(
            lambda: self.restarts > before and self.shown("ActiveState") == "active",
            "the service to be restarted and ready",
            limit_s,
        )

    # The news.

    def heard(self, topic: str, since: float = 0.0) -> list[Any]:
        """Payloads on a topic of the bin, decoded; None where it was emptied."""
        payloads = self.pi.payloads(f"{ROOT}/{topic}", since)
        return [json.loads(payload) if payload else None for payload in payloads]

    def last(self, topic: str) -> Any:
        """The latest payload on a topic of the bin; None where there is none."""
        return (self.heard(topic) or [None])[-1]

    def wait_state(self, *states: str, since: float = 0.0, limit_s: float = 30.0) -> None:
        """Wait until the bin tells one of these states of its cycle."""

        def told() -> bool:
            news = self.heard("state", since)
            return bool(news) and news[-1]["state"] in states

        wait_until(told, f"the state {' or '.join(states)}", limit_s)

    def wait_online(self, since: float, limit_s: float = START_S) -> None:
        """Wait until the bin says that it is online."""
        wait_until(
            lambda: any(s and s["state"] == "online" for s in self.heard("status", since)),
            "the bin to come online",
            limit_s,
        )

    def sort(self, picture: str) -> Any:
        """Put an item into the chamber and take it out as it falls; the event of it."""
        began = time.monotonic()
        self.show(picture)
        self.wait_state("sorting", since=began)
        self.wait_pulses()
        self.show("empty")
        (event,) = wait_until(lambda: self.heard("event/item", began), "the event of the item")[:1]
        self.wait_state("waiting", since=began)
        return event

    # The wires.

    def pull(self, line: int, up: bool) -> None:
        """What is wired to an input pulls it up or down."""
        self.pi.run(
            f"for f in {_LINES}{line}/pull; do echo pull-{'up' if up else 'down'} > $f; done"
        )

    def free_lines(self) -> None:
        """No switch of the bin says yes; all of them pull down when they do."""
        for line in (LID, BEAM, METAL):
            self.pull(line, up=True)

    def level(self, line: int) -> int:
        """The level of a line."""
        return int(self.pi.run(f"cat {_LINES}{line}/value"))

    def now_s(self) -> float:
        """The clock of the traces: CLOCK_MONOTONIC of the machine, seconds."""
        return float(self.pi.run("python3 -c 'import time; print(time.monotonic())'"))

    @contextlib.contextmanager
    def traced(self) -> Iterator[None]:
        """Record the edges of all outputs within the block."""
        self.pi.run(f"cd {_TRACING} && echo 8192 > buffer_size_kb && echo > trace && "
                    "echo 1 > events/gpio/gpio_value/enable")  # fmt: skip
        try:
            yield
        finally:
            self.pi.run(f"echo 0 > {_TRACING}/events/gpio/gpio_value/enable")

    def edges(self, line: int = SERVO) -> list[tuple[float, int]]:
        """The recorded edges of an output so far: seconds of the machine's clock, level."""
        base = int(self.pi.run("sed -n 's/.*GPIOs \\([0-9]*\\)-.*/\\1/p' /sys/kernel/debug/gpio"))
        self.pi.run(f"cat {_TRACING}/trace > /hil/trace")
        trace = (self.pi.work / "trace").read_text()
        found = re.findall(rf" (\d+\.\d+): gpio_value: {base + line} set (\d)", trace)
        edges: list[tuple[float, int]] = []
        for at, level in found:
            if int(level) != (edges[-1][1] if edges else 0):
                edges.append((float(at), int(level)))
        return edges

    def wait_pulses(self, line: int = SERVO, limit_s: float = 20.0) -> None:
        """Wait until a servo is moved."""
        count = f"grep -c 'gpio_value.* set 1' {_TRACING}/trace"
        with self.traced():
            wait_until(lambda: int(self.pi.ask(count)[1]) > 2, f"pulses on GPIO {line}", limit_s)


def widths_us(edges: Sequence[tuple[float, int]]) -> list[float]:
    """The lengths of the pulses among the edges, in microseconds."""
    return [1e6 * (off - on) for (on, up), (off, down) in pairwise(edges) if up and not down]


def median_us(edges: Sequence[tuple[float, int]]) -> float:
    """The usual length of a pulse, in microseconds."""
    return statistics.median(widths_us(edges))
