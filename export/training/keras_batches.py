"""What a Keras model is shown in training: pictures changed at random as the recipe says.

Pictures of a part flow in, batches of uint8 pixels and soft targets flow out; the order and the
changes of an epoch are fixed by the recipe's seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from export.data.pictures import Picture, label_indices, load_squares
from export.recipes.schema import Augmentation, KerasRecipe


def batches(
    data: Path,
    pictures: Sequence[Picture],
    labels: Sequence[str],
    recipe: KerasRecipe,
    epoch: int | None = None,
) -> Iterator[tuple[Array, Array]]:
    """Batches of pixels, uint8 (batch, s, s, 3), and of targets, float32 (batch, classes).

    Those of an epoch are shuffled, changed and smoothed; what does not fill a batch waits for
    another epoch: a batch of one has no statistics. Without an epoch all pictures come as they are.
    """
    how, order, size = recipe.training, np.arange(len(pictures)), recipe.training.batch
    targets = np.eye(len(labels), dtype=np.float32)[label_indices(pictures, labels)]
    if epoch is not None:
        rng = np.random.default_rng((how.seed, epoch))
        size, smooth = min(size, len(order)), how.label_smoothing
        order = rng.permutation(len(order))[: len(order) // size * size]
        targets = targets * np.float32(1.0 - smooth) + np.float32(smooth / len(labels))
    for first in range(0, len(order), size):
        chosen = order[first : first + size]
        squares = load_squares(data, [pictures[i].file for i in chosen], recipe.network.size)
        if epoch is not None:
            squares = np.stack([augment(square, recipe.augmentation, rng) for square in squares])
        yield squares, targets[chosen]


def augment(square: Array, spec: Augmentation, rng: np.random.Generator) -> Array:
    """Change a picture at random as a recipe says, in one warp; uint8 (s, s, 3) both ways.

    What comes into view from outside repeats the edge, as in `ImageDataGenerator` of Keras, whose
    names and meanings of the figures these are.
    """
    side = square.shape[0]
    angle = np.deg2rad(rng.uniform(-spec.rotation_deg, spec.rotation_deg))
    zoom = rng.uniform(1.0 - spec.zoom, 1.0 + spec.zoom)
    shear = rng.uniform(-spec.shear, spec.shear)
    flips = (spec.flip_horizontal, spec.flip_vertical)
    mirror = np.array([-1.0 if flip and rng.random() < 0.5 else 1.0 for flip in flips])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    view = turn @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag(mirror) / zoom
    middle = np.full(2, (side - 1) / 2.0)
    shift = rng.uniform(-spec.shift, spec.shift, 2) * side
    warped = cv2.warpAffine(
        square,
        np.column_stack([view, middle - view @ middle + shift]),
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.convertScaleAbs(
        warped, alpha=rng.uniform(1.0 - spec.brightness, 1.0 + spec.brightness)
    )
