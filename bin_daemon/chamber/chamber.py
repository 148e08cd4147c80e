"""What the camera sees of the chamber: empty, moving, an item at rest, a hand, or nothing at all.

Frames flow in, Observations flow out; an idle frame costs a fraction of a millisecond, and only an
item at rest is cut out for the network. The empty view (the background) is learnt at the start, or
loaded, and updated while nothing lies there. All time is that of the frames; nothing here waits,
and only `load` and `save` touch files.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from bin_daemon.chamber.background import Background
from bin_daemon.chamber.crop import light_table, square
from bin_daemon.chamber.pixels import Bytes, white_share
from bin_daemon.chamber.registration import registered
from bin_daemon.chamber.segmentation import Segmentation, segment
from bin_daemon.chamber.stillness import StillFrames, StillnessDetector
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.errors import PictureError
from bin_daemon.core.images import LONGEST, check_image, shrink
from bin_daemon.core.messages import Blockage, Frame, Image, Item, Observation, View

LEARN_FRAMES = 6
FOLLOW_EVERY_S = 1.0
FOLLOW_S = 20.0  # time constant of the running average that the background is
CALM_S = 2.0  # empty for so long before the background is updated
REST_AT_ENTRANCE_S = 2.0  # nobody holds an arm so still for so long
DARK_LEVEL = 10.0
BRIGHT_SHARE = 0.6
COVERED_SHARE = 0.8  # of the view: no item hides so much of the chamber
ELSEWHERE_SHARE = 0.9
ELSEWHERE_S = 1.0  # another view that has been still for so long is learnt
SPECK = 0.25  # of the least area: fewer pixels than that are not looked at
HYSTERESIS = 0.6  # what is an item stays one down to this share of the least area


class Chamber:
    """The chamber of one bin, as its camera sees it.

    Whatever touches an entrance border is a hand, until it has not moved for 2 s: no arm keeps
    that still, an item that leans against the border does. A change along all of such a border is
    an open lid, and stays one. Not thread-safe: one thread observes.
    """

    def __init__(self, config: ChamberSection) -> None:
        self._config = config
        self._frame_shape: tuple[int, int] | None = None
        self._seen: Segmentation | None = None  # of the frame that the present rest began with
        self._differing = 0  # pixels that differed when `_seen` was made,
        self._settled = False  # and whether the view had rested for `settle_s` by then
        self._followed_at = 0.0
        self.learn()

    @property
    def reference(self) -> Image | None:
        """The empty view in the present light, uint8 RGB at working resolution; None unlearnt."""
        return None if self._background is None else self._background.expected.copy()

    @reference.setter
    def reference(self, empty: Image) -> None:
        """Take a picture of the empty chamber, uint8 (height, width, 3) RGB of the frame's size."""
        check_image(empty, "reference")
        self._frame_shape = (empty.shape[0], empty.shape[1])
        self._reset(Background.learn([shrink(self._region(empty)[0])]))

    def learn(self) -> None:
        """Forget the empty view and learn it from the next still frames."""
        self._reset(None)

    def _reset(self, background: Background | None) -> None:
        """Start with this empty view, or none, and nothing known of what lies in the chamber."""
        self._background = background
        self._table: Bytes | None = None
        self._loaded = False  # the background is from a file and has not been seen to fit
        self._still_frames = StillFrames()
        self._stillness = StillnessDetector()
        self._present = False
        self._empty_since: float | None = None

    def observe(self, frame: Frame) -> Observation:
        """What `frame` shows; raises PictureError for a frame that no camera gives."""
        image = check_image(frame.image)
        now = frame.captured_at
        shape = (image.shape[0], image.shape[1])
        if self._frame_shape != shape:
            if self._frame_shape is not None:
                self.learn()  # another size is another view
            self._frame_shape = shape
        small = self._small(image, frame.small)
        if self._background is not None and self._background.mean.shape != small.shape:
            self.learn()  # the camera makes its small pictures in another way
        if blocked := self._unusable(small, now):
            self._pause()
            return blocked
        if self._background is None:
            return self._learn_from(small, now)
        weak = self._background.outside(small) | self._background.new_edges(small)
        least = self._config.min_area * weak.size
        differing = cv2.countNonZero(weak)
        if differing <= SPECK * least:
            self._stillness.reset()
            self._still_frames.reset()
            return self._empty(small, now, differing / weak.size)
        still_s = self._stillness.still_s(small, now, self._background.noise)
        settled = still_s >= self._config.settle_s
        grown = abs(differing - self._differing) > max(SPECK * least, 0.05 * self._differing)
        if self._seen is None or still_s == 0.0 or grown or settled != self._settled:
            self._seen = self._segment(small, least * HYSTERESIS if self._present else least)
            self._differing, self._settled = differing, settled
        return self._judge(frame, small, self._seen, still_s)

    def _segment(self, small: Bytes, least: float) -> Segmentation:
        """What lies in `small`, after the background has been fitted to its light and place."""
        assert self._background is not None
        if self._background.fit_light(small):
            self._table = None
        if (moved := registered(small, self._background)) is not None:
            self._background, self._table = moved, None
            moved.fit_light(small)
        return segment(small, self._background, self._config.entrance, least)

    def _region(self, image: Image) -> tuple[Image, tuple[int, int]]:
        """The region of interest of the frame, and its left top corner."""
        height, width = image.shape[:2]
        x, y, right, bottom = watched(width, height, self._config)
        return image[y:bottom, x:right], (x, y)

    def _small(self, image: Image, small: Image | None) -> Bytes:
        """The region at working resolution, from the camera's own small picture if it serves.

        It does not where the region is so small a part of it that `image` shows more.
        """
        if small is not None:
            check_image(small, "small picture")
            width = small.shape[0] * image.shape[1] / image.shape[0]
            if abs(small.shape[1] - width) > 1:
                raise PictureError(
                    f"small picture: {small.shape[1]}x{small.shape[0]} pixels are not the view of "
                    f"{image.shape[1]}x{image.shape[0]}; both must have the same aspect ratio"
                )
            part = self._region(small)[0]
            if max(part.shape[:2]) > LONGEST // 2:
                return shrink(part)
        return shrink(self._region(image)[0])

    def _unusable(self, small: Bytes, now: float) -> Observation | None:
        """View.BLOCKED where a frame is too dark or too bright to show anything, else None."""
        level = max(cv2.mean(small)[:3])
        if level < DARK_LEVEL:
            words = f"dark: mean brightness {level:.0f} of 255; is the lamp on, the lens free?"
            return Observation(View.BLOCKED, now, reason=words, blockage=Blockage.DARK)
        if level > 180.0:
            white = white_share(small)
            known = 0.0 if self._background is None else white_share(self._background.expected)
            if white > BRIGHT_SHARE and white > known + 0.3:
                words = f"overexposed: {white:.0%} of the view is white; is light falling in?"
                return Observation(View.BLOCKED, now, reason=words, blockage=Blockage.OVEREXPOSED)
        return None

    def _learn_from(self, small: Bytes, now: float) -> Observation:
        """Gather still frames until there are enough to learn the background from."""
        still_s = self._still_frames.still_s(small, now, 1.0)
        gathered = len(self._still_frames.frames)
        if gathered >= LEARN_FRAMES and still_s >= self._config.settle_s:
            self._reset(Background.learn(self._still_frames.frames))
        words = (
            f"learning the empty view: {min(gathered, LEARN_FRAMES)} of {LEARN_FRAMES} still frames"
        )
        return Observation(View.LEARNING, now, reason=words)

    def _pause(self) -> None:
        """The view is lost: what was at rest before counts for nothing afterwards."""
        self._stillness.reset()
        self._empty_since = None

    def _empty(self, small: Bytes, now: float, changed: float) -> Observation:
        """Nothing lies there: update the background once that has been so for a while."""
        assert self._background is not None
        self._present = False
        self._loaded = False
        if self._empty_since is None:
            self._empty_since = self._followed_at = now
        # After hours without a frame (the lamp was off) one frame must not become the whole view.
        since = min(now - self._followed_at, 2 * FOLLOW_EVERY_S)
        if now - self._empty_since >= CALM_S and since >= FOLLOW_EVERY_S:
            self._background.follow(small, 1.0 - float(np.exp(-since / FOLLOW_S)))
            self._followed_at = now
        return Observation(View.EMPTY, now, changed=changed)

    def _judge(self, frame: Frame, small: Bytes, seen: Segmentation, still_s: float) -> Observation:
        """Something differs: say what it is, and whether it is at rest."""
        now, changed = frame.captured_at, seen.changed
        if changed > COVERED_SHARE or not seen.recognised:
            return self._unknown(small, now, changed)
        self._still_frames.reset()
        if not (seen.lid or seen.segments):
            return self._empty(small, now, changed)
        self._empty_since = None
        if seen.lid:
            words = f"lid: the view has changed along the whole {seen.lid} border"
            return Observation(View.HAND, now, reason=words, changed=changed)
        self._present = True
        if seen.reaches and still_s < max(REST_AT_ENTRANCE_S, self._config.settle_s):
            words = f"hand: something reaches in from the {seen.reaches}"
            return Observation(View.HAND, now, reason=words, changed=changed)
        if still_s == 0.0 or still_s < self._config.settle_s:
            words = f"at rest for {still_s:.1f} of {self._config.settle_s:g} s"
            return Observation(View.MOVING, now, reason=words, changed=changed)
        view = View.ITEM if len(seen.segments) == 1 else View.ITEMS
        words = f"{len(seen.segments)} at rest for {still_s:.1f} s"
        return Observation(view, now, self._item(frame.image, seen), words, changed)

    def _unknown(self, small: Bytes, now: float, changed: float) -> Observation:
        """The empty chamber is not recognised: the lens is covered, or the camera was moved.

        A cover is out of focus and shows no detail. A view that differs from end to end, has
        detail and keeps still is what the camera sees since it was moved or refocused.
        """
        assert self._background is not None
        self._pause()
        still_s = self._still_frames.still_s(small, now, self._background.noise)
        elsewhere = self._loaded or changed > ELSEWHERE_SHARE
        if still_s >= ELSEWHERE_S and elsewhere and len(self._still_frames.frames) >= LEARN_FRAMES:
            background = Background.learn(self._still_frames.frames)
            if background.has_detail:
                self._reset(background)
                words = "learnt again: the whole view has changed"
                return Observation(View.LEARNING, now, reason=words, changed=changed)
        words = f"covered: {changed:.0%} of the view differs from the empty chamber"
        return Observation(View.BLOCKED, now, None, words, changed, Blockage.COVERED)

    def _item(self, image: Image, seen: Segmentation) -> Item:
        """Cut out what lies there; the box spans all of it."""
        if self._table is None and self._config.normalise and self._background is not None:
            self._table = light_table(self._background.expected)
        part, corner = self._region(image)
        part_height, part_width = part.shape[:2]
        height, width = seen.mask.shape
        fx, fy = part_width / width, part_height / height
        left, top, across, down = cv2.boundingRect(seen.mask.astype(np.uint8))
        x, y = corner[0] + round(left * fx), corner[1] + round(top * fy)
        box = (x, y, round(across * fx), round(down * fy))
        rows, columns = np.nonzero(seen.mask)
        centre = (
            (corner[0] + (float(columns.mean()) + 0.5) * fx) / image.shape[1],
            (corner[1] + (float(rows.mean()) + 0.5) * fy) / image.shape[0],
        )
        share = part_width * part_height / (image.shape[0] * image.shape[1])
        area = len(rows) / seen.mask.size * share
        crop = square(image, box, self._config.margin, self._table)
        return Item(crop, box, seen.mask, area, centre)

    def cut_out(self, image: Image, each: bool) -> tuple[Item, ...]:
        """The item in one still, of all that lies there, at rest or not, or `each` separate thing.

        image: uint8 (height, width, 3) RGB, of the size of the reference, which there must be.
        """
        small = shrink(self._region(image)[0])
        seen = self._segment(small, self._config.min_area * small.shape[0] * small.shape[1])
        parts = [seen] if seen.segments else []
        if each:
            parts = [replace(seen, segments=(mask,), mask=mask) for mask in seen.segments]
        return tuple(self._item(image, part) for part in parts)

    def save(self, path: Path) -> None:
        """Write the empty view to `path`, atomically; raises PictureError where it cannot."""
        if self._background is None or self._frame_shape is None:
            raise PictureError("reference: there is no empty view to save yet; let it learn first")
        self._background.unshifted.save(path, self._frame_shape, self._config.region)

    def load(self, path: Path) -> bool:
        """Take the empty view saved at `path`; False, and learning goes on, where there is none.

        A damaged file and one of another region count as none. Whether it still fits shows at the
        first frames: a view that differs everywhere, or another frame size, is learnt anew.
        """
        saved = Background.load(path, self._config.region)
        if saved is None:
            return False
        background, self._frame_shape = saved
        self._reset(background)
        self._loaded = True
        return True


