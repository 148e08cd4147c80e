"""Out-of-distribution pictures, none of the classes: empty chambers, arms, noise, blobs.

Drawn chambers and blobs are shown to a network in training, with no class right; arms and noise are
kept for measuring, so that what is measured is doubt and not memory.
"""

from __future__ import annotations

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from export.views.compose import FRAME, crop_in_drawn_chamber, empty_crop
from export.views.cutouts import CutOut, rounded, softened

SKIN = ((255, 220, 190), (225, 170, 130), (160, 105, 75), (90, 60, 45))


def arm(rng: np.random.Generator) -> Array:
    """A forearm with a fist and perhaps a sleeve, in a drawn chamber; uint8 (s, s, 3) RGB."""
    size = FRAME
    mask = np.zeros((size, size), np.uint8)
    wrist, fist = rng.uniform(0.07, 0.13), rng.uniform(0.12, 0.2)
    axis, tip = size * rng.uniform(0.4, 0.6), size * rng.uniform(0.55, 0.75)
    edge, wrist = wrist * rng.uniform(1.1, 1.6) * size, wrist * size
    limb = [[axis - edge, 0], [axis + edge, 0], [axis + wrist, tip], [axis - wrist, tip]]
    cv2.fillPoly(mask, [np.array(limb).astype(np.int32)], (1,))
    radii = (round(fist * size), round(fist * size * rng.uniform(0.8, 1.3)))
    cv2.ellipse(mask, (round(axis), round(tip)), radii, 0, 0, 360, (1,), -1)
    picture = np.full((size, size, 3), SKIN[int(rng.integers(len(SKIN)))], np.uint8)
    if rng.random() < 0.6:
        sleeve = round(tip * rng.uniform(0.3, 0.8))
        picture[:sleeve] = rng.integers(0, 256, 3)
    return crop_in_drawn_chamber(CutOut(picture, softened(mask)), rng)


def blob(rng: np.random.Generator) -> Array:
    """A smooth blob of any colour, in a drawn chamber; uint8 (s, s, 3) RGB."""
    size = FRAME
    mask = rounded(size, rng)
    # Shaded like a ball, with patches of other colours.
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    shade = 0.45 + 0.55 * np.sqrt(np.clip(depth / max(float(depth.max()), 1.0), 0.0, 1.0))
    patches = cv2.resize(rng.random((6, 6, 1), np.float32), (size, size), interpolation=2)
    patches = np.clip(patches * rng.uniform(0.5, 3.0), 0.0, 1.0)[..., None]
    colours = rng.integers(0, 256, (2, 3))
    picture = (colours[0] * patches + colours[1] * (1.0 - patches)) * shade[..., None]
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    return crop_in_drawn_chamber(CutOut(picture, softened(mask)), rng)


def noise_picture(rng: np.random.Generator) -> Array:
    """Noise of some grain, as of a broken camera; uint8 (224, 224, 3) RGB."""
    cells = int(rng.choice((4, 16, 64, 224)))
    channels = int(rng.choice((1, 3)))
    grain = rng.integers(0, 256, (cells, cells, channels), np.uint8)
    picture = cv2.resize(grain, (224, 224), interpolation=int(rng.integers(3)))
    return np.dstack([picture] * 3) if channels == 1 else picture


SHOWN = {"drawn empty chambers": empty_crop, "blobs": blob}
"""Shown in training, in equal parts."""
KEPT = {"arms": arm, "noise": noise_picture}
"""Kept for measuring."""
