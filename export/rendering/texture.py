"""Textures drawn with numpy and OpenCV: board, paper, print, stains, scratches.

All are uint8 sRGB, row 0 at the top; sizes are pixels. The brands on the labels are made up. Each
function takes its own random generator, so a texture does not change when another one is drawn
before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from bin_daemon.core.messages import Array

Colour = Sequence[float]


def cloud(h: int, w: int, cells: int, rng: np.random.Generator, octaves: int = 4) -> Array:
    """Smooth random field (h, w) of about zero mean and unit deviation.

    cells: features across its width.
    """
    out = np.zeros((h, w), np.float32)
    for k in range(octaves):
        n = cells * 2**k
        small = rng.normal(size=(max(2, n * h // w), max(2, n))).astype(np.float32)
        out += cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC) * 0.55**k
    return np.asarray(out / out.std())


def plain(h: int, w: int, colour: Colour) -> Array:
    """One colour, as float32 so that layers can be added."""
    return np.ones((h, w, 3), np.float32) * np.asarray(colour, np.float32)


def done(img: Array) -> Array:
    """Float layers as the uint8 image that the renderer takes."""
    return np.clip(img, 0, 255).astype(np.uint8)


def stained(img: Array, colour: Colour, amount: Array) -> Array:
    """`img` with `colour` laid over it by `amount` (h, w) in 0..1."""
    a = np.clip(amount, 0, 1)[..., None]
    return np.asarray(img * (1 - a) + np.asarray(colour, np.float32) * a)


def written(
    img: Array, text: str, at: tuple[float, float], size: float, colour: Colour, thick: int = 2
) -> Array:
    """`img` with `text` centred at `at`.

    at: fractions of width and height. size: of the letters, as a fraction of the height.
    """
    h, w = img.shape[:2]
    font = cv2.FONT_HERSHEY_DUPLEX
    (tw, th), _ = cv2.getTextSize(text, font, 1.0, thick)
    scale = size * h / th
    where = (int(at[0] * w - tw * scale / 2), int(at[1] * h + th * scale / 2))
    ink = np.zeros((h, w), np.uint8)  # putText of OpenCV 5 draws on bytes only
    cv2.putText(ink, text, where, font, scale, (255,), thick, cv2.LINE_AA)
    return stained(img, colour, ink.astype(np.float32) / 255)


def kraft(h: int, w: int, rng: np.random.Generator, flutes: int = 0) -> Array:
    """Brown board: cloudy pulp, short fibres, and `flutes` faint ridges across the height."""
    img = plain(h, w, (181, 137, 92)) + 5 * cloud(h, w, 5, rng)[..., None]
    img += 5 * rng.normal(size=(h, w, 1)).astype(np.float32)
    for _ in range(h * w // 700):
        x, y, a = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(0, np.pi)
        n = rng.uniform(3, 12)
        end = (int(x + n * np.cos(a)), int(y + n * np.sin(a)))
        tone = img[int(y) % h, int(x) % w] + rng.choice([-22, 16])
        cv2.line(img, (int(x), int(y)), end, tuple(map(float, tone)), 1, cv2.LINE_AA)
    if flutes:
        img += 4.5 * np.cos(2 * np.pi * flutes * np.arange(h) / h)[:, None, None].astype(np.float32)
    return np.asarray(img)


def parcel(h: int, w: int, rng: np.random.Generator, arrows: bool) -> Array:
    """A box panel: kraft with printed arrows and lines, or with an address label."""
    img = kraft(h, w, rng, 16)
    ink = (74, 56, 44)
    if arrows:
        for x in (0.28, 0.46):
            p = np.array(
                [
                    [0, -0.3],
                    [0.1, -0.1],
                    [0.035, -0.1],
                    [0.035, 0.2],
                    [-0.035, 0.2],
                    [-0.035, -0.1],
                    [-0.1, -0.1],
                ]
            )
            p = p * h * 0.9 + [x * w, 0.52 * h]
            cv2.fillPoly(img, [p.astype(np.int32)], ink, cv2.LINE_AA)
        cv2.rectangle(img, (int(0.17 * w), int(0.76 * h)), (int(0.57 * w), int(0.8 * h)), ink, -1)
        return written(img, "FRAGILE", (0.77, 0.5), 0.1, ink, 3)
    img = written(img, "PARTS 24", (0.5, 0.5), 0.16, ink, 3)
    return written(img, "made of old board", (0.5, 0.72), 0.07, ink, 2)


def lined(h: int, w: int, rng: np.random.Generator) -> Array:
    """A page from a pad: blue rules, a red margin, a scribble of blue ink."""
    img = plain(h, w, (236, 235, 230)) + 1.5 * cloud(h, w, 8, rng)[..., None]
    step = h // 26
    for k, y in enumerate(range(2 * step, h, step)):
        cv2.line(img, (0, y), (w, y), (150, 175, 214), 2, cv2.LINE_AA)
        if k % 5 == 4 or k > 19:
            continue
        x = np.arange(int(0.2 * w), int(rng.uniform(0.5, 0.92) * w), 2)
        pen = (
            step
            * 0.22
            * np.sin(x * 0.17 + 2 * np.sin(x * 0.041 + k))
            * (np.sin(x * 0.06 + 5 * k) > -0.7)
        )
        dots = np.stack([x, y - 0.3 * step + pen], 1).astype(np.int32)
        cv2.polylines(img, [dots], False, (46, 58, 120), 2, cv2.LINE_AA)
    cv2.line(img, (int(0.14 * w), 0), (int(0.14 * w), h), (214, 120, 124), 2, cv2.LINE_AA)
    return np.asarray(img)


def letter(h: int, w: int, rng: np.random.Generator) -> Array:
    """A printed page: a coloured head, paragraphs of grey words, a small table."""
    img = plain(h, w, (240, 239, 235))
    cv2.rectangle(
        img, (int(0.1 * w), int(0.07 * h)), (int(0.34 * w), int(0.13 * h)), (38, 96, 150), -1
    )
    img = written(img, "Town council", (0.62, 0.1), 0.032, (40, 44, 52), 2)
    y = int(0.2 * h)
    for para in (5, 7, 4):
        for row in range(para):
            x, end = 0.1 * w, (0.9 if row < para - 1 else rng.uniform(0.35, 0.8)) * w
            while x < end - 12:
                n = min(rng.uniform(0.02, 0.1) * w, end - x)
                cv2.rectangle(img, (int(x), y), (int(x + n), y + h // 110), (92, 92, 98), -1)
                x += n + 0.014 * w
            y += h // 42
        y += h // 30
    for k in range(4):
        cv2.line(img, (int(0.1 * w), y), (int(0.9 * w), y), (120, 120, 126), 1)
        del k
        y += h // 38
    return img


def label(
    h: int,
    w: int,
    rng: np.random.Generator,
    name: str,
    ground: Colour,
    band: Colour,
    ink: Colour,
    repeat: int = 2,
) -> Array:
    """A wrap-around label: `name` on a band, `repeat` times, small print and a bar code between."""
    img = plain(h, w, ground)
    x = np.arange(w)
    wave = (0.16 * h + 0.05 * h * np.sin(2 * np.pi * repeat * x / w)).astype(int)
    rows = np.arange(h)[:, None]
    img[(rows < wave) | (rows > h - wave)] = band
    for k in range(repeat):
        at = (k + 0.5) / repeat
        img = written(img, name, (at, 0.5), 0.24, ink, 3 + h // 160)
        img = written(img, "330 ml  fresh", (at, 0.73), 0.06, ink, 2)
        left = int((at + 0.4 / repeat) * w) % w
        cv2.rectangle(
            img, (left, int(0.36 * h)), (left + h // 5, int(0.62 * h)), (245, 245, 245), -1
        )
        for bar in range(4, h // 5 - 4, 4):
            if rng.uniform() < 0.6:
                cv2.rectangle(
                    img,
                    (left + bar, int(0.38 * h)),
                    (left + bar + 1, int(0.6 * h)),
                    (20, 20, 20),
                    -1,
                )
    return img


def crisps(h: int, w: int, rng: np.random.Generator) -> Array:
    """Front of a crisp packet: red to orange, a sunburst, a big name, yellow discs for crisps."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    turn = np.arctan2(y - 0.52 * h, x - 0.5 * w)
    far = np.hypot((y - 0.52 * h) / h, (x - 0.5 * w) / w)
    img = plain(h, w, (196, 28, 34))
    img = stained(
        img, (236, 120, 24), ((np.sin(turn * 18) > 0) * 0.75 * (far < 0.46)).astype(np.float32)
    )
    img = stained(img, (250, 206, 40), (far < 0.2).astype(np.float32))
    for _ in range(9):
        at = (int(rng.uniform(0.12, 0.88) * w), int(rng.uniform(0.7, 0.88) * h))
        cv2.ellipse(
            img,
            at,
            (h // 13, h // 18),
            rng.uniform(0, 180),
            0,
            360,
            (238, 190, 84),
            -1,
            cv2.LINE_AA,
        )
        cv2.ellipse(img, at, (h // 13, h // 18), 20, 0, 360, (176, 110, 36), 2, cv2.LINE_AA)
    img = written(img, "CRUNCH", (0.5, 0.5), 0.13, (30, 40, 120), 9)
    img = written(img, "CRUNCH", (0.5, 0.5), 0.13, (252, 250, 240), 4)
    img = written(img, "paprika", (0.5, 0.26), 0.07, (252, 240, 200), 3)
    for end in (slice(0, h // 14), slice(h - h // 14, h)):
        img[end] = (206, 206, 210)
    return img


def worn_plastic(
    h: int, w: int, rng: np.random.Generator, colour: Colour, scratches: int = 260
) -> Array:
    """Blue-grey moulded plastic that has seen a year of rubbish: grain, smudges, scratches."""
    img = plain(h, w, colour) + 2.2 * cloud(h, w, 4, rng)[..., None]
    img += (
        2.2
        * cv2.GaussianBlur(rng.normal(size=(h, w)).astype(np.float32), (0, 0), 1.0)[..., None]
        * 2
    )
    marks = np.zeros((h, w), np.float32)
    for _ in range(scratches):
        x, y, a = rng.uniform(0, w), rng.uniform(0, h), rng.normal(1.4, 0.7)
        n, bend = rng.exponential(0.06 * w), rng.normal(0, 0.25)
        s = np.linspace(0, 1, 12)
        path = np.stack([x + n * s * np.cos(a + bend * s), y + n * s * np.sin(a + bend * s)], 1)
        cv2.polylines(
            marks, [path.astype(np.int32)], False, (float(rng.normal(0, 26)),), 1, cv2.LINE_AA
        )
    img += cv2.GaussianBlur(marks, (0, 0), 0.7)[..., None]
    return np.asarray(img - 5 * np.clip(cloud(h, w, 7, rng) - 1.0, 0, 2)[..., None])
