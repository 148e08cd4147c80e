"""A picture of what the bin saw: each thing with its mask, box, class, confidence and route.

A still and its `Instances` flow in, a picture to look at flows out; with class-activation maps it
shows what spoke for the class, too. Nothing here decides or measures.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from bin_daemon.chamber.crop import Box
from bin_daemon.core.errors import UsageError
from bin_daemon.core.images import MAX_PIXELS, SUFFIXES
from bin_daemon.core.messages import Image, Mask
from bin_daemon.explain.captions import INK, PAPER, Colour, Pen, Plate, drawable
from bin_daemon.explain.saliency import ClassMaps
from bin_daemon.explain.stills import Instance, Instances
from bin_daemon.model.calibration import Floats

# Okabe and Ito, "Color Universal Design" (2008), without black: told apart with any kind of colour
# blindness. In the order in which neighbours differ most.
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (0, 114, 178),
)
_DARKER = 0.55  # each further round of the palette
_LEAST_SIDE = 400  # pixels; a still whose shorter side is less is enlarged
_FILL = 0.32  # opacity of a mask
_HEAT = 0.6  # opacity of the heat


def colours(labels: Sequence[str]) -> dict[str, Colour]:
    """A colour (RGB) for each label, by its place: a model's classes keep theirs."""
    found = {}
    for i, label in enumerate(labels):
        shade = _DARKER ** (i // len(PALETTE))
        red, green, blue = PALETTE[i % len(PALETTE)]
        found[label] = (round(red * shade), round(green * shade), round(blue * shade))
    return found


def draw(image: Image, seen: Instances, maps: Sequence[ClassMaps] = ()) -> Image:
    """`image` (uint8 (h, w, 3) RGB) with what was seen on it, as a new picture.

    maps: of each of its things, or none; then heat takes the place of the masks' colour.
    A still whose shorter side is less than 400 pixels is enlarged by a whole number.
    """
    factor = _enlarged(*image.shape[:2])
    canvas = np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)
    pen, things = Pen.on(canvas), seen.things
    paint = colours(seen.whole.prediction.labels)
    boxes = [_scaled(thing.box, factor) for thing in things]
    if maps:
        _heat(canvas, things, maps, factor)
    for thing, box in zip(things, boxes, strict=True):
        if thing.mask is not None:
            colour = paint[thing.prediction.label]
            _mask(canvas, thing.mask, colour, pen, filled=not maps)
            _frame(canvas, box, colour, pen)
    taken = list(boxes)
    if maps:
        taken.append(_legend(canvas, _strongest(things, maps), boxes))
    if len(things) > 1:
        together = seen.whole.decision
        words = [drawable(f"together -> {together.route}: {together.reason}")]
        banner = Plate.fitted(words, PAPER, canvas)
        taken.append(banner.put_by(canvas, _scaled(seen.whole.box, factor), taken))
    for thing, box in zip(things, boxes, strict=True):
        words = _words(thing, alone=len(things) > 1)
        plate = Plate.fitted(words, paint[thing.prediction.label], canvas)
        taken.append(plate.put_by(canvas, box, taken))
    return canvas


