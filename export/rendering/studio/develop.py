"""From rendered light to a camera's picture: fireflies, exposure, white balance, tone, noise.

Linear radiance flows in, 8-bit RGB flows out. The exposure and the white balance are those of an
automatic camera that is a little wrong, and one `Film` is used for a chamber with and without the
item, because a bin's camera locks both. Nothing here knows what was rendered.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.images import tone_curve
from export.rendering.studio.chance import Rng, happens

_MIDDLE_GREY = 0.19  # mean luminance that an automatic exposure aims at
_LUMA = np.array([0.2126, 0.7152, 0.0722])  # ITU-R BT.709
# from this noise (standard error in grey levels) upwards: strength of non-local means
_DENOISE = ((1.0, 3.5), (2.5, 8.0), (5.0, 16.0))
_SPOTS_FROM = 2.5


@dataclass(frozen=True, slots=True)
class Film:
    """What a camera does to light.

    gain: (3,), per channel. gamma: exponent of the tone curve. knee: where its shoulder begins, 0
    to 1. blur, noise: standard deviations, in pixels and in grey levels.
    """

    gain: Array
    gamma: float
    knee: float
    blur_px: float
    noise: float


def film_for(radiance: Array, rng: Rng) -> Film:
    """A film whose exposure and white balance suit `radiance` (h, w, 3) nearly, never quite."""
    luminance = radiance @ _LUMA
    exposure = _MIDDLE_GREY / max(float(luminance.mean()), 1e-6)
    # a small bright thing in a dark chamber must not burn out altogether
    exposure = min(exposure, 1.1 / max(float(np.percentile(luminance, 90)), 1e-6))
    exposure *= 2 ** float(np.clip(rng.normal(0.0, 0.45), -1.1, 0.9))
    mean = radiance.reshape(-1, 3).mean(axis=0) + 1e-6
    balance = (mean.mean() / mean) ** rng.uniform(0.0, 0.85)
    return Film(
        gain=exposure * np.clip(balance, 0.5, 2.2),
        gamma=float(rng.uniform(0.85, 1.15)),
        knee=float(rng.uniform(0.6, 0.85)),
        blur_px=float(rng.uniform(0.0, 0.7)) if happens(rng, 0.6) else 0.0,
        noise=float(rng.exponential(1.2)),
    )


def merged(passes: Array) -> tuple[Array, Array]:
    """Picture (h, w, 3) and its standard error from passes (n, 2h, 2w, 3), fireflies bounded.

    A pixel is the mean of 4 n bundles of rays. A clear thing sends an enormous sample to one of
    them now and then, but a highlight on it reaches several: none may exceed the third brightest by
    much.
    """
    n, h, w = len(passes), passes.shape[1] // 2, passes.shape[2] // 2
    bundles = passes.reshape(n, h, 2, w, 2, 3).transpose(0, 2, 4, 1, 3, 5).reshape(4 * n, h, w, 3)
    luminance = bundles @ _LUMA
    bound = 1.5 * np.partition(luminance, -3, axis=0)[-3] + 0.1 * luminance.mean()
    kept = bundles * np.minimum(1.0, bound / np.maximum(luminance, 1e-9))[..., None]
    means = kept.reshape(n, 4, h, w, 3).mean(axis=1)
    return means.mean(axis=0), means.std(axis=0) / np.sqrt(max(1, n - 1))


def _denoised(img: Array, noise: Array) -> Array:
    """`img` (h, w, 3) with the more non-local means, the more `noise` (h, w, grey levels) it has.

    Single spots, which non-local means takes for detail, are first brought between the second
    darkest and the second brightest of their neighbours, which lines survive.
    """
    img = img.astype(np.float32)
    h, w = img.shape[:2]
    edged = np.pad(img, ((1, 1), (1, 1), (0, 0)), mode="edge")
    offsets = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    around = np.sort(np.stack([edged[y : y + h, x : x + w] for y, x in offsets]), axis=0)
    calm = np.clip(img, around[1], around[-2])
    img += np.clip(noise / _SPOTS_FROM - 1, 0, 1)[..., None] * (calm - img)
    source = (img + 0.5).astype(np.uint8)
    for low, strength in _DENOISE:
        share = np.clip(noise / low - 1, 0, 1)[..., None]
        if share.max() > 0:
            smooth = cv2.fastNlMeansDenoisingColored(source, None, strength, 1.3 * strength, 5, 13)
            img += share * (smooth - img)
    return img


def developed(radiance: Array, error: Array | None, film: Film, rng: Rng) -> Array:
    """The picture uint8 (h, w, 3) of `radiance`.

    radiance: linear light (h, w, 3). error: its standard error, which non-local means takes down
    where it shows, or None for no denoising. film: the camera. rng: source of the sensor's noise.
    """
    img = tone_curve(radiance * film.gain, film.knee, film.gamma)
    if error is not None:
        brighter = tone_curve((radiance + error) * film.gain, film.knee, film.gamma)
        noise = (brighter - img).mean(axis=2)
        img = _denoised(img, cv2.GaussianBlur(noise, (0, 0), 2.0))
    if film.blur_px > 0.2:
        img = cv2.GaussianBlur(img, (0, 0), film.blur_px)
    img += film.noise * rng.normal(size=img.shape)
    return np.clip(img + 0.5, 0, 255).astype(np.uint8)
