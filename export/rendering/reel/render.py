"""From a scene to a JPEG, and the true mask of an item.

Glass sends a few samples of enormous brightness to random pixels. A picture is therefore rendered
as several passes, none may exceed their median by much, and what they still disagree about tells
the denoiser where to work.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.images import tone_curve
from export.rendering.parts import Part
from export.rendering.reel.scene import SIZE, LampLevels, alone, whole

PASSES = 8
EXPOSURE = 2.35
KNEE = 0.7
# from this noise (grey levels) upwards: strength of non-local means for brightness and for colour
DENOISE = ((0.0, 2.0, 3.0), (2.0, 4.5, 6.0), (4.5, 9.0, 11.0))


def radiance(
    parts: Sequence[Part], lamp: LampLevels, samples: int, seed: int
) -> tuple[Array, Array]:
    """Linear radiance (480, 640, 3) of the chamber with `parts`, and its standard error.

    samples: of a pixel, over all passes.
    """
    import mitsuba as mi

    with tempfile.TemporaryDirectory() as folder:
        scene = mi.load_dict(whole(parts, lamp, samples, Path(folder)))
        each = max(1, samples // PASSES)
        passes = np.stack(
            [np.array(mi.render(scene, spp=each, seed=seed * PASSES + k)) for k in range(PASSES)]
        )
    # the bound darkens noisy pixels a little, so it lies where only outliers reach it
    passes = np.minimum(passes[..., :3], 2.5 * np.median(passes[..., :3], axis=0) + 0.05)
    return passes.mean(axis=0), passes.std(axis=0) / np.sqrt(PASSES)


def developed(hdr: Array, error: Array) -> Array:
    """Linear radiance and its standard error to an 8-bit RGB picture.

    Vignette, tone curve, denoising where it is needed.
    """
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]].astype(np.float32)
    far = np.hypot(x / SIZE[0] - 0.5, (y / SIZE[1] - 0.5) * SIZE[1] / SIZE[0])
    gain = EXPOSURE * (1 - 0.55 * far**2)[..., None]
    img = tone_curve(hdr * gain, KNEE)
    noise = (tone_curve((hdr + error) * gain, KNEE) - img).mean(axis=2)
    noise = cv2.GaussianBlur(noise, (0, 0), 2.5)
    img = (img + 0.5).astype(np.uint8)
    out = cv2.fastNlMeansDenoisingColored(img, None, *DENOISE[0][1:], 5, 15).astype(np.float32)
    for low, h, h_colour in DENOISE[1:]:
        share = np.clip(noise / low - 1, 0, 1)[..., None]
        if share.max() > 0:
            out += share * (cv2.fastNlMeansDenoisingColored(img, None, h, h_colour, 5, 15) - out)
    return (out + 0.5).astype(np.uint8)


def covered(dark: Array) -> Array:
    """The lens under a palm: nothing but a reddish gleam at one side."""
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]].astype(np.float32)
    gleam = np.exp(-(((x - 610) / 170) ** 2 + ((y - 90) / 200) ** 2))[..., None] * np.array(
        [34, 14, 9]
    )
    soft = cv2.GaussianBlur(dark.astype(np.float32), (0, 0), 25) * 0.12 + 4
    return np.asarray(np.clip(soft + gleam, 0, 255), np.uint8)


def mask_of(parts: Sequence[Part]) -> Array:
    """True mask (480, 640) uint8, 255 where the item covers at least half of the pixel."""
    import mitsuba as mi

    with tempfile.TemporaryDirectory() as folder:
        scene = mi.load_dict(alone(parts, Path(folder)))
        depth = np.array(mi.render(scene, spp=16, seed=1))[..., -1]
    return (
        ((depth > 0.5 * depth.max()) * 255).astype(np.uint8)
        if depth.max() > 0
        else depth.astype(np.uint8)
    )


def box_of(mask: Array) -> list[int]:
    """Bounding box (x, y, w, h) in pixels."""
    return [int(n) for n in cv2.boundingRect(mask)]
