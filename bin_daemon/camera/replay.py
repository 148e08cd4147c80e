"""A folder, a clip or a sequence script as a camera, for desks, demos and tests.

Stills or a clip flow in, frames at the pace of the clock flow out: the system clock keeps the frame
rate, a simulated clock jumps, so the same scene runs as fast as the processor allows. A script
reacts to the machine; a folder and a clip just run. Nothing is written.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2

from bin_daemon.camera.base import Camera
from bin_daemon.camera.player import Player, Shots
from bin_daemon.camera.script import SCRIPT_NAME, Script, ScriptStep, load_script
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
from bin_daemon.core.messages import Frame

_MEDIAN_EMPTY = "(median of the pictures)"
_HOLD_SIZE = (640, 480)


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


def picture_shots(pictures: Sequence[Path], width: int, height: int) -> Shots:
    """Each picture for one frame.

    The first, scaled down to fit `width` x `height`, gives the size of all: one camera has one.
    Raises PictureError for one that cannot be read.
    """
    size: tuple[int, int] | None = None
    for path in pictures:
        image = fit_within(read_picture(path), width, height)
        size = size or (image.shape[1], image.shape[0])
        yield resized(image, *size), path.name


def clip_shots(clip: Path, width: int, height: int) -> Shots:
    """Every frame of a video file, scaled down to fit `width` x `height`."""
    capture = cv2.VideoCapture(str(clip))
    try:
        for number in itertools.count(1):
            good, image = capture.read()
            if not good:
                return
            yield fit_within(rgb_of(image), width, height), f"frame {number}"
    finally:
        capture.release()


class ReplayCamera(Camera):
    """Shows `shots` at `fps` on `clock`; on_cycle: told the state of the sort cycle.

    shots: called at the start, and with `loop` again at the end. truth: what the newest frame
    shows, "" before the first.
    """

    def __init__(
        self,
        shots: Callable[[], Shots],
        clock: Clock,
        fps: float,
        loop: bool = False,
        on_cycle: Callable[[str, bool], None] = lambda state, dropped: None,
    ) -> None:
        self.truth = ""
        self._start = shots
        self._clock = clock
        self._period_s = 1.0 / fps
        self._loop = loop
        self._on_cycle = on_cycle
        self._shots = self._played()
        self._number = 0
        self._due: float | None = None
        self._closed = False

    def capture(self, deadline_s: float) -> Frame:
        """Also raises CameraError where a picture cannot be read."""
        if self._closed:
            raise CameraError("replay: the camera is closed; open it again")
        self._pace(deadline_s)
        try:
            image, self.truth = next(self._shots)
        except StopIteration:
            raise CameraFinishedError("replay: the end is reached") from None
        except PictureError as error:
            raise CameraError(str(error)) from error
        self._number += 1
        return Frame(image, self._clock.monotonic(), self._number - 1)

    def _played(self) -> Shots:
        """All that is shown; without end where it loops, unless there is nothing to show."""
        shown = None
        for shown in self._start():
            yield shown
        while self._loop and shown:
            yield from self._start()

    def _pace(self, deadline_s: float) -> None:
        """Wait until the next frame is due."""
        now = self._clock.monotonic()
        if self._due is not None and (wait_s := self._due - now) > 0:
            if wait_s > deadline_s:
                self._clock.sleep(deadline_s)
                raise CameraError(
                    f"replay: the next frame is {wait_s:.1f} s away, the deadline is "
                    f"{deadline_s:g} s; raise camera.fps or camera.deadline_s"
                )
            self._clock.sleep(wait_s)
            now = self._due
        self._due = now + self._period_s

    def on_cycle(self, state: str, dropped: bool) -> None:
        """A folder and a clip ignore it."""
        self._on_cycle(state, dropped)

    def close(self) -> None:
        """Show nothing any more."""
        self._closed = True


def _play(player: Player, clock: Clock, loop: bool = False) -> ReplayCamera:
    return ReplayCamera(player.shots, clock, player.script.fps, loop, player.on_cycle)


def script_camera(path: Path, clock: Clock, loop: bool = False) -> ReplayCamera:
    """A camera that plays the script at `path`; raises CameraError where it is wrong."""
    return _play(Player(load_script(path), path.parent, str(path)), clock, loop)


def open_replay(config: CameraSection, clock: Clock) -> ReplayCamera:
    """The replay camera that `config` describes: script, folder (with its script) or clip.

    Raises CameraError for a source that is missing, empty or damaged.
    """
    path = paths.reel() if config.source == "reel" else Path(config.source)
    if (path / SCRIPT_NAME).is_file():
        path /= SCRIPT_NAME
    if path.suffix.lower() in (".yaml", ".yml") and not path.is_dir():
        return script_camera(path, clock, config.loop)
    size = (config.width, config.height)
    if path.is_dir():
        shots = functools.partial(picture_shots, pictures_in(path), *size)
    elif path.is_file():
        shots = functools.partial(clip_shots, path, *size)
        if next(shots(), None) is None:
            raise CameraError(
                f"{path}: no frames in this file; is it a complete video (AVI, MP4, MKV)?"
            )
    else:
        raise CameraError(f"{path}: no such folder, clip or script; check camera.source")
    return ReplayCamera(shots, clock, config.fps, config.loop)


def hold_each(
    pictures: list[Path],
    empty: Path | None,
    hold_frames: int,
    clock: Clock,
    *,
    fps: float = 10.0,
    gap_frames: int = 8,
    learn_frames: int = 15,
    noise: float = 0.0,
    jitter_px: float = 0.0,
    seed: int = 0,
) -> ReplayCamera:
    """A camera to which each picture is an item, held for `hold_frames`; in between, it is empty.

    The frames have the size of the first picture, scaled down to fit 640 x 480. empty: a picture of
    the empty chamber, or None to take the median of `pictures`.
    Raises CameraError without pictures, PictureError where one cannot be read.
    """
    if not pictures:
        raise CameraError("replay: no pictures to hold; give at least one")
    first = fit_within(read_picture(pictures[0]), *_HOLD_SIZE)
    name = _MEDIAN_EMPTY if empty is None else str(empty.resolve())
    stills = {name: median_empty(pictures, *_HOLD_SIZE)} if empty is None else {}
    steps = [ScriptStep(kind="empty", picture=name, frames=learn_frames)]
    for path in pictures:
        still = str(path.resolve())
        steps.append(ScriptStep(kind="hold", picture=still, frames=hold_frames, label=path.name))
        steps.append(ScriptStep(kind="empty", picture=name, frames=gap_frames))
    size = (first.shape[1], first.shape[0])
    script = Script(
        fps=fps, size=size, seed=seed, noise=noise, jitter_px=jitter_px, steps=tuple(steps)
    )
    return _play(Player(script, Path(), "hold_each", stills), clock)