def _enlarged(height: int, width: int) -> int:
    """By how much a still is enlarged so that words find room, as far as memory goes."""
    wanted = math.ceil(_LEAST_SIDE / min(height, width))
    return max(1, min(wanted, math.isqrt(MAX_PIXELS // (height * width))))


def _words(thing: Instance, *, alone: bool) -> list[str]:
    seen, route = thing.prediction, thing.decision.route
    name = drawable(seen.label) or f"class {seen.labels.index(seen.label) + 1}"
    return [f"{name} {seen.confidence:.2f}", drawable(f"{'alone ' if alone else ''}-> {route}")]


def _scaled(box: Box, factor: int) -> Box:
    x, y, width, height = box
    return x * factor, y * factor, width * factor, height * factor


def _mask(canvas: Image, mask: Mask, colour: Colour, pen: Pen, *, filled: bool) -> None:
    size = (canvas.shape[1], canvas.shape[0])
    drawn = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    if filled:
        inside = drawn > 0
        blend = canvas[inside] * (1 - _FILL) + np.array(colour) * _FILL
        canvas[inside] = np.rint(blend).astype(np.uint8)
    contours, _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    # A dark rim tells a light outline from a light background, and a dark one from a dark thing.
    for edge, width in ((INK, pen.line + 2), (colour, pen.line)):
        cv2.drawContours(canvas, contours, -1, edge, width, cv2.LINE_AA)


def _frame(canvas: Image, box: Box, colour: Colour, pen: Pen) -> None:
    x, y, width, height = box
    inset = pen.line  # at the border of the picture it stays in sight
    low = (max(inset, x), max(inset, y))
    right, bottom = canvas.shape[1] - inset, canvas.shape[0] - inset
    high = (min(right, x + width) - 1, min(bottom, y + height) - 1)
    for edge, thick in ((INK, pen.line + 2), (colour, pen.line)):
        cv2.rectangle(canvas, low, high, edge, thick, cv2.LINE_AA)


def _strongest(things: Sequence[Instance], maps: Sequence[ClassMaps]) -> float:
    """The strongest evidence in view, in logits; one scale serves all things."""
    peaks = [float(m.evidence(t.prediction.label).max()) for t, m in zip(things, maps, strict=True)]
    return max(1e-6, *peaks)


def _heat(
    canvas: Image, things: Sequence[Instance], maps: Sequence[ClassMaps], factor: int
) -> None:
    """Lay the evidence of each thing's class over what the network was shown of it."""
    strength = np.full(canvas.shape[:2], -1.0, np.float32)  # below 0: not looked at
    for thing, found in zip(things, maps, strict=True):
        x, y, width, height = _scaled(thing.window, factor)
        evidence = found.evidence(thing.prediction.label)
        heat = cv2.resize(evidence, (width, height), interpolation=cv2.INTER_CUBIC).clip(0)
        left, top = max(0, x), max(0, y)
        right, bottom = min(canvas.shape[1], x + width), min(canvas.shape[0], y + height)
        part = strength[top:bottom, left:right]
        np.maximum(part, heat[top - y : bottom - y, left - x : right - x], out=part)
    seen = strength >= 0.0
    tint = _ramp(strength[seen, None] / _strongest(things, maps))[:, 0]
    # As opaque everywhere, or white paper would pass for the strongest evidence.
    canvas[seen] = np.rint(canvas[seen] * (1 - _HEAT) + tint * _HEAT).astype(np.uint8)


def _ramp(strength: Floats) -> Image:
    """Strengths 0 to 1, (h, w), as colours whose lightness rises evenly, RGB."""
    levels = np.rint(np.minimum(strength, 1.0) * 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8)


def _legend(canvas: Image, strongest: float, others: Sequence[Box]) -> Box:
    """What the heat means, on a plate in a corner; gives the plate's box."""
    plate = Plate.fitted(["evidence for its class, in logits", ""], PAPER, canvas)
    x, y, width, height = plate.put_in_corner(canvas, others)
    pen, low, high = plate.pen, "0", f"{strongest:.1f}"
    start, stop = x + 2 * pen.pad + pen.width(low), x + width - 2 * pen.pad - pen.width(high)
    base = y + 2 * pen.row
    pen.write(canvas, low, (x + pen.pad, base), INK)
    pen.write(canvas, high, (stop + pen.pad, base), INK)
    bar = np.linspace(0, 1, max(0, stop - start), dtype=np.float32)[None]
    canvas[base - pen.text : base, start : start + bar.shape[1]] = _ramp(bar)
    return x, y, width, height


def targets(out: Path, pictures: Sequence[Path], empty: Path | None) -> dict[Path, Path]:
    """Where the drawing of each picture goes, by picture; makes the folder where `out` is one.

    `out` with the ending of a picture is a file, for one picture; else it is a folder of `.png`
    named as the pictures are. Raises UsageError where that does not work out, or a drawing would
    take the place of `empty`, of a picture, or of another drawing.
    """
    if out.suffix.lower() in SUFFIXES and not out.is_dir():
        if (count := len(set(pictures))) > 1:
            raise UsageError(f"--overlay: {count} pictures do not fit one file; name a folder")
        if not out.parent.is_dir():
            raise UsageError(f"--overlay: {out.parent}: no such folder; make it first")
        found = dict.fromkeys(pictures, out)
    elif out.suffix and not out.is_dir():
        kinds = ", ".join(SUFFIXES)
        raise UsageError(f"--overlay: {out}: neither a folder that is there, nor one of {kinds}")
    else:
        found = {picture: out / f"{picture.stem}.png" for picture in pictures}
    for target, named in itertools.groupby(sorted(found, key=found.__getitem__), found.get):
        if len(same := list(named)) > 1:
            raise UsageError(f"--overlay: {same[0]} and {same[1]} would both be drawn to {target}")
    given = [picture for picture in (*pictures, empty) if picture and picture.exists()]
    for target in found.values():
        if target.exists() and any(map(target.samefile, given)):
            raise UsageError(f"--overlay: {target} would be overwritten; name another place")
    if out not in found.values():
        out.mkdir(parents=True, exist_ok=True)
    return found


def write_picture(path: Path, image: Image) -> None:
    """Write `image` (uint8 (h, w, 3) RGB) in the format that the ending of `path` names.

    Raises OSError where that cannot be.
    """
    whole, data = cv2.imencode(path.suffix.lower(), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not whole:
        raise OSError(None, "cannot be encoded; name a .png", str(path))
    path.write_bytes(data.tobytes())
