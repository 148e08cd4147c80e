"""End-to-end tests run `bin-daemon` as a user does: as a process, on files, against a real broker.

Needs `mosquitto` (Debian: apt-get install mosquitto); what needs it is skipped where it is missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Runs `bin-daemon` to its end with a home of its own; returns code, output and errors."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bin_daemon", *map(str, arguments)],
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "home"), **environment},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], subprocess.Popen[str]]]:
    """Starts `bin-daemon run` on a configuration; kills what is left at the end of the test."""
    running: list[subprocess.Popen[str]] = []

    def begin(config: dict[str, Any]) -> subprocess.Popen[str]:
        path = tmp_path / "bin.yaml"
        path.write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "bin_daemon", "run", "--config", str(path)]
        command += ["--state", str(tmp_path / "state")]
        running.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Any]:
    """A broker that lets everybody in and keeps sessions of clients that come back."""
    from mqtt_parts import MOSQUITTO, Broker

    if MOSQUITTO is None:
        pytest.skip("needs mosquitto")
    made = Broker(tmp_path / "broker")
    made.start()
    yield made
    made.stop()
