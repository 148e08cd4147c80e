"""Random changes to a training picture: where the camera stands, how it sees, what light there is.

Square uint8 RGB in, square uint8 RGB out; every random number comes from the generator handed in.
All geometry is one warp, which keeps the picture sharp and the cost near one millisecond.
"""

from __future__ import annotations

import cv2
import numpy as np

from bin_daemon.core.messages import Array

ROTATION_DEG = 20.0
ZOOM_OUT_SHARE = 0.2
FLAT_BACKGROUND_SHARE = 0.6
GAMMA = 2.2  # exponent between pixel values and light, close to that of sRGB


def augment(square: Array, size: int, rng: np.random.Generator) -> Array:
    """Change geometry, colour and sharpness of one picture at random.

    `square` is uint8 (s, s, 3) RGB, the whole picture stretched; returns uint8 (size, size, 3) RGB.
    """
    return degrade(recolour(rewarp(square, size, rng), rng), rng)


def rewarp(square: Array, size: int, rng: np.random.Generator) -> Array:
    """Flip, rotate, crop or zoom out, in a single affine warp; shapes as in `augment`.

    Most pictures are cropped to 40-100 % of their area; some are zoomed out instead, because in a
    bin the item fills less of the view than in a studio. What then lies outside the picture is a
    mirror of it, or a flat background that continues its border.
    """
    zooms_out = rng.random() < ZOOM_OUT_SHARE
    area = rng.uniform(1.0, 2.5) if zooms_out else rng.uniform(0.4, 1.0)
    aspect = np.exp(rng.uniform(-0.25, 0.25))
    half_width, half_height = np.sqrt(area * aspect), np.sqrt(area / aspect)
    slack = np.abs(1.0 - np.array([half_width, half_height]))
    centre = rng.uniform(-1.0, 1.0, 2) * slack
    angle = np.deg2rad(rng.uniform(-ROTATION_DEG, ROTATION_DEG) + 90.0 * rng.integers(4))
    flip = rng.choice((-1.0, 1.0))
    # Maps a point of the result, in [-1, 1], to a point of the source, in [-1, 1].
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    view = np.diag([half_width, half_height]) @ turn @ np.diag([flip, 1.0])
    to_source, to_result = square.shape[0] / 2.0, size / 2.0
    matrix = np.empty((2, 3))
    matrix[:, :2] = view * (to_source / to_result)
    # Pixel centres lie at half integers: x_pixel + 0.5 = (x + 1) * side / 2.
    matrix[:, 2] = (centre + 1.0) * to_source - 0.5 - matrix[:, :2] @ np.full(2, to_result - 0.5)
    border, fill = cv2.BORDER_REFLECT_101, [0.0, 0.0, 0.0]
    if rng.random() < FLAT_BACKGROUND_SHARE:
        border, fill = cv2.BORDER_CONSTANT, _background_colour(square, rng).tolist()
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(square, matrix, (size, size), None, flags, border, fill)


def _background_colour(square: Array, rng: np.random.Generator) -> Array:
    """A colour that continues the picture's border: its median, moved a little; float (3,)."""
    edge = np.concatenate([square[0], square[-1], square[:, 0], square[:, -1]])
    return np.asarray(np.clip(np.median(edge, axis=0) + rng.normal(0.0, 6.0, 3), 0, 255))


def recolour(picture: Array, rng: np.random.Generator) -> Array:
    """Change exposure, contrast, saturation, hue and the colour of the light; shape and dtype stay.

    Saturation and hue are one linear map on RGB (a turn about the grey axis), which costs a tenth
    of the way through HSV and has no seam at red.
    """
    saturation = np.exp(rng.normal(0.0, 0.2))
    hue = np.deg2rad(rng.normal(0.0, 6.0))
    exposure = np.exp(rng.normal(0.0, 0.18))
    contrast = np.exp(rng.normal(0.0, 0.15))
    # One picture in ten is seen under a clearly coloured light, as in a lit chamber.
    cast = np.exp(rng.normal(0.0, 0.25 if rng.random() < 0.1 else 0.06, 3))
    grey = np.full((3, 3), 1.0 / 3.0)
    about_grey = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / np.sqrt(3.0)
    turn = grey + np.cos(hue) * (np.eye(3) - grey) + np.sin(hue) * about_grey
    mix = np.diag(cast * exposure) @ (grey + saturation * (turn - grey))
    middle = float(picture.mean())
    matrix = np.empty((3, 4))
    matrix[:, :3] = contrast * mix
    matrix[:, 3] = (1.0 - contrast) * middle
    return cv2.transform(picture, matrix)


