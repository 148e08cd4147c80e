"""The virtual Pi of these tests: the installed package and its unit on a machine without a Pi.

They need the folder that `make hil` builds, $BIN_DAEMON_HIL or build/hil, and root; without them
they skip. One machine serves all tests that do not take a machine apart.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import UNIT, Bench
from pi import Pi

TREE = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def home() -> Path:
    """The built folder; skips where a part of it is missing."""
    folder = Path(os.environ.get("BIN_DAEMON_HIL", TREE / "build/hil")).resolve()
    for part in ("bin/linux-um", "root.ext4"):
        if not (folder / part).exists():
            pytest.skip(f"needs the virtual Pi: {folder} has no {part}; `make hil` builds it")
    if os.geteuid() != 0:
        pytest.skip("needs root: for mounts of its own")
    return folder


@pytest.fixture(scope="session")
def pi(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """The machine, booted."""
    work = tmp_path_factory.mktemp("pi")
    for folder in (work, *work.parents[:2]):
        folder.chmod(0o755)
    with Pi(home, work) as machine:
        yield machine
    shutil.rmtree(work, ignore_errors=True)


@pytest.fixture(scope="session")
def bench(pi: Pi) -> Bench:
    """The bench as the test before has left it."""
    return Bench(pi)


@pytest.fixture
def sorting(bench: Bench) -> Bench:
    """The bench with the service waiting for an item: an empty chamber, free lines."""
    if (
        bench.shown("ActiveState") != "active"
        or (bench.last("state") or {}).get("state") != "waiting"
    ):
        bench.start()
    return bench


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test tells what the service wrote last."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    funcargs = getattr(item, "funcargs", {})
    bench = funcargs.get("bench") or funcargs.get("sorting")
    if report.when == "call" and report.failed and bench is not None:
        told = bench.pi.ask(f"journalctl -q --no-pager -n 40 -o short-monotonic -u {UNIT}")[1]
        report.sections.append(("journal of the service", told))