def watched(width: int, height: int, config: ChamberSection) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the region of interest of a frame, in its pixels."""
    left, top, right, bottom = config.region
    return round(left * width), round(top * height), round(right * width), round(bottom * height)


def isolate(image: Image, empty: Image, config: ChamberSection | None = None) -> Item | None:
    """Cut the item out of one still, given a picture of the empty chamber; None finds none.

    Both uint8 (height, width, 3) RGB of one size; raises PictureError otherwise.
    """
    return next(iter(_chamber(image, empty, config).cut_out(image, each=False)), None)


def isolate_each(
    image: Image, empty: Image, config: ChamberSection | None = None
) -> tuple[Item, ...]:
    """Cut every separate thing out of one still, largest first; arguments as of `isolate`."""
    return _chamber(image, empty, config).cut_out(image, each=True)


def _chamber(image: Image, empty: Image, config: ChamberSection | None) -> Chamber:
    """The chamber as `empty` shows it, for a still `image` of the same size."""
    check_image(image, "picture")
    check_image(empty, "empty picture")
    if image.shape != empty.shape:
        raise PictureError(
            f"empty picture: {empty.shape[1]}x{empty.shape[0]} pixels, the picture has "
            f"{image.shape[1]}x{image.shape[0]}; take both with the same camera"
        )
    chamber = Chamber(config or ChamberSection())
    chamber.reference = empty
    return chamber
