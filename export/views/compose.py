"""Put a photographed item into a chamber that never was, as that chamber's camera would see it.

The item lies on a drawn background, crushed, turned, cut by the edge, in coloured and weak light,
seen by a cheap sensor; then it is cut out and its light made neutral by the daemon's own functions.
What is clear stays as solid as in its photograph: how light goes through things is for the renderer
(`export.rendering.studio`). Every random number comes from the generator handed in.
"""

from __future__ import annotations

import cv2
import numpy as np

from bin_daemon.chamber.crop import light_table, square
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.messages import Array
from export.views.augment import recompressed
from export.views.backgrounds import draw_background, draw_light, noise
from export.views.cutouts import CutOut

FRAME = 256  # side of the composed frame, pixels
NORMALISED = 0.75  # of the frames: the rest is seen as it is, as where no empty view is known
MARGIN = ChamberSection().margin
STRIDE = 3  # of the empty view, of which only the light is wanted
CASTS = (0.04, 0.04, 0.12, 0.2, 0.4)  # spreads of the log gains of a coloured light, drawn alike


def crop_in_drawn_chamber(item: CutOut, rng: np.random.Generator) -> Array:
    """One crop of the item in a random chamber, uint8 (s, s, 3) RGB, s as the crop comes out."""
    return as_bin_crops(*compose(item, FRAME, rng), rng)


def as_bin_crops(empty: Array, frame: Array, mask: Array, rng: np.random.Generator) -> Array:
    """What the daemon would hand to the network of a frame, uint8 (s, s, 3) RGB.

    `empty` is the chamber without the item, uint8 RGB at any size; `frame` is uint8 (h, w, 3) RGB,
    and `mask` float32 (h, w) says where the item lies in it.
    """
    table = light_table(empty) if rng.random() < NORMALISED else None
    if rng.random() < 0.08:  # a chamber without an empty view hands on whole frames
        return frame if table is None else np.asarray(cv2.LUT(frame, table), np.uint8)
    return square(frame, _box(mask, rng), MARGIN, table)


