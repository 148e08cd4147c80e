"""Pictures drawn from a seed, for tests that need many and different ones."""

import cv2
import numpy as np


def scene(seed: int, size: int = 160) -> np.ndarray:
    """Some ellipses on a shaded ground, uint8 (size, size, 3)."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(*rng.integers(60, 220, 2), size)
    picture = np.repeat(np.repeat(ramp[:, None], size, axis=1)[..., None], 3, axis=2).astype(
        np.uint8
    )
    for _ in range(6):
        centre, axes = rng.integers(10, size - 10, 2).tolist(), rng.integers(8, 50, 2).tolist()
        colour = rng.integers(0, 255, 3).tolist()
        cv2.ellipse(picture, centre, axes, float(rng.integers(180)), 0, 360, colour, cv2.FILLED)
    return picture
