"""The servo's pulses as the kernel of the virtual Pi sees them."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from bench import CONFIG, PYTHON, SERVO, UNIT, Bench, median_us
from pi import wait_until

ANGLES = 21


@pytest.fixture(scope="module")
def swept(bench: Bench) -> list[tuple[float, float]]:
    """Wanted and median length of the pulses at each angle, in microseconds."""
    bench.stop()
    script = bench.pi.put(Path(__file__).parent / "guest/sweep.py")
    with bench.traced():
        told = bench.pi.run(
            f"install -d -o bin-daemon /run/sweep && cd /run/sweep && LG_WD=/run/sweep "
            f"runuser -u bin-daemon -- {PYTHON} {script} {CONFIG} {ANGLES}",
            limit_s=120,
        )
        edges = bench.edges()
    marks = json.loads(told.splitlines()[-1])
    found = []
    for wanted, since, until in marks:
        found.append((wanted, median_us([e for e in edges if since < e[0] < until])))
    return found


def test_a_sweep_over_a_millisecond_gives_at_least_19_rising_pulses(
    swept: list[tuple[float, float]],
) -> None:
    widths = [width for _, width in swept]
    # The longest chain of medians of which each is longer than the one before.
    longest: list[int] = []
    for i, width in enumerate(widths):
        longest.append(1 + max((longest[j] for j in range(i) if widths[j] < width), default=0))
    assert max(longest) >= 19, widths


def test_pulses_differ_by_what_the_angles_differ(swept: list[tuple[float, float]]) -> None:
    (first_wanted, first), *rest = swept
    for wanted, width in rest:
        assert width - first == pytest.approx(wanted - first_wanted, abs=100), swept


def test_after_a_sigkill_the_line_is_low_until_the_daemon_is_back(sorting: Bench) -> None:
    before = sorting.restarts
    with sorting.traced():
        sorting.show("items/plastic_bottle")
        wait_until(lambda: len(sorting.edges()) > 10, "the flap to move")
        killed = sorting.now_s()
        sorting.pi.run(f"systemctl kill -s {int(signal.SIGKILL)} {UNIT}")
        # RestartSec is 2 s, and the daemon takes longer than that to come back.
        sorting.pi.run("sleep 1")
        assert sorting.level(SERVO) == 0
        late = [edge for edge in sorting.edges() if edge[0] > killed + 0.5]
        assert not any(up for _, up in late), late
    sorting.show("empty")
    sorting.wait_restarted(before)