def empty_crop(rng: np.random.Generator) -> Array:
    """A crop in which no item lies, as a wrong box would give; uint8 (s, s, 3) RGB."""
    empty, frame, _ = compose(None, FRAME, rng)
    width, height = (int(side) for side in rng.integers(FRAME // 6, FRAME, 2))
    box = (int(rng.integers(FRAME - width)), int(rng.integers(FRAME - height)), width, height)
    table = light_table(empty) if rng.random() < NORMALISED else None
    return square(frame, box, MARGIN, table)


def compose(item: CutOut | None, size: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """The empty chamber, the chamber with the item, and where the item lies.

    Returns uint8 RGB of the empty chamber at a third of the size, uint8 (size, size, 3) RGB of the
    chamber with the item, and float32 (size, size), the item's coverage.
    """
    background = draw_background(size, rng)
    light = draw_light(size, rng)
    scene, mask = background, np.zeros((size, size), np.float32)
    if item is not None:
        thing, mask = _lay(item, size, rng)
        # As bright under white light as it was on its own background.
        thing = np.clip(thing / np.maximum(item.background, 0.2) * 0.92, 0.0, 1.2)
        scene = _unite(background, thing, mask, rng)
    cast = np.exp(rng.normal(0.0, rng.choice(CASTS), 3))
    cast /= np.exp(np.mean(np.log(cast)))
    lit = (light * cast).astype(np.float32)
    lit *= _exposure(scene[::STRIDE, ::STRIDE] * lit[::STRIDE, ::STRIDE], rng)
    lens = _Lens(rng)
    empty = lens.see(background[::STRIDE, ::STRIDE] * lit[::STRIDE, ::STRIDE], None)
    return empty, lens.see(scene * lit, rng), mask


def _exposure(scene: Array, rng: np.random.Generator) -> float:
    """The gain that an automatic exposure would choose, a little off, and at times too low."""
    wanted = rng.choice((rng.uniform(0.1, 0.25), rng.uniform(0.2, 0.45), rng.uniform(0.35, 0.6)))
    gain = wanted / max(float(scene.mean()), 0.02)
    brightest = max(float(np.percentile(scene, 97)), 0.05)
    return float(min(gain, rng.uniform(0.6, 1.25) / brightest))


def _lay(item: CutOut, size: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """The item as it lies: scaled, turned, squashed, crushed, perhaps cut by the border.

    Returns float32 (size, size, 3) reflectance 0 to 1, float32 (size, size) coverage.
    """
    rows, columns = np.nonzero(item.mask > 0.5)
    middle = np.array([columns.mean(), rows.mean()])
    extent = max(np.ptp(columns), np.ptp(rows)) + 1.0
    reach = size * np.exp(rng.uniform(np.log(0.4), np.log(0.95)))
    squash = np.exp(rng.uniform(-0.3, 0.3))
    if rng.random() < 0.12:  # crushed flat
        squash *= rng.choice((0.6, 1.6))
    angle = rng.uniform(0.0, 2.0 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flip = np.diag((rng.choice((-1.0, 1.0)), 1.0))
    grow = turn @ np.diag((squash, 1.0 / squash)) @ flip * (reach / extent)
    room = 0.5 - min(0.45, 0.5 * reach / size)
    at = size * (0.5 + rng.uniform(-1.0, 1.0, 2) * room)
    if rng.random() < 0.2:  # at the edge, part of it out of sight
        at = size * (0.5 + rng.uniform(-1.0, 1.0, 2) * 0.5)
    back = np.linalg.inv(grow)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    if rng.random() < 0.4:
        bend = rng.normal(0.0, rng.uniform(0.01, 0.05) * reach, (2, 4, 4)).astype(np.float32)
        x = x + cv2.resize(bend[0], (size, size), interpolation=cv2.INTER_CUBIC)
        y = y + cv2.resize(bend[1], (size, size), interpolation=cv2.INTER_CUBIC)
    dx, dy = x - at[0], y - at[1]
    map_x = (back[0, 0] * dx + back[0, 1] * dy + middle[0]).astype(np.float32)
    map_y = (back[1, 0] * dx + back[1, 1] * dy + middle[1]).astype(np.float32)
    mask = item.mask
    if rng.random() < 0.5:  # a rim of its background must not give the class away
        mask = cv2.erode(mask, np.ones((3, 3)), iterations=int(rng.integers(1, 3)))
    picture = item.picture
    if reach / extent < 0.5:  # halved once where it shrinks by more, so that nothing aliases
        picture, mask = (
            cv2.resize(one, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            for one in (picture, mask)
        )
        map_x, map_y = map_x * np.float32(0.5), map_y * np.float32(0.5)
    thing = cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.remap(mask, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return thing.astype(np.float32) / 255.0, cover


def _unite(background: Array, thing: Array, mask: Array, rng: np.random.Generator) -> Array:
    """Background and item as one reflectance, with shadow and mirror image; float32 (s, s, 3)."""
    size = mask.shape[0]
    under = background
    if rng.random() < 0.7:
        shift = rng.normal(0.0, 0.03 * size, 2)
        soft = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.01, 0.05) * size)
        move = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
        shadow = cv2.warpAffine(soft, move, (size, size))
        under = under * (1.0 - rng.uniform(0.1, 0.7) * shadow[..., None])
    if rng.random() < 0.2:  # a shiny floor
        down = np.array([[1.0, 0.0, rng.normal(0.0, 0.05) * size], [0.0, 1.0, 0.12 * size]])
        mirrored = cv2.warpAffine(thing * mask[..., None], down, (size, size))
        under = under + rng.uniform(0.05, 0.25) * cv2.GaussianBlur(mirrored, (0, 0), 4.0)
    return np.asarray(under + mask[..., None] * (thing - under))


class _Lens:
    """One camera's blur, gamma and noise: the same for the empty view and the item's."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._blur = rng.uniform(0.3, 1.6) if rng.random() < 0.4 else 0.0
        self._gamma = np.exp(rng.normal(0.0, 0.2))
        self._noise = rng.uniform(0.0, 0.012) + (rng.uniform(0, 0.05) if rng.random() < 0.2 else 0)
        self._quality = int(rng.integers(40, 95)) if rng.random() < 0.4 else 0
        self._saturation = np.exp(rng.normal(0.0, 0.25))

    def see(self, light: Array, rng: np.random.Generator | None) -> Array:
        """float32 light 0 to 1 to uint8 RGB of the same shape; noisy if there is an `rng`."""
        picture = cv2.pow(np.clip(light, 0.0, 1.0).astype(np.float32), self._gamma)
        grey = np.full((3, 3), (1.0 - self._saturation) / 3.0)
        picture = cv2.transform(picture, grey + self._saturation * np.eye(3))
        if self._blur:
            picture = cv2.GaussianBlur(picture, (0, 0), self._blur)
        if rng is not None:
            # Photon noise grows with the root of the light, read noise does not.
            deviation = self._noise * np.sqrt(0.2 + np.clip(picture, 0.0, 1.0))
            picture = picture + deviation * noise(picture.shape, rng)
        seen = cv2.convertScaleAbs(np.clip(picture, 0.0, 1.0), alpha=255.0)
        if self._quality and rng is not None:
            seen = recompressed(seen, self._quality)
        return seen


def _box(mask: Array, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """The item's box as segmentation would find it: off by up to a tenth on each side."""
    x, y, width, height = cv2.boundingRect((mask > 0.5).astype(np.uint8))
    if not width:
        side = mask.shape[0]
        return (side // 4, side // 4, side // 2, side // 2)
    # Parts of transparent items go unseen, and shadows are taken along.
    left = x + width * rng.uniform(-0.08, 0.1)
    right = x + width - 1 - width * rng.uniform(-0.08, 0.1)
    top = y + height * rng.uniform(-0.08, 0.1)
    bottom = y + height - 1 - height * rng.uniform(-0.08, 0.1)
    return round(left), round(top), max(8, round(right - left)), max(8, round(bottom - top))
