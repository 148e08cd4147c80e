"""Single keys from a terminal, which is restored however the block ends.

Bytes of the terminal flow in, names of keys flow out. Ctrl-C stays an interrupt, and a hang-up or
SIGTERM ends the program in the ordinary way, so that a servo that moves is silenced.
"""

from __future__ import annotations

import contextlib
import errno
import os
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
}
_ESCAPE = b"\x1b"
_LONGEST = 8
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
        self._write("\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in lines) + "\x1b[J")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def decoded(data: bytes) -> tuple[list[str], bytes]:
    """The keys in what a terminal sent, and the beginning of a key whose end is still to come.

    A sequence that is not known is dropped as a whole; it never becomes the letters in it.
    """
    keys: list[str] = []
    while data:
        size = _size(data)
        if size == 0:
            return keys, data
        part, data = data[:size], data[size:]
        if name := _KEYS.get(part):
            keys.append(name)
        elif part == _ESCAPE:
            keys.append("escape")
        elif len(part) == 1 and part.isascii() and part.decode().isprintable():
            keys.append(part.decode())
    return keys, b""


def _size(data: bytes) -> int:
    """The length of the first key in `data`; 0 where it is not complete."""
    if not data.startswith(_ESCAPE):
        return 1
    if len(data) == 1:
        return 0
    if data[1:2] not in (b"[", b"O"):
        return 1
    for at in range(2, len(data)):
        if 0x40 <= data[at] <= 0x7E:  # the final byte of a control sequence
            return at + 1
    return 0 if len(data) < _LONGEST else len(data)
