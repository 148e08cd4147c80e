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


def training_batches(
    data: Path, pictures: Sequence[Picture], labels: Sequence[str], recipe: KerasRecipe, epoch: int
) -> Iterator[tuple[Array, Array]]:
    """Batches of an epoch, shuffled: uint8 (batch, s, s, 3), smoothed float32 (batch, classes).

    What does not fill a batch waits for another epoch: a batch of one has no statistics.
    """
    rng = np.random.default_rng((recipe.training.seed, epoch))
    order = rng.permutation(len(pictures))
    batch, smooth = min(recipe.training.batch, len(order)), recipe.training.label_smoothing
    targets = _one_hot(pictures, labels) * np.float32(1.0 - smooth) + np.float32(
        smooth / len(labels)
    )
    for first in range(0, len(order) - batch + 1, batch):
        chosen = order[first : first + batch]
        squares = load_squares(data, [pictures[i].file for i in chosen], recipe.network.size)
        yield np.stack([augment(s, recipe.augmentation, rng) for s in squares]), targets[chosen]


def plain_batches(
    data: Path, pictures: Sequence[Picture], labels: Sequence[str], recipe: KerasRecipe
) -> Iterator[tuple[Array, Array]]:
    """Batches of all pictures as they are and in their order, with targets of 0 and 1."""
    targets, batch = _one_hot(pictures, labels), recipe.training.batch
    for first in range(0, len(pictures), batch):
        files = [picture.file for picture in pictures[first : first + batch]]
        yield load_squares(data, files, recipe.network.size), targets[first : first + batch]


def _one_hot(pictures: Sequence[Picture], labels: Sequence[str]) -> Array:
    return np.eye(len(labels), dtype=np.float32)[label_indices(pictures, labels)]


def augment(square: Array, spec: Augmentation, rng: np.random.Generator) -> Array:
    """Change a picture at random as a recipe says, in one warp; uint8 (s, s, 3) both ways.

    What comes into view from outside repeats the edge, as in `ImageDataGenerator` of Keras, whose
    names and meanings of the figures these are.
    """
    side = square.shape[0]
    angle = np.deg2rad(rng.uniform(-spec.rotation_deg, spec.rotation_deg))
    zoom = rng.uniform(1.0 - spec.zoom, 1.0 + spec.zoom)
    shear = rng.uniform(-spec.shear, spec.shear)
    mirror = np.array(
        [
            -1.0 if spec.flip_horizontal and rng.random() < 0.5 else 1.0,
            -1.0 if spec.flip_vertical and rng.random() < 0.5 else 1.0,
        ]
    )
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
