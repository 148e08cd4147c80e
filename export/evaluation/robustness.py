"""Disturb pictures as bins do, to see what a model still knows of them.

The same picture, condition and seed always give the same pixels. What a model says of them comes
from a function that is handed in: nothing here knows about networks or files.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from bin_daemon.model.calibration import accuracy, confusion, macro
from export.views.augment import GAMMA
from export.views.cutouts import cut_out

REFERENCE_SIDE = 224  # lengths are in pixels of a picture of this side, and grow with it
PICTURES = 500  # as many are disturbed; more would tell little more and take long

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Condition:
    """One way to disturb a picture, in words, with the strengths that are tried, mildest first.

    `disturb` takes a square uint8 (s, s, 3), a strength and a generator, and gives uint8 (s, s, 3),
    or None where this picture cannot be disturbed so.
    """

    name: str
    text: str
    strengths: tuple[float, ...]
    disturb: Callable[[Array, float, Rng], Array | None]


def _dark(square: Array, exposure: float, _rng: Rng) -> Array:
    return _bytes(255.0 * (square / 255.0) * exposure ** (1.0 / GAMMA))


def _noise(square: Array, sigma: float, rng: Rng) -> Array:
    return _bytes(square + rng.normal(0.0, sigma, square.shape))


def _blur(square: Array, sigma: float, _rng: Rng) -> Array:
    return cv2.GaussianBlur(square, (0, 0), sigma * len(square) / REFERENCE_SIDE)


def _jpeg(square: Array, quality: float, _rng: Rng) -> Array:
    _, stream = cv2.imencode(".jpg", square[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return np.ascontiguousarray(cv2.imdecode(stream, cv2.IMREAD_COLOR)[..., ::-1])


def _rotation(square: Array, angle_deg: float, rng: Rng) -> Array:
    return _warped(square, angle_deg * float(rng.choice((-1.0, 1.0))), 1.0)


def _scale(square: Array, scale: float, _rng: Rng) -> Array:
    return _warped(square, 0.0, scale)


def _ground(square: Array, darkness: float, rng: Rng) -> Array | None:
    """The item on a background whose colour fades from one side to the other."""
    size = len(square)
    mask = _item(square.tobytes(), size)
    if mask is None:
        return None
    angle = rng.uniform(0.0, 2.0 * np.pi)
    y, x = np.mgrid[-0.5 : 0.5 : size * 1j, -0.5 : 0.5 : size * 1j]
    fade = 1.0 + 0.3 * (x * np.cos(angle) + y * np.sin(angle))
    colour = 255.0 * (1.0 - darkness) * rng.uniform(0.75, 1.0, 3)
    return _bytes(mask * square + (1.0 - mask) * fade[..., np.newaxis] * colour)


@functools.lru_cache(maxsize=PICTURES)
def _item(pixels: bytes, size: int) -> Array | None:
    """Where the item lies, float32 (size, size, 1); None where the background is not plain."""
    item = cut_out(np.frombuffer(pixels, np.uint8).reshape(size, size, 3))
    return None if item is None or item.mask.min() > 0.5 else item.mask[..., np.newaxis]


CONDITIONS = (
    Condition("dark", "share of the light that is left", (0.5, 0.25, 0.1), _dark),
    Condition("noise", "sigma of sensor noise in grey levels", (8, 16, 32), _noise),
    Condition("blur", "sigma of a Gaussian in pixels of 224", (1, 2, 4), _blur),
    Condition("jpeg", "quality", (40, 20, 10), _jpeg),
    Condition("rotation", "angle in degrees, left or right", (15, 45, 90), _rotation),
    Condition("ground", "darkness of another background against white", (0.3, 0.6, 0.85), _ground),
    Condition("scale", "size against the view", (0.75, 0.5), _scale),
)

Judge = Callable[[Array], tuple[Array, Array]]
"""uint8 (n, s, s, 3) -> the class found, int (n,), and whether it is accepted, bool (n,)."""


def disturbed(square: Array, condition: Condition, strength: float, seed: int) -> Array | None:
    """A picture under a condition, uint8 (s, s, 3); None where it cannot be disturbed so."""
    return condition.disturb(square, strength, np.random.default_rng(seed))


def measure(squares: Array, truth: Array, classes: int, judge: Judge) -> list[dict[str, Any]]:
    """One row for the clean pictures and for each condition and strength, as `row` makes it.

    Takes uint8 (n, s, s, 3) RGB, as the network sees them, and their true classes, int (n,).
    """
    clean = judge(squares)
    about: dict[str, Any] = {"condition": "clean", "text": "as photographed", "strength": None}
    rows = [row(about, truth, classes, clean, clean[0])]
    for condition in CONDITIONS:
        for strength in condition.strengths:
            made = [disturbed(square, condition, strength, i) for i, square in enumerate(squares)]
            chosen = [i for i, square in enumerate(made) if square is not None]
            if not chosen:
                continue
            judged = judge(np.stack([square for square in made if square is not None]))
            about = {"condition": condition.name, "text": condition.text, "strength": strength}
            rows.append(row(about, truth[chosen], classes, judged, clean[0][chosen]))
    return rows


def row(
    about: dict[str, Any],
    truth: Array,
    classes: int,
    judged: tuple[Array, Array],
    clean_found: Array,
) -> dict[str, Any]:
    """Counts of a condition, and the figures that follow from them.

    `clean_found` is of the same pictures undisturbed, so that the loss is that of the condition
    where it could not be applied to all.
    """
    found, accepted = judged
    return with_figures(
        {
            **about,
            "confusion": confusion(found, truth, classes).tolist(),
            "clean_right": int((clean_found == truth).sum()),
            "accepted": int(accepted.sum()),
            "accepted_right": int((found == truth)[accepted].sum()),
        }
    )


def with_figures(counts: dict[str, Any]) -> dict[str, Any]:
    """A row with accuracy, macro recall, loss against clean, and accepted share and precision."""
    table = np.array(counts["confusion"])
    pictures = int(table.sum())
    right = accuracy(table)
    taken = counts["accepted"]
    return {
        **counts,
        "pictures": pictures,
        "accuracy": round(right, 5),
        "macro_recall": round(macro("recall", table), 5),
        "loss": round(counts["clean_right"] / pictures - right, 5),
        "accepted_share": round(taken / pictures, 5),
        "accepted_precision": round(counts["accepted_right"] / taken, 5) if taken else None,
    }


def summed(tables: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Rows of several models on pictures of their own, as one table; rows that all have."""
    keyed = [{(row["condition"], row["strength"]): row for row in rows} for rows in tables]
    result = []
    for key, first in keyed[0].items():
        rows = [table[key] for table in keyed if key in table]
        if len(rows) == len(keyed):
            counted = ("clean_right", "accepted", "accepted_right")
            counts = {name: sum(row[name] for row in rows) for name in counted}
            confusions = np.sum([row["confusion"] for row in rows], axis=0).tolist()
            result.append(with_figures({**first, **counts, "confusion": confusions}))
    return result


def _warped(square: Array, angle_deg: float, scale: float) -> Array:
    """Turned and scaled about the middle; what comes into view has the colour of the border."""
    size = len(square)
    border = np.concatenate([square[0], square[-1], square[:, 0], square[:, -1]])
    turn = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), angle_deg, scale)
    smooth = cv2.GaussianBlur(square, (0, 0), 0.5 / scale) if scale < 1 else square
    colour = np.median(border, axis=0).tolist()
    constant = cv2.BORDER_CONSTANT
    return cv2.warpAffine(smooth, turn, (size, size), None, cv2.INTER_LINEAR, constant, colour)


def _bytes(pixels: Array) -> Array:
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
