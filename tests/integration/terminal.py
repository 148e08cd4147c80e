"""`bin-daemon` in a real pseudo-terminal, for tests that press keys."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest


class Terminal:
    """A program in a terminal of 80 by 24; `said` is all that it has written."""

    def __init__(self, *arguments: str, state: Path) -> None:
        self.master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self._slave)
        self.said = ""
        self.process = subprocess.Popen(
            [
                # Tests that run in the background of a shell are born deaf to Ctrl-C.
                "env", "--default-signal=INT", "setsid", "--ctty",
                sys.executable, "-m", "bin_daemon", *arguments, "--state", str(state),
            ],
            stdin=self._slave, stdout=self._slave, stderr=self._slave,
        )  # fmt: skip

    @property
    def settings(self) -> list[object]:
        """How the terminal is set now."""
        return termios.tcgetattr(self._slave)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.master, keys.encode())

    def wait_for(self, words: str, timeout_s: float = 60.0) -> None:
        """Until it has written these words; they are not found a second time."""
        deadline = time.monotonic() + timeout_s
        while words not in self.said:
            if not select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))[0]:
                pytest.fail(f"waited in vain for {words!r}; it said {self.said!r}")
            self.said += os.read(self.master, 4096).decode(errors="replace")
        self.said = self.said[self.said.index(words) + len(words) :]

    def end(self) -> int:
        """Wait for its end; the exit code."""
        deadline = time.monotonic() + 60.0
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.05)[0]:
                self.said += os.read(self.master, 4096).decode(errors="replace")
        code = self.process.wait(60)
        while select.select([self.master], [], [], 0.05)[0]:
            self.said += os.read(self.master, 4096).decode(errors="replace")
        return code

    def close(self) -> None:
        """Kill what is left."""
        self.process.kill()
        self.process.wait()
        os.close(self._slave)
        os.close(self.master)
