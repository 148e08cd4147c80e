"""Words on a picture, legible on any background: letters on plates that find their own place.

A canvas (uint8 (h, w, 3) RGB), words and the boxes that should stay in sight flow in; the words are
drawn onto the canvas, inside its borders.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Sequence

import cv2

from bin_daemon.chamber.crop import Box
from bin_daemon.core.messages import Image

Colour = tuple[int, int, int]  # RGB

INK, PAPER = (0, 0, 0), (255, 255, 255)
_TEXT = 1 / 30  # height of capitals, as a share of the canvas's shorter side
_LEAST_TEXT = 9  # pixels; smaller is no text
_LINE = 1 / 200  # thickness of an outline, as a share of the shorter side
_FACE = cv2.FONT_HERSHEY_SIMPLEX
_CAPITALS = 21.0  # height of that face's capitals at scale 1, in pixels


@dataclasses.dataclass(frozen=True, slots=True)
class Pen:
    """Sizes in pixels: height of capitals, outline, and what follows from them."""

    text: int
    line: int

    @classmethod
    def on(cls, canvas: Image) -> Pen:
        """The pen that fits a canvas."""
        side = min(canvas.shape[:2])
        return cls(max(_LEAST_TEXT, round(side * _TEXT)), max(2, round(side * _LINE)))

    @property
    def pad(self) -> int:
        """Between words and the rim of their plate."""
        return max(4, self.text // 2)

    @property
    def row(self) -> int:
        """From one line of words to the next."""
        return round(1.7 * self.text)

    def width(self, words: str) -> int:
        """Of `words` as `write` draws them."""
        (width, _), _ = cv2.getTextSize(words, _FACE, *self._strokes)
        return width

    def write(self, canvas: Image, words: str, at: tuple[int, int], ink: Colour) -> None:
        """Draw one line that begins, and stands, at `at` (x, y)."""
        scale, thickness = self._strokes
        cv2.putText(canvas, words, at, _FACE, scale, ink, thickness, cv2.LINE_AA)

    @property
    def _strokes(self) -> tuple[float, int]:
        """Scale and thickness of the letters."""
        return self.text / _CAPITALS, max(1, round(self.text / 9))


@dataclasses.dataclass(frozen=True, slots=True)
class Plate:
    """Lines of words on a colour, in letters that fit."""

    words: tuple[str, ...]
    colour: Colour
    pen: Pen
    size: tuple[int, int]

    @classmethod
    def fitted(cls, words: Sequence[str], colour: Colour, canvas: Image) -> Plate:
        """A plate no wider than `canvas`: in smaller letters, or cut short, if need be."""
        pen, room = Pen.on(canvas), canvas.shape[1]
        while pen.text > _LEAST_TEXT and max(map(pen.width, words)) > room - 2 * pen.pad:
            pen = Pen(pen.text - 1, pen.line)
        shown = tuple(_shortened(line, pen, room - 2 * pen.pad) for line in words)
        size = (max(map(pen.width, shown)) + 2 * pen.pad, pen.row * len(shown) + pen.pad)
        return cls(shown, colour, pen, size)

    def put(self, canvas: Image, at: tuple[int, int]) -> Box:
        """Draw it with its left top corner at `at`; gives the box that it takes."""
        (x, y), (width, height) = at, self.size
        cv2.rectangle(canvas, (x, y), (x + width - 1, y + height - 1), self.colour, cv2.FILLED)
        cv2.rectangle(canvas, (x, y), (x + width - 1, y + height - 1), INK, 1)
        for i, line in enumerate(self.words, start=1):
            start = (x + self.pen.pad, y + self.pen.row * i)
            self.pen.write(canvas, line, start, _ink_on(self.colour))
        return x, y, width, height

    def put_by(self, canvas: Image, box: Box, others: Sequence[Box]) -> Box:
        """Draw it beside `box` where it hides least of that and of `others`."""
        left, top, width, height = box
        right, bottom = left + width, top + height
        wide, high = self.size
        above_below = [(x, y) for x in (left, right - wide) for y in (top - high, bottom)]
        beside = [(right, top), (left - wide, top)]
        spots = [*above_below, *beside, (left, top), (left, bottom - high)]
        return self._put_best(canvas, spots, [*others, box])

    def put_in_corner(self, canvas: Image, others: Sequence[Box]) -> Box:
        """Draw it in the corner of the canvas where it hides least of `others`."""
        height, width = canvas.shape[:2]
        spots = [(0, height), (width, height), (0, 0), (width, 0)]
        return self._put_best(canvas, spots, others)

    def _put_best(
        self, canvas: Image, spots: Sequence[tuple[int, int]], others: Sequence[Box]
    ) -> Box:
        """Draw it at the first of `spots`, moved into the canvas, that hides the least."""
        right = max(0, canvas.shape[1] - self.size[0])
        bottom = max(0, canvas.shape[0] - self.size[1])
        inside = [(min(max(0, x), right), min(max(0, y), bottom)) for x, y in spots]

        def hidden(at: tuple[int, int]) -> int:
            return sum(_shared((*at, *self.size), box) for box in others)

        return self.put(canvas, min(inside, key=hidden))


def drawable(text: str) -> str:
    """`text` in the letters that OpenCV draws, ASCII; "" where nothing of it is left."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().strip()


def _shortened(line: str, pen: Pen, room: int) -> str:
    if pen.width(line) <= room:
        return line
    while line and pen.width(f"{line}...") > room:
        line = line[:-1]
    return f"{line}..."


def _ink_on(colour: Colour) -> Colour:
    """Black or white, whichever has more contrast to `colour` (relative luminance of WCAG 2)."""
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return INK if luminance > 0.18 else PAPER


def _shared(a: Box, b: Box) -> int:
    """Pixels that two boxes have in common."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0, wide) * max(0, high)
