"""From a scene to a JPEG: render in passes, bound fireflies, develop, compress; and the true mask
of an item.

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
from export.rendering.reel.scene import SIZE, Lamp, Part, alone, whole

PASSES = 8
EXPOSURE = 2.35
QUALITY = 88
# from this noise (grey levels) upwards: strength of non-local means for brightness and for colour
DENOISE = ((0.0, 2.0, 3.0), (2.0, 4.5, 6.0), (4.5, 9.0, 11.0))


def variant() -> str:
    """Choose Mitsuba's LLVM variant, or the scalar one where LLVM is not installed."""
    import mitsuba as mi

    for name in ("llvm_ad_rgb", "scalar_rgb"):
        try:
            mi.set_variant(name)
            mi.load_dict({"type": "sphere"})
            return name
        except Exception:  # Dr.Jit raises different kinds for a missing or too old libLLVM
            continue
    raise RuntimeError(
        "Mitsuba has neither llvm_ad_rgb nor scalar_rgb; reinstall it with: pip install mitsuba"
    )


def radiance(parts: Sequence[Part], lamp: Lamp, samples: int, seed: int) -> tuple[Array, Array]:
    """Linear radiance (480, 640, 3) of the chamber with ``parts`` and its standard error;
    ``samples`` over all passes.
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


def _display(lit: Array) -> Array:
    """Linear light to grey levels 0..255: a camera's shoulder above 0.7, then the sRGB curve."""
    knee = 0.7
    lit = np.where(
        lit > knee, knee + (1 - knee) * (1 - np.exp(-np.maximum(lit - knee, 0) / (1 - knee))), lit
    )
    lit = np.clip(lit, 0, 1)
    return 255 * np.where(lit <= 0.0031308, lit * 12.92, 1.055 * lit ** (1 / 2.4) - 0.055)


def developed(hdr: Array, error: Array) -> Array:
    """Linear radiance and its standard error to an 8-bit RGB picture: vignette, tone curve,
    denoising by need.
    """
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]].astype(np.float32)
    far = np.hypot(x / SIZE[0] - 0.5, (y / SIZE[1] - 0.5) * SIZE[1] / SIZE[0])
    gain = EXPOSURE * (1 - 0.55 * far**2)[..., None]
    img = _display(hdr * gain)
    noise = cv2.GaussianBlur((_display((hdr + error) * gain) - img).mean(axis=2), (0, 0), 2.5)
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
    return np.clip(soft + gleam, 0, 255).astype(np.uint8)


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


def save_jpeg(img: Array, path: Path) -> None:
    """Write an RGB picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(
        str(path), img[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    )


def save_mask(mask: Array, path: Path) -> None:
    """Write a mask as a one-bit PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), mask, [cv2.IMWRITE_PNG_BILEVEL, 1, cv2.IMWRITE_PNG_COMPRESSION, 9])
