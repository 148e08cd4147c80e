"""A virtual Pi: a User-Mode Linux machine that runs commands and tells what its broker hears.

Commands flow in over its first serial line and their output flows out; its broker's messages come
over the second one. It boots the image that build.sh made, on a disk of its own that is thrown
away. It knows nothing of bin_daemon.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

EOT = b"\x04"
BOOT_S = 90.0
MEMORY = "1200M"


class GuestError(AssertionError):
    """A command in the virtual Pi failed, or did not end in time."""


def wait_until(condition: Callable[[], Any], what: str, limit_s: float = 30.0) -> Any:
    """The first true value of `condition`; raises GuestError with `what` where none comes."""
    until = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > until:
            raise GuestError(f"waited {limit_s:g} s in vain for {what}")
        time.sleep(0.05)
    return value


class Pi:
    """One machine, from boot to power-off.

    home: the folder that build.sh filled. work: an empty folder; the machine sees it as /hil.
    """

    def __init__(self, home: Path, work: Path) -> None:
        self.work = work
        self.heard: list[tuple[float, str, str]] = []
        """What its broker heard: time.monotonic of the host, topic, payload."""
        self._shell, shell = socket.socketpair()
        self._ear, ear = socket.socketpair()
        self._unread = b""
        self._console = (work / "console.log").open("wb")
        program = [
            str(home / "bin/linux-um"), f"mem={MEMORY}", f"uml_dir={work}/uml", "umid=pi",
            f"ubd0={work}/disk.cow,{home}/root.ext4", "root=/dev/ubda", "rw", "quiet",
            f"ssl0=fd:{shell.fileno()}", f"ssl1=fd:{ear.fileno()}", "ssl=null",
            "con0=null,fd:1", "con=null", "mitigations=off", "systemd.show_status=0",
            f"hil.share={work}",
        ]  # fmt: skip
        # Its processes hand over to one another all the time: on one processor twice as fast.
        pinned = ["taskset", "-c", str(max(os.sched_getaffinity(0)))]
        self._process = subprocess.Popen(
            pinned + program if shutil.which("taskset") else program,
            stdin=subprocess.DEVNULL, stdout=self._console, stderr=self._console,
            pass_fds=(shell.fileno(), ear.fileno()), start_new_session=True,
        )  # fmt: skip
        shell.close()
        ear.close()
        threading.Thread(target=self._listen, name="ear", daemon=True).start()
        try:
            self._answer(BOOT_S)
        except GuestError as error:
            self.kill()
            told = (work / "console.log").read_text(errors="replace")[-2000:]
            raise GuestError(f"the virtual Pi does not boot: {error}\n{told}") from error

    def _listen(self) -> None:
        with self._ear.makefile("rb") as lines:
            for line in lines:
                topic, _, payload = line.decode(errors="replace").rstrip("\r\n").partition(" ")
                self.heard.append((time.monotonic(), topic, payload))

    def _answer(self, limit_s: float) -> tuple[int, str]:
        until = time.monotonic() + limit_s
        while not (found := re.search(rb"\x04(\d+)\r?\n", self._unread)):
            self._shell.settimeout(max(0.01, until - time.monotonic()))
            try:
                more = self._shell.recv(65536)
            except TimeoutError as error:
                tail = self._unread[-2000:].decode(errors="replace")
                raise GuestError(f"no answer within {limit_s:g} s; so far: {tail}") from error
            if not more:
                raise GuestError("the machine is gone")
            self._unread += more
        output = self._unread[: found.start()].decode(errors="replace")
        self._unread = self._unread[found.end() :]
        return int(found[1]), output

    def ask(self, command: str, limit_s: float = 60.0) -> tuple[int, str]:
        """Run a command with bash, as root: its exit status, and all that it printed."""
        self._shell.sendall(command.encode() + EOT)
        return self._answer(limit_s)

    def run(self, command: str, limit_s: float = 60.0) -> str:
        """What a command printed; raises GuestError where it fails."""
        status, output = self.ask(command, limit_s)
        if status:
            raise GuestError(f"{command!r} ended with {status}:\n{output}")
        return output.strip()

    def run_until_cut(self, command: str, lines: int, limit_s: float = 60.0) -> list[str]:
        """Run a command until it has printed so many lines, then pull the plug: what it printed."""
        self._shell.sendall(command.encode() + EOT)
        self._shell.settimeout(limit_s)
        while self._unread.count(b"\n") < lines:
            more = self._shell.recv(65536)
            if not more or EOT in more:
                told = (self._unread + more).decode(errors="replace")
                raise GuestError(f"{command!r} ended by itself:\n{told}")
            self._unread += more
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(OSError):
            while more := self._shell.recv(65536):
                self._unread += more
        return self._unread.decode(errors="replace").split("\n")[:-1]

    def put(self, source: Path) -> str:
        """Copy a file of the host into the folder that the machine sees; its name there."""
        shutil.copy(source, self.work)
        return f"/hil/{source.name}"

    def payloads(self, topic: str, since: float = 0.0) -> list[str]:
        """What the broker heard on a topic, in order."""
        return [payload for at, where, payload in list(self.heard) if where == topic and at > since]

    def close(self) -> None:
        """Power off."""
        if self._process.poll() is None:
            self._shell.sendall(b"systemctl poweroff --force --force &" + EOT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
        self.kill()

    def kill(self, *, keep_disk: bool = False) -> None:
        """Pull the plug. keep_disk: the next machine of the same `work` boots from it."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._console.close()
        self._shell.close()
        if not keep_disk:
            (self.work / "disk.cow").unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
