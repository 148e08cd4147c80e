"""Plays a sequence script frame by frame, and closes the loop with the machine that watches it.

A `Script` flows in, RGB stills with camera shake and sensor noise flow out; the same seed and the
same states of the machine give the same frames. An item lies there until the chute drops it, and
the next one comes when the machine waits again. `ReplayCamera` paces the frames.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from bin_daemon.camera.script import Script, ScriptStep
from bin_daemon.core.errors import CameraError, PictureError
from bin_daemon.core.images import read_picture, resized
from bin_daemon.core.messages import Array, Image

PATIENCE_S = 20.0  # a machine that has not dropped or come back by then will not
_CACHED = 24
_NOISE_BORDER = 61  # how far the drawn noise can be shifted from frame to frame
_ITEM_LEVELS = (14.0, 34.0)  # difference from the empty view: background below, item above


# uint8 RGB images, all of one size, and what each shows: the label of an item that is held, else
# the kind of the step; outside of scripts the name of the picture or the number of the frame.
Shots = Iterator[tuple[Image, str]]


class Player:
    """Plays `script`, whose pictures are relative to `base`; `name` stands in error messages.

    stills: pictures already in memory, by the name the steps give them.
    """

    def __init__(
        self, script: Script, base: Path, name: str, stills: Mapping[str, Image] | None = None
    ) -> None:
        self.script = script
        self._base, self._name, self._stills = base, name, stills or {}
        self._still = functools.lru_cache(maxsize=_CACHED)(self._load)
        self._state: str | None = None
        self._drops = 0
        self._patience = max(1, round(PATIENCE_S * script.fps))

    def on_cycle(self, state: str, dropped: bool) -> None:
        """As `Camera.on_cycle`."""
        self._state = state
        self._drops += dropped

    def shots(self) -> Shots:
        """The frames in order, uint8 RGB, and what each shows; each run starts from the seed.

        Raises CameraError, naming the step, where a picture cannot be read.
        """
        camera = _Sensor(self.script)
        for image, shown in self._scene():
            yield camera.see(image), shown

    def _scene(self) -> Shots:
        """The steps in order, without shake and noise."""
        empty: Image | None = None
        before = ""
        for number, step in enumerate(self.script.steps, start=1):
            try:
                still = self._still(step.picture)
            except PictureError as error:
                raise CameraError(f"{self._name}: step {number} ({step.kind}): {error}") from error
            background = still if empty is None else empty
            comes = step.kind == "enter" or (step.kind == "hold" and before != "enter")
            if comes and empty is not None:
                yield from self._until_waiting(empty)
            if step.kind == "hold":
                yield from self._hold(still, step)
            else:
                images: Iterable[Image] = itertools.repeat(still, step.frames)
                if step.kind == "enter":
                    images = _slide_in(still, background, step.frames)
                elif step.kind == "light":
                    images = _fade(background, still, step.frames)
                shown = "entering" if step.kind == "enter" else step.kind
                yield from ((image, shown) for image in images)
            if step.kind in ("empty", "light"):
                empty = still
            before = step.kind
        if empty is not None:
            # The machine checks that the last item has left before its cycle is complete.
            yield from self._until_waiting(empty)

    def _load(self, picture: str) -> Image:
        """A picture at the size of the script."""
        found = self._stills.get(picture)
        image = read_picture(self._base / picture) if found is None else found
        return resized(image, *self.script.size)

    def _until_waiting(self, empty: Image) -> Shots:
        """Empty frames until the machine waits for the next item, or PATIENCE_S are over."""
        for _ in range(self._patience):
            if self._state in (None, "waiting"):
                return
            yield empty, "empty"

    def _hold(self, still: Image, step: ScriptStep) -> Shots:
        """The item at rest until it is dropped; without `on_cycle`, for `step.frames`."""
        last_drop = self._drops + step.stuck
        for count in range(max(step.frames, self._patience)):
            if self._drops > last_drop or (self._state is None and count >= step.frames):
                return
            yield still, step.label or Path(step.picture).stem


class _Sensor:
    """Shake and noise of a camera, from the script's seed."""

    def __init__(self, script: Script) -> None:
        self._random = np.random.default_rng(script.seed)
        self._jitter_px = script.jitter_px
        self._noise: Array | None = None
        if script.noise > 0:
            # Drawing normal values for each frame costs more than the rest of the daemon; one
            # larger field, shifted at random, has the same statistics at each pixel.
            width, height = script.size
            shape = (height + _NOISE_BORDER, width + _NOISE_BORDER, 3)
            field = self._random.normal(0.0, script.noise, shape)
            self._noise = np.rint(field).astype(np.int16)

    def see(self, still: Image) -> Image:
        """A fresh array: `still` as this camera would deliver it now."""
        height, width = still.shape[:2]
        image: Array = still
        if self._jitter_px > 0:
            dx, dy = self._random.normal(0.0, self._jitter_px, 2)
            shift = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
            edge = cv2.BORDER_REFLECT_101
            image = cv2.warpAffine(still, shift, (width, height), borderMode=edge)
        if self._noise is not None:
            y, x = self._random.integers(0, _NOISE_BORDER, 2)
            grain = self._noise[y : y + height, x : x + width]
            image = cv2.add(image, grain, dtype=cv2.CV_8U)
        return still.copy() if image is still else np.asarray(image, np.uint8)


def _fade(old: Image, new: Image, frames: int) -> Iterator[Image]:
    """`frames` images from just after `old` to `new`."""
    for i in range(1, frames + 1):
        share = i / frames
        yield np.asarray(cv2.addWeighted(old, 1.0 - share, new, share, 0.0), np.uint8)


def _slide_in(still: Image, background: Image, frames: int) -> Iterator[Image]:
    """The item of `still` comes down from the top edge to where it lies."""
    difference = still.astype(np.int16) - background
    # A change of exposure between the two stills is no item: subtract what is common.
    difference = np.abs(difference - np.median(difference, axis=(0, 1)).astype(np.int16))
    low, high = _ITEM_LEVELS
    level = cv2.GaussianBlur(difference.max(axis=2).astype(np.float32), (0, 0), 2.0)
    alpha = np.clip((level - low) / (high - low), 0.0, 1.0)[..., None]
    rows = np.flatnonzero(alpha.max(axis=(1, 2)) > 0.5)
    travel = int(rows[-1]) + 1 if rows.size else still.shape[0]
    for i in range(1, frames + 1):
        up = round(travel * (1.0 - i / (frames + 1)))
        scene = background.astype(np.float32)
        part = alpha[up:]
        scene[: part.shape[0]] += part * (still[up:].astype(np.float32) - scene[: part.shape[0]])
        yield scene.astype(np.uint8)
