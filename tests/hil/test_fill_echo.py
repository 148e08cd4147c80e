"""The fill level of a compartment on the virtual Pi: ping, echo, edges, broker.

The machine sees the edges of an input at its ticks, 10 ms apart: an echo lasts whole ticks, each of
them 172 cm. Only this bin has a fill sensor, so no other test has pings among its pulses.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import CONFIG, Bench
from pi import wait_until

TRIGGER, ECHO = 23, 24
TICK_S = 0.01
STALE_S = 6.0
EMPTY_CM, FULL_CM = 400, 20
SENSOR = (
    f"  fill: {{ residual: {{ trigger: {TRIGGER}, echo: {ECHO}, empty_cm: {EMPTY_CM}, "
    f"full_cm: {FULL_CM}, interval_s: 2, stale_s: {STALE_S:g} }} }}"
)


@pytest.fixture(scope="module")
def deaf(bench: Bench) -> Iterator[Bench]:
    """The bench of a bin with a fill sensor that nothing answers."""
    bench.stop()
    bench.pull(ECHO, up=False)
    bench.pi.run(f"cp -p {CONFIG} /run/config && sed -i 's/^sensors:$/&\\n{SENSOR}/' {CONFIG}")
    try:
        bench.start()
        yield bench
    finally:
        bench.stop()
        bench.pi.run(f"cp -p /run/config {CONFIG}")


@contextlib.contextmanager
def echoes(bench: Bench, echo_s: float) -> Iterator[None]:
    """Answer each ping with an echo of this length within the block."""
    script = bench.pi.put(Path(__file__).parent / "guest/echo.py")
    bench.pi.run(
        "systemd-run -q --unit echo --collect -p CPUSchedulingPolicy=fifo "
        f"python3 {script} {TRIGGER} {ECHO} {echo_s}"
    )
    try:
        yield
    finally:
        bench.pi.run("systemctl stop echo; rmdir /sys/kernel/tracing/instances/echo")
        bench.pull(ECHO, up=False)


# Sound goes there and back with 343.26 m/s. A tick more or less would be 45 points.
@pytest.mark.parametrize(("ticks", "percent"), [(2, 15), (1, 60)])
def test_a_level_is_what_the_echoes_say_and_unknown_when_they_end(
    deaf: Bench, ticks: int, percent: int
) -> None:
    began = time.monotonic()
    with echoes(deaf, ticks * TICK_S):
        told = wait_until(
            lambda: [
                new for new in deaf.heard("fill/residual", began) if new["percent"] is not None
            ],
            "a level",
        )
        ended = time.monotonic()
    assert told[0]["source"] == "ultrasonic"
    assert told[0]["percent"] == pytest.approx(percent, abs=10)

    wait_until(lambda: deaf.last("fill/residual")["percent"] is None, "the level to be unknown")
    assert time.monotonic() - ended > STALE_S - 2
    wait_until(lambda: "residual" in str(deaf.last("health")["problems"]), "the problem")
