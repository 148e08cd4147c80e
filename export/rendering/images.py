"""What the reel and the studio do alike: Mitsuba's variant, the tone curve, the picture files.

Linear light flows in, grey levels and files flow out. Nothing here knows what was rendered.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from bin_daemon.core.messages import Array

QUALITY = 88


def variant() -> str:
    """Choose Mitsuba's LLVM variant, or the scalar one where LLVM is not installed."""
    import mitsuba as mi

    for name in ("llvm_ad_rgb", "scalar_rgb"):
        try:
            mi.set_variant(name)
            mi.load_dict({"type": "sphere"})
            return name
        except Exception:  # noqa: S112 - Dr.Jit raises different kinds for a missing or too old libLLVM
            continue
    raise RuntimeError(
        "Mitsuba has neither llvm_ad_rgb nor scalar_rgb; reinstall it with: pip install mitsuba"
    )


def tone_curve(light: Array, knee: float, gamma: float = 1.0) -> Array:
    """Linear light to grey levels, 0 to 255: a camera's shoulder above the knee, then sRGB."""
    over = np.maximum(light - knee, 0) / (1 - knee)
    light = np.where(light > knee, knee + (1 - knee) * (1 - np.exp(-over)), light)
    light = np.clip(light, 0, 1)
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(255 * curve**gamma)


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
