"""Single keys from a terminal, which is restored however the block ends.

Bytes of the terminal flow in, names of keys flow out. Ctrl-C stays an interrupt, and a hang-up or
SIGTERM ends the program in the ordinary way, so that a servo that moves is silenced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Self

# ECMA-48 and xterm: cursor keys in both modes of a terminal, page keys, line ends, erasing.
_KEYS = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1b[5~": "pgup",
    b"\x1b[6~": "pgdn",
    b"\t": "tab",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "backspace",
    b"\b": "backspace",
    b"\x1b": "escape",
}
# One byte; an escape that begins no sequence; a control sequence with its final byte, or without it
# where none that long is known.
_KEY = re.compile(rb"[^\x1b]|\x1b(?=[^\[O])|\x1b[\[O](?:[^@-~]*[@-~]|[^@-~]{6,})", re.DOTALL)
_SCREEN_ON, _SCREEN_OFF = "\x1b[?1049h\x1b[?25l", "\x1b[?1049l\x1b[?25h"


@contextlib.contextmanager
def orderly_end() -> Iterator[None]:
    """Let SIGTERM, SIGHUP and Ctrl-Z unwind the program instead of dropping or freezing it."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {n: signal.signal(n, end) for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Keyboard:
    """Keys one by one, and a screen of its own to draw on; a context manager."""

    def __init__(self) -> None:
        self._input = sys.stdin.fileno()
        self._rest = b""
        self._shown: list[str] = []

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._input)
        tty.setcbreak(self._input)
        self._write(_SCREEN_ON)
        return self

    def __exit__(self, *error: object) -> None:
        termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)
        with contextlib.suppress(OSError):  # the terminal may be gone
            self._write(_SCREEN_OFF)

    def keys(self, timeout_s: float) -> list[str]:
        """What was pressed within `timeout_s`. Raises OSError where the terminal has gone."""
        if not select.select([self._input], [], [], timeout_s)[0]:
            # Nothing follows: what is left is no beginning of a longer key.
            found, self._rest = ["escape"] if self._rest else [], b""
            return found
        data = os.read(self._input, 64)
        if not data:
            raise OSError(errno.EIO, "the terminal has gone")
        found, self._rest = decoded(self._rest + data)
        return found

    def draw(self, lines: list[str]) -> None:
        """Show these lines and nothing else."""
        if lines == self._shown:
            return
        self._shown = lines
        self._write("\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in lines) + "\x1b[J")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def decoded(data: bytes) -> tuple[list[str], bytes]:
    """The keys in what a terminal sent, and the beginning of a key whose end is still to come.

    A sequence that is not known is dropped as a whole; it never becomes the letters in it.
    """
    keys: list[str] = []
    end = 0
    while found := _KEY.match(data, end):
        end, part = found.end(), found[0]
        if name := _KEYS.get(part):
            keys.append(name)
        elif len(part) == 1 and part.isascii() and part.decode().isprintable():
            keys.append(part.decode())
    return keys, data[end:]
