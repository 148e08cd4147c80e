"""A virtual Pi whose plug is pulled: its page cache is gone, its disk is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import CONFIG, PYTHON
from pi import Pi

ENOUGH = 40


def test_an_event_that_was_acknowledged_survives_a_power_cut(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    work = tmp_path_factory.mktemp("cut")
    work.chmod(0o755)
    machine = Pi(home, work)
    try:
        script = machine.put(Path(__file__).parent / "guest/store.py")
        acknowledged = machine.run_until_cut(f"{PYTHON} {script} {CONFIG} /root/cut", ENOUGH)
        assert len(acknowledged) >= ENOUGH
    finally:
        machine.kill(keep_disk=True)
    with Pi(home, work) as machine:
        kept = machine.run("bin-daemon events --json --limit 100000 --state /root/cut")
        lost = [name for name in acknowledged if name not in kept]
        assert lost == []
        assert "recovery complete" in machine.run("dmesg")
