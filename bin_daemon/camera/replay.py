"""A folder, a clip or a sequence script as a camera, for desks, demos and tests.

Stills or a clip flow in, frames at the pace of the clock flow out: the system clock keeps the frame
rate, a simulated clock jumps, so the same scene runs as fast as the processor allows. A script
answers to the machine (`Reactive`); a folder and a clip just run. Nothing here writes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import cv2

from bin_daemon.camera import Camera
from bin_daemon.camera.player import Player, Shown
from bin_daemon.camera.script import SCRIPT_NAME, Script, Step, load_script
from bin_daemon.config.sections import CameraSection
from bin_daemon.core import paths
from bin_daemon.core.clock import Clock
from bin_daemon.core.errors import CameraError, CameraFinishedError, PictureError
from bin_daemon.core.images import (
    SUFFIXES,
    fit_within,
    median_empty,
    natural_order,
    read_picture,
    resized,
    rgb_of,
)
from bin_daemon.core.messages import Frame, Image

_MEDIAN_EMPTY = "(median of the pictures)"


class Source(Protocol):
    """What a replay camera shows: an endless or finite run of stills."""

    def shots(self) -> Iterator[tuple[Image, Shown]]:
        """From the beginning: uint8 RGB images, all of one size, and what each shows."""
        ...


def pictures_in(folder: Path) -> list[Path]:
    """The pictures directly in `folder`, in natural order; raises CameraError for none."""
    try:
        found = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()]
    except OSError as error:
        raise CameraError(f"{folder}: cannot read the folder: {error.strerror}") from error
    if not found:
        kinds = ", ".join(SUFFIXES)
        raise CameraError(f"{folder}: no pictures ({kinds}) and no {SCRIPT_NAME}; check the path")
    return sorted(found, key=natural_order)


class FolderSource:
    """The pictures of a folder, each for one frame, in natural order.

    The first, scaled down to fit `width` x `height`, gives the size of all: one camera has one.
    """

    def __init__(self, folder: Path, width: int, height: int) -> None:
        self._pictures = pictures_in(folder)
        self._limit = (width, height)

    def shots(self) -> Iterator[tuple[Image, Shown]]:
        """See `Source`."""
        size: tuple[int, int] | None = None
        for number, path in enumerate(self._pictures):
            image = fit_within(read_picture(path), *self._limit)
            size = size or (image.shape[1], image.shape[0])
            yield resized(image, *size), Shown("picture", path.name, path.name, number + 1)


class ClipSource:
    """Every frame of a video file, scaled down to fit `width` x `height`."""

    def __init__(self, clip: Path, width: int, height: int) -> None:
        self._clip = clip
        self._limit = (width, height)
        self._open().release()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self._clip))
        if not capture.isOpened() or not capture.grab():
            capture.release()
            raise CameraError(
                f"{self._clip}: no frames in this file; is it a complete video (AVI, MP4, MKV)?"
            )
        capture.release()
        return cv2.VideoCapture(str(self._clip))

    def shots(self) -> Iterator[tuple[Image, Shown]]:
        """See `Source`."""
        capture, number = self._open(), 0
        try:
            while True:
                good, image = capture.read()
                if not good:
                    return
                number += 1
                rgb = fit_within(rgb_of(image), *self._limit)
                yield rgb, Shown("clip", f"frame {number}", self._clip.name, number)
        finally:
            capture.release()


class ReplayCamera(Camera):
    """Shows a `Source` at `fps` on `clock`; `Reactive` where the source is a script's `Player`.

    shown: what the newest frame shows, None before the first; truth: its label.
    """

    def __init__(self, source: Source, clock: Clock, fps: float, loop: bool = False) -> None:
        if not fps > 0:
            raise CameraError(f"replay: {fps:g} frames a second cannot be played; give more than 0")
        self.shown: Shown | None = None
        self._source = source
        self._clock = clock
        self._period_s = 1.0 / fps
        self._loop = loop
        self._shots: Iterator[tuple[Image, Shown]] | None = None
        self._number = 0
        self._due: float | None = None
        self._closed = False

    @property
    def truth(self) -> str:
        """The label of what is shown now; empty before the first frame."""
        return self.shown.label if self.shown else ""

    def capture(self, deadline_s: float) -> Frame:
        """See `Camera`; also raises CameraError for a picture that cannot be read."""
        if self._closed:
            raise CameraError("replay: the camera is closed; open it again")
        self._pace(deadline_s)
        image, self.shown = self._next()
        frame = Frame(image, self._clock.monotonic(), self._number)
        self._number += 1
        return frame

    def _pace(self, deadline_s: float) -> None:
        """Wait until the next frame is due."""
        now = self._clock.monotonic()
        if self._due is not None and (wait_s := self._due - now) > 0:
            if wait_s > deadline_s:
                self._clock.sleep(deadline_s)
                raise CameraError(
                    f"replay: the next frame is {wait_s:.1f} s away, the deadline is "
                    f"{deadline_s:g} s; "
                    f"raise camera.fps or camera.deadline_s"
                )
            self._clock.sleep(wait_s)
            now = self._due
        self._due = now + self._period_s

    def _next(self) -> tuple[Image, Shown]:
        restarted = self._shots is None
        if self._shots is None:
            self._shots = self._source.shots()
        try:
            return next(self._shots)
        except StopIteration:
            if not self._loop or restarted:
                raise CameraFinishedError("replay: the end is reached") from None
            self._shots = None
            return self._next()
        except PictureError as error:
            raise CameraError(str(error)) from error

    def cycle(self, state: str, dropped: bool) -> None:
        """See `Reactive`; a folder or clip takes no notice."""
        if isinstance(self._source, Player):
            self._source.cycle(state, dropped)

    def close(self) -> None:
        """See `Camera`."""
        self._closed = True
        self._shots = None


def script_camera(path: Path, clock: Clock, loop: bool = False) -> ReplayCamera:
    """A camera that plays the script at `path`; raises CameraError where it is wrong."""
    script = load_script(path)
    return ReplayCamera(Player(script, path.parent, str(path)), clock, script.fps, loop)


def open_replay(config: CameraSection, clock: Clock) -> ReplayCamera:
    """The replay camera that `config` describes: script, folder (with its script) or clip.

    Raises CameraError for a source that is missing, empty or damaged.
    """
    path = paths.reel() if config.source == "reel" else Path(config.source)
    if path.is_dir():
        if (path / SCRIPT_NAME).is_file():
            return script_camera(path / SCRIPT_NAME, clock, config.loop)
        source: Source = FolderSource(path, config.width, config.height)
    elif path.suffix.lower() in (".yaml", ".yml"):
        return script_camera(path, clock, config.loop)
    elif path.is_file():
        source = ClipSource(path, config.width, config.height)
    else:
        raise CameraError(f"{path}: no such folder, clip or script; check camera.source")
    return ReplayCamera(source, clock, config.fps, config.loop)


def hold_each(
    pictures: list[Path],
    empty: Path | None,
    hold_frames: int,
    *,
    fps: float = 10.0,
    size: tuple[int, int] | None = None,
    gap_frames: int = 8,
    learn_frames: int = 15,
    noise: float = 0.0,
    jitter_px: float = 0.0,
    seed: int = 0,
    label: Callable[[Path], str] = lambda path: path.name,
    limit: tuple[int, int] = (640, 480),
) -> Player:
    """A scene in which each picture is an item: held for `hold_frames`, the empty chamber between.

    empty: a picture of the empty chamber, or None to take the median of `pictures`. size: width and
    height of the frames; else those of the first picture, scaled down to fit `limit`.
    Raises CameraError without pictures, PictureError where one cannot be read.
    """
    if not pictures:
        raise CameraError("replay: no pictures to hold; give at least one")
    stills: dict[str, Image] = {}
    name = _MEDIAN_EMPTY if empty is None else str(empty.resolve())
    if empty is None:
        stills[name] = median_empty(pictures, *limit)
    if size is None:
        first = fit_within(read_picture(pictures[0]), *limit)
        size = (first.shape[1], first.shape[0])
    steps = [Step(kind="empty", picture=name, frames=learn_frames)]
    for path in pictures:
        still = str(path.resolve())
        steps.append(Step(kind="hold", picture=still, frames=hold_frames, label=label(path)))
        steps.append(Step(kind="empty", picture=name, frames=gap_frames))
    script = Script(
        fps=fps, size=size, seed=seed, noise=noise, jitter_px=jitter_px, steps=tuple(steps)
    )
    return Player(script, Path(), "hold_each", stills)


def replay_player(player: Player, clock: Clock, loop: bool = False) -> ReplayCamera:
    """A camera that shows `player` (see `hold_each`) at the frame rate of its script."""
    return ReplayCamera(player, clock, player.script.fps, loop)
