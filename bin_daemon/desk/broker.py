"""A private mosquitto for the demo: on a free port of this machine, ended with the demo."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from bin_daemon.core.closing import Closing
from bin_daemon.core.errors import BinDaemonError

_START_S = 10.0


class Broker(Closing):
    """A running mosquitto that only this machine can reach, without passwords.

    folder: where its configuration and log go. host, port: where it listens.
    Raises BinDaemonError where mosquitto is not installed or does not start.
    """

    host = "127.0.0.1"

    def __init__(self, folder: Path) -> None:
        # Debian installs it outside the PATH of users.
        path = os.pathsep.join([*os.get_exec_path(), "/usr/sbin", "/usr/local/sbin"])
        program = shutil.which("mosquitto", path=path)
        if program is None:
            raise BinDaemonError("mosquitto is not installed; sudo apt install mosquitto")
        with socket.socket() as probe:
            probe.bind((self.host, 0))
            self.port: int = probe.getsockname()[1]
        config = folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} {self.host}\nallow_anonymous true\npersistence false\n"
        )
        log_path = folder / "mosquitto.log"
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [program, "-c", os.fspath(config)],
                stdout=log,
                stderr=log,
                # Ctrl-C at the terminal is for the daemon, which still has to sign off here.
                start_new_session=True,
            )
        with contextlib.ExitStack() as failed:
            failed.callback(self.close)
            self._wait(log_path)
            failed.pop_all()

    def _wait(self, log_path: Path) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection((self.host, self.port), timeout=0.2).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        said = log_path.read_text(errors="replace").strip().splitlines() or ["it gives no reason"]
        raise BinDaemonError(f"mosquitto does not start: {said[-1]}")

    def close(self) -> None:
        """End the broker; a second call does nothing."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
