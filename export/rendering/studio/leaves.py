"""Paper: crumpled and flat sheets, envelopes, newspapers, bags.

A random generator flows in, parts that lie on the floor flow out.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.materials import coated, matte
from export.rendering.mesh import creases, crumpled, hemmed, joined, sheet
from export.rendering.parts import Part
from export.rendering.studio.chance import Rng, chosen, colour, happens, near, word
from export.rendering.studio.prints import printed
from export.rendering.texture import cloud, done, kraft, letter, lined, plain


def newsprint(h: int, w: int, rng: Rng) -> Array:
    """A newspaper's page: headline, columns of grey lines, pictures."""
    img = plain(h, w, near(rng, (222, 217, 204), 6)) + 2 * cloud(h, w, 6, rng)[..., None]
    ink = (64, 62, 60)
    cv2.putText(
        img, word(rng).upper(), (int(0.06 * w), int(0.09 * h)), cv2.FONT_HERSHEY_TRIPLEX,
        w / 330, (40, 40, 40), 3, cv2.LINE_AA,
    )  # fmt: skip
    columns = int(rng.integers(3, 6))
    for c in range(columns):
        left, right = (0.05 + 0.9 * c / columns) * w, (0.03 + 0.9 * (c + 1) / columns) * w
        y = int(0.13 * h)
        while y < 0.96 * h:
            if happens(rng, 0.05):
                tall = int(rng.uniform(0.08, 0.2) * h)
                shade = colour(rng, (0, 0.4), (0.3, 0.8))
                cv2.rectangle(img, (int(left), y), (int(right), min(y + tall, h)), shade, -1)
                y += tall + 6
            elif happens(rng, 0.06):
                y += 10
            else:
                end = right if happens(rng, 0.85) else left + 0.6 * (right - left)
                cv2.line(img, (int(left), y), (int(end), y), ink, 1 + h // 700)
                y += 5 + h // 300
    return done(img)


def page(rng: Rng, kinds: dict[str, float] | None = None) -> Array:
    """What stands on a sheet of paper, uint8 (h, w, 3)."""
    kind = chosen(
        rng, kinds or {"white": 3, "lined": 2, "letter": 3, "news": 2.5, "magazine": 2, "tint": 1}
    )
    h, w = 520, 400
    if kind == "news":
        return newsprint(h, w, rng)
    if kind == "magazine":
        return printed(h, w, rng, repeat=1)
    if kind in ("lined", "letter"):
        drawn = (lined if kind == "lined" else letter)(1040, 800, rng)
        return cv2.resize(done(drawn), (w, h), interpolation=cv2.INTER_AREA)
    rgb = near(rng, (238, 237, 232), 6) if kind == "white" else colour(rng, (0.1, 0.6), (0.6, 1))
    return done(plain(h, w, rgb) + 2 * cloud(h, w, 5, rng)[..., None])


def crumpled_page(rng: Rng) -> list[Part]:
    """A page squeezed into a ball, tight or loose."""
    high = float(rng.uniform(0.18, 0.32))
    leaf = sheet(0.72 * high, high, 190, 250)
    ball = crumpled(leaf, rng, high * float(rng.uniform(0.14, 0.27)), int(rng.integers(24, 70)))
    fine = np.stack([creases(leaf.v[:, :2], rng, 7, 0.035, 0.0045) for _ in range(3)], 1)
    return [Part(replace(ball, v=ball.v + fine), matte(page(rng)))]


def _folded(rng: Rng, v: Array, high: float, folds: int) -> Array:
    """A page that was folded across and does not lie quite flat; its corners curl."""
    step = high / folds
    fold = np.abs((v[:, 1] / step + 0.5 * (folds % 2)) % 2 - 1)
    v[:, 2] += rng.uniform(0, 0.012) * (1 - fold) if folds > 1 else 0
    a = rng.uniform(0, 2 * np.pi)
    v[:, 2] += 0.003 * np.sin(v[:, :2] @ [30 * np.cos(a), 30 * np.sin(a)])
    corner = v[:, :2] @ [np.cos(a), np.sin(a)] - rng.uniform(0.5, 0.9) * 0.5 * high
    v[:, 2] += rng.uniform(0, 2.0) * np.maximum(corner, 0) ** 1.5
    return v


def flat_page(rng: Rng) -> list[Part]:
    """A letter, a leaf of a newspaper or a magazine, unfolded or slightly creased."""
    high = float(rng.uniform(0.14, 0.28))
    leaf = sheet(high * float(rng.uniform(0.62, 0.8)), high, 110, 140)
    v = _folded(rng, leaf.v.copy(), high, int(rng.integers(1, 5)))
    if happens(rng, 0.4):
        v[:, 2] += creases(leaf.v[:, :2], rng, 6, 0.05, float(rng.uniform(0.002, 0.008)))
    if happens(rng, 0.3):
        v = hemmed(replace(leaf, v=v), rng, (0.3 * high, 0.48 * high), int(rng.integers(2, 5))).v
    image = page(rng)
    skin = coated(image, 0.3, 0.4) if happens(rng, 0.25) else matte(image)
    return [Part(replace(leaf, v=v), skin)]


def envelope(rng: Rng) -> list[Part]:
    """An envelope: back with its flap, or front with window, stamp and address."""
    wide, high = float(rng.uniform(0.16, 0.24)), float(rng.uniform(0.10, 0.13))
    h, w = 260, 480
    rgb = chosen(rng, {"white": 0.6, "kraft": 0.25, "tint": 0.15})
    ground = {"white": near(rng, (236, 235, 230), 5), "kraft": near(rng, (186, 150, 104), 8),
              "tint": colour(rng, (0.1, 0.5), (0.6, 1))}[rgb]  # fmt: skip
    img = plain(h, w, ground) + 2 * cloud(h, w, 6, rng)[..., None]
    shade = (np.asarray(ground) * 0.78).tolist()
    if happens(rng, 0.5):
        tip = (w // 2, int(rng.uniform(0.4, 0.7) * h))
        for corner in ((0, 0), (w, 0), (0, h), (w, h)):
            cv2.line(img, corner, tip, shade, 2, cv2.LINE_AA)
    else:
        box = (int(0.1 * w), int(0.45 * h)), (int(0.48 * w), int(0.8 * h))
        cv2.rectangle(img, *box, (206, 212, 216) if happens(rng, 0.6) else ground, -1)
        for row in range(4):
            y = int((0.52 + 0.06 * row) * h)
            cv2.line(
                img, (int(0.13 * w), y), (int(rng.uniform(0.28, 0.45) * w), y), (60, 60, 66), 2
            )
        cv2.rectangle(
            img, (int(0.84 * w), int(0.08 * h)), (int(0.95 * w), int(0.32 * h)), colour(rng), -1
        )
    leaf = sheet(wide, high, 80, 60)
    v = leaf.v.copy()
    v[:, 2] += (
        rng.uniform(0.001, 0.006) * np.cos(np.pi * v[:, 0] / wide) * np.cos(np.pi * v[:, 1] / high)
    )
    v[:, 2] += creases(v[:, :2], rng, 4, 0.06, float(rng.uniform(0, 0.004)))
    under = replace(leaf, v=v * [1, 1, 0.3] - [0, 0, 0.0012])
    return [Part(replace(leaf, v=v), matte(done(img))), Part(under, matte(ground))]


def bag(rng: Rng) -> list[Part]:
    """A paper bag: kraft or white, printed or plain, flat on its side and rumpled."""
    wide, high = float(rng.uniform(0.10, 0.17)), float(rng.uniform(0.16, 0.28))
    h, w = 420, 280
    style = chosen(rng, {"kraft": 0.55, "white": 0.25, "print": 0.2})
    if style == "kraft":
        img = kraft(h, w, rng)
    else:
        img = printed(h, w, rng, near(rng, (234, 230, 220), 8), 1).astype(np.float32)
        if style == "white":
            img = plain(h, w, near(rng, (234, 230, 220), 8))
    leaf = sheet(wide, high, 120, 190)
    x, y = leaf.v[:, 0] / (wide / 2), leaf.v[:, 1] / (high / 2)
    full = np.clip(1 - np.abs(x) ** 4, 0, 1) * np.clip(1 - np.maximum(y, 0) ** 3, 0.1, 1)
    rough = creases(
        leaf.v[:, :2], rng, 8, float(rng.uniform(0.03, 0.07)), float(rng.uniform(0.004, 0.012))
    )
    swell = float(rng.uniform(0.004, 0.03))
    top = leaf.v + np.stack(
        [0 * x, 0.002 * np.sign(np.cos(60 * x)) * (y > 0.98), swell * full + rough], 1
    )
    low = leaf.v + np.stack([0 * x, 0 * x, 0.6 * rough - 0.1 * swell * full], 1)
    low[:, 2] = np.minimum(low[:, 2], top[:, 2] - 0.0006)
    parts = [
        Part(replace(leaf, v=top), matte(done(img))),
        Part(replace(leaf, v=low), matte(done(img * 0.9))),
    ]
    if happens(rng, 0.3):  # twisted handles of a carrier bag
        t = np.linspace(0, np.pi, 40)
        rope = [
            replace(sheet(0.004, 1, 3, 40), v=np.stack(
                [np.repeat(0.28 * wide * np.cos(t), 3), high / 2 + np.repeat(0.04 * np.sin(t), 3),
                 np.tile([-0.002, 0.002, -0.002], 40) + 0.004], 1))
        ]  # fmt: skip
        parts.append(Part(joined(*rope), matte((176, 140, 96))))
    return parts
