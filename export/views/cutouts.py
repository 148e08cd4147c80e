"""Cut items from the plain background they were photographed on; nothing here knows about classes.

The background is a smooth surface of light fitted robustly to the picture's border; what it does
not explain, less the shadow that the item throws, is the item. A picture without a plain background
is all item; one whose item cannot be told from it (white paper on white) has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from bin_daemon.core.messages import Array

WORK = 160  # pixels: longer side at which the mask is made; it is scaled up softly
RIM = 0.06  # of the picture: where the background is looked for
_BRIGHT = 90.0  # grey levels: darker borders are no lit background
_COLOURLESS = 0.22  # spread of the channels over their mean: more is not white
_SIDES = 0.45  # of the border that must fit the background
_BAY = 41  # pixels at WORK: narrower bays of the outline are light seen through a clear thing
_ALL = (0, 0, 0, 0)  # GrabCut looks at the mask, not at a rectangle
_LEAST, _MOST = 0.02, 0.8  # of the picture that an item covers


@dataclass(frozen=True, slots=True)
class CutOut:
    """An item without its background."""

    picture: Array  # uint8 (h, w, 3) RGB
    mask: Array  # float32 (h, w), 0 to 1
    background: Array = field(default_factory=lambda: np.full(3, 0.9, np.float32))
    """Colour of the background, float32 (3,), 0 to 1; white where it is not known."""


def cut_out(picture: Array) -> CutOut | None:
    """The item of a uint8 (h, w, 3) RGB picture; None where it shows a plain background alone."""
    height, width = picture.shape[:2]
    scale = WORK / max(height, width)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    background = background_of(small)
    if background is None:
        return CutOut(picture, np.ones((height, width), np.float32))
    item = _closed(_segmented(small, _seeds(small, background)))
    if not _LEAST <= item.mean() <= _MOST:
        return None
    mask = np.clip(cv2.resize(softened(item), (width, height)), 0.0, 1.0)
    return CutOut(picture, mask, np.median(background.reshape(-1, 3), axis=0) / np.float32(255.0))


def softened(mask: Array) -> Array:
    """A mask of 0 and 1 with a soft rim, float32 of its shape."""
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8)


def rounded(size: int, rng: np.random.Generator) -> Array:
    """A smooth outline that is nothing's, uint8 (size, size) of 0 and 1."""
    turns = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    reach = np.full(48, 0.32)
    for wave in range(2, 6):
        reach += rng.normal(0.0, 0.12 / wave) * np.cos(wave * turns + rng.uniform(0.0, 7.0))
    outline = 0.5 + np.clip(reach, 0.08, 0.48) * np.array([np.cos(turns), np.sin(turns)])
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [(outline.T * size).astype(np.int32)], (1,))
    return mask


def _segmented(picture: Array, seeds: Array) -> Array:
    """The item, uint8 (h, w) of 0 and 1, by GrabCut (Rother et al. 2004) from its seeds."""
    mask = seeds.copy()
    cv2.setRNGSeed(0)
    back, front = np.zeros((1, 65)), np.zeros((1, 65))  # what it remembers of the two
    bgr = np.ascontiguousarray(picture[..., ::-1])
    try:
        cv2.grabCut(bgr, mask, _ALL, back, front, 3, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # one of its two colour models found no pixels
        return np.zeros(seeds.shape, np.uint8)
    return _whole(((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8))


def background_of(picture: Array) -> Array | None:
    """The plain background under the light of `picture`, float32 (h, w, 3); None without one.

    A quadratic surface for each channel, fitted to the border by iterated least squares that drop
    what lies far from it (an item that touches the border).
    """
    height, width = picture.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    rim = np.zeros((height, width), bool)
    depth = max(2, round(RIM * max(height, width)))
    rim[:depth] = rim[-depth:] = rim[:, :depth] = rim[:, -depth:] = True
    design = terms[rim].reshape(-1, 6).astype(np.float64)
    colours = picture[rim].reshape(-1, 3).astype(np.float64)
    light = colours.mean(axis=1)
    kept = np.abs(light - np.percentile(light, 75)) < 25.0
    for reach in (25.0, 16.0, 12.0):
        if kept.mean() < _SIDES:
            return None
        # Far corners must not swing: a touch of ridge on the curved terms.
        ridge = np.diag([0.0, 1.0, 1.0, 3.0, 3.0, 3.0]) * 0.002 * kept.sum()
        gram = design[kept].T @ design[kept] + ridge
        fit = np.linalg.solve(gram, design[kept].T @ colours[kept])
        kept = np.abs(design @ fit - colours).max(axis=1) < reach
    level = fit[0]
    if level.mean() < _BRIGHT or np.ptp(level) > _COLOURLESS * level.mean() or kept.mean() < _SIDES:
        return None
    return np.asarray(terms @ fit.astype(np.float32), np.float32)


def _seeds(picture: Array, background: Array) -> Array:
    """What is surely, probably and hardly the item, as labels for GrabCut, uint8 (h, w)."""
    frame = picture.astype(np.float32)
    ratio = frame.mean(axis=2) / np.maximum(background.mean(axis=2), 1.0)
    tint = np.abs(frame - background * ratio[..., None]).max(axis=2)
    differs = np.abs(frame - background).max(axis=2)
    edges = cv2.morphologyEx(cv2.blur(picture, (2, 2)), cv2.MORPH_GRADIENT, np.ones((3, 3)))
    edged = cv2.blur(edges.max(axis=2).astype(np.float32), (5, 5))
    # A soft dimming without colour and without edges is the item's shadow.
    shadow = (ratio > 0.55) & (ratio < 1.0) & (tint < 10.0) & (edged < 14.0)
    likely = ((differs > 16.0) & ~shadow) | (tint > 10.0)
    likely = cv2.morphologyEx(likely.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2)))
    likely = cv2.morphologyEx(likely, cv2.MORPH_CLOSE, _disc(9))
    likely = _whole(likely)
    labels = np.full(likely.shape, cv2.GC_BGD, np.uint8)
    labels[cv2.dilate(likely, _disc(7)) > 0] = cv2.GC_PR_BGD
    labels[likely > 0] = cv2.GC_PR_FGD
    labels[(cv2.erode(likely, _disc(9)) > 0)] = cv2.GC_FGD
    return labels


def _whole(mask: Array) -> Array:
    """The mask without specks and holes: components of a tenth of the largest, filled."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(mask)
    largest = max((cv2.contourArea(contour) for contour in contours), default=0.0)
    for contour in contours:
        if cv2.contourArea(contour) >= 0.1 * largest:
            cv2.drawContours(filled, [contour], -1, (1,), cv2.FILLED)
    return filled


def _closed(mask: Array) -> Array:
    """The mask with its bays filled: of transparent items the middle looks like the background."""
    wide = cv2.copyMakeBorder(mask, _BAY, _BAY, _BAY, _BAY, cv2.BORDER_CONSTANT)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, _disc(_BAY))
    return _whole(closed[_BAY:-_BAY, _BAY:-_BAY])


def _disc(diameter: int) -> Array:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))