def degrade(picture: Array, rng: np.random.Generator) -> Array:
    """Now and then blur, add sensor noise, or compress as a cheap camera would."""
    if rng.random() < 0.12:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.4))
    if rng.random() < 0.12:
        noise = rng.normal(0.0, rng.uniform(2.0, 9.0), picture.shape)
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return recompressed(picture, int(rng.integers(30, 90))) if rng.random() < 0.12 else picture


def in_weak_light(picture: Array, rng: np.random.Generator) -> Array:
    """A picture as a cheap sensor sees it in weak light; shape and dtype stay.

    Down to a tenth of the light, with noise of up to 20 grey levels, at times compressed hard.
    """
    light = np.exp(rng.uniform(np.log(0.1), 0.0))
    seen = picture * np.float32(light ** (1.0 / GAMMA))
    if rng.random() < 0.7:
        seen = seen + rng.normal(0.0, rng.uniform(2.0, 20.0), picture.shape)
    seen = np.clip(seen, 0, 255).astype(np.uint8)
    return recompressed(seen, int(rng.integers(8, 60))) if rng.random() < 0.4 else seen


def recompressed(picture: Array, quality: int) -> Array:
    """Written as JPEG of a quality, 0 to 100, and read again; the channels take no part."""
    written = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(written, cv2.IMREAD_COLOR))


def jitter(view: Array, size: int, rng: np.random.Generator) -> Array:
    """A cached view, once more a little different: flipped, turned by quarters, cropped.

    From uint8 (s, s, 3) RGB to uint8 (size, size, 3) RGB.
    """
    side = view.shape[0]
    cut = round(side * rng.uniform(0.85, 1.0))
    top, left = rng.integers(0, side - cut + 1, 2)
    part = np.rot90(view[top : top + cut, left : left + cut], int(rng.integers(4)))
    if rng.random() < 0.5:
        part = part[:, ::-1]
    shrinks = cv2.INTER_AREA if cut > size else cv2.INTER_LINEAR
    fitted = cv2.resize(np.ascontiguousarray(part), (size, size), interpolation=shrinks)
    gain = np.exp(rng.normal(0.0, 0.05, 3))
    return cv2.convertScaleAbs(cv2.transform(fitted, np.diag(gain)))


def blend(
    pictures: Array, targets: Array, share: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Blend a batch with itself reversed, for a share of the batches: mixup or cutmix, as likely.

    Mixup: Zhang et al. 2018, arXiv:1710.09412 (here Beta(0.4, 0.4)); cutmix: Yun et al. 2019,
    arXiv:1905.04899 (Beta(1, 1)).

    Takes pictures uint8 (n, s, s, 3) and targets float32 (n, classes), rows that sum to 1; returns
    new ones of the same shapes and dtypes.
    """
    if rng.random() >= share:
        return pictures, targets
    if rng.random() < 0.5:
        keep = float(rng.beta(0.4, 0.4))
        mixed = cv2.addWeighted(pictures, keep, pictures[::-1].copy(), 1.0 - keep, 0.0)
    else:
        side = pictures.shape[1]
        cut = round(side * np.sqrt(1.0 - float(rng.random())))
        top, left = rng.integers(0, side - cut + 1, 2)
        mixed = pictures.copy()
        window = np.s_[:, top : top + cut, left : left + cut]
        mixed[window] = pictures[::-1][window]
        keep = 1.0 - (cut / side) ** 2
    return mixed, (keep * targets + (1.0 - keep) * targets[::-1]).astype(np.float32)
