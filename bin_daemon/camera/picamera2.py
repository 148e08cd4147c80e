"""The camera module of a Raspberry Pi, through picamera2 and libcamera.

Frames flow out: the picture in RGB, and the same view small, which the Pi's image processor scales
at no cost. Every request has a deadline, and a frame whose sensor timestamp has not advanced does
not count. libcamera can hang in any call, so opening and closing run in threads that are left
behind then. It never reopens by itself and never returns an old frame.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np

from bin_daemon.camera.base import Camera
from bin_daemon.config.sections import CameraSection
from bin_daemon.core.clock import Clock
from bin_daemon.core.errors import CameraError, OverdueError, Reason
from bin_daemon.core.images import LONGEST, check_image
from bin_daemon.core.messages import Array, Frame, Image
from bin_daemon.core.worker import within

log = logging.getLogger(__name__)

OPEN_DEADLINE_S = 10.0
FIRST_FRAME_S = 5.0  # at least; sensors drop some frames after they start
CLOSE_DEADLINE_S = 1.0
BUFFERS = 4  # one in use, one being filled, two queued; each costs contiguous memory
LATENCY_FRAMES = 6  # the queued requests, and two frames until a sensor follows
MAX_AGE_S = 10.0  # of a frame; a timestamp further off comes from an unknown clock
# libcamera names formats from the least significant byte: this one is R, G, B in memory.
RGB_IN_MEMORY = "BGR888"
_AF_MANUAL, _AF_CONTINUOUS = 0, 2  # libcamera's AfModeEnum


def small_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the small picture: twice what `images.shrink` makes of the whole picture.

    Halved a whole number of times, so that both shrink to the same grid; even, as YUV420 must be.
    Twice, so that half of the view still has the full working resolution.
    """
    factor = 1
    while max(width, height) > LONGEST * factor * 2:
        factor *= 2
    while factor > 1 and (width % (2 * factor) or height % (2 * factor)):
        factor //= 2
    return width // factor, height // factor


def rgb_of_yuv420(planes: Array, width: int, height: int) -> Image:
    """uint8 (height, width, 3) RGB of full-range YUV420 (sYCC, as JPEG has it).

    planes: uint8 (height * 3 / 2, stride): Y, then U and V, of which two rows lie in one of Y's;
    what lies beyond `width` is padding.
    """
    # OpenCV converts ITU-R BT.601's range only: 219 steps from 16 up, 112 to either side of 128.
    narrow = np.empty_like(planes)
    cv2.convertScaleAbs(planes[:height], narrow[:height], 219 / 255, 16)
    cv2.convertScaleAbs(planes[height:], narrow[height:], 224 / 255, 128 * (1 - 224 / 255))
    rgb = cv2.cvtColor(narrow, cv2.COLOR_YUV2RGB_I420)
    return np.ascontiguousarray(rgb[:, :width], np.uint8)


def age_s(stamp_ns: int) -> float:
    """Seconds since `stamp_ns`, nanoseconds since boot; 0 where it fits no clock.

    libcamera defines SensorTimestamp as CLOCK_BOOTTIME; drivers stamp with CLOCK_MONOTONIC, which
    is the same on a machine that was never suspended.
    """
    clocks = (time.CLOCK_BOOTTIME, time.CLOCK_MONOTONIC)
    ages = [(time.clock_gettime_ns(clock) - stamp_ns) / 1e9 for clock in clocks]
    return min((age for age in ages if 0 <= age <= MAX_AGE_S), default=0.0)


def _library() -> Any:
    """The class Picamera2, logging less; raises CameraError where it cannot be imported."""
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:WARN")
    logging.getLogger("picamera2").setLevel(logging.WARNING)
    try:
        return importlib.import_module("picamera2").Picamera2
    except Exception as error:  # not only ImportError: another numpy raises ValueError
        raise CameraError(
            f"camera.kind picamera2: cannot be imported: {error}; 'apt install python3-picamera2', "
            f"and make the virtual environment with --system-site-packages and without a numpy of "
            f"its own",
            Reason.DRIVER_MISSING,
        ) from error


def _number(library: Any, source: str) -> int:
    """The number of the camera that `source` names by number or by a part of its model or id."""
    cameras = library.global_camera_info()
    if not cameras:
        raise CameraError(
            f"camera {source}: libcamera finds no camera; check both ends of the ribbon cable, "
            f"camera_auto_detect=1 in /boot/firmware/config.txt, what 'rpicam-hello "
            f"--list-cameras' says, and that the user is in the group 'video'"
        )
    names = [f"{info.get('Model', 'unknown')} ({info.get('Id', '')})" for info in cameras]
    if source.isdigit() and int(source) < len(cameras):
        return int(source)
    found = [] if source.isdigit() else [n for n in names if source.lower() in n.lower()]
    if len(found) != 1:
        there = ", ".join(f"{number}: {name}" for number, name in enumerate(names))
        what = "several cameras have that name" if found else "there is no such camera"
        raise CameraError(f"camera {source}: {what}; set camera.source to one of {there}")
    return names.index(found[0])


def _reason(error: BaseException) -> str:
    """The message at the root of a chain of exceptions."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


@contextlib.contextmanager
def _explained(what: str, advice: str) -> Iterator[None]:
    """Turn whatever picamera2 raises within into a CameraError that says more."""
    try:
        yield
    except CameraError:
        raise
    except Exception as error:
        raise CameraError(f"{what}: {_reason(error)}; {advice}") from error


class PiCamera(Camera):
    """A camera that libcamera supports, opened, warmed up and delivering.

    Raises CameraError at construction where it cannot be opened or gives no frames.
    """

    def __init__(self, config: CameraSection, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._name = f"camera {config.source}"
        self._device: Any = None
        self._closed = False
        self._stamp_ns = 0
        self._number = 0
        self._pace_s = 0.0
        self._last_s = -math.inf
        library = _library()
        with contextlib.ExitStack() as opened:
            opened.callback(self.close)
            try:
                within(OPEN_DEADLINE_S, lambda: self._open(library), "camera")
            except OverdueError as error:
                raise CameraError(
                    f"{self._name}: does not open within {OPEN_DEADLINE_S:g} s; restart the Pi, "
                    f"and check the ribbon cable if it happens again"
                ) from error
            with _explained(f"{self._name}: does not warm up", "restart the Pi"):
                self._warm_up()
            opened.pop_all()

    def _open(self, library: Any) -> None:
        with _explained(
            f"{self._name}: cannot be opened",
            "another program may hold it (see 'fuser -v /dev/media*'), or the user is not in the "
            "group 'video'",
        ):
            device = self._device = library(_number(library, self._config.source))
        with _explained(
            f"{self._name}: cannot be started at {self._config.width}x{self._config.height}",
            "try a smaller picture, free memory (CMA), and for a USB camera camera.kind: opencv",
        ):
            self._start(device)
        if self._closed:  # too late: nobody is waiting any more
            device.close()

    def _start(self, device: Any) -> None:
        size = (self._config.width // 2 * 2, self._config.height // 2 * 2)
        there = device.camera_controls
        device.configure(
            # The preview's colour space is sYCC: full range for both streams.
            device.create_preview_configuration(
                main={"size": size, "format": RGB_IN_MEMORY},
                lores={"size": small_size(*size), "format": "YUV420"},
                buffer_count=BUFFERS,
                queue=False,  # each request waits for the next frame
                controls=self._pacing(there) | self._focus(there),
            )
        )
        got = device.camera_configuration()
        main, lores = got["main"], got["lores"]
        if (main["format"], lores["format"]) != (RGB_IN_MEMORY, "YUV420"):
            raise CameraError(
                f"{self._name}: gives {main['format']} and {lores['format']} instead of "
                f"{RGB_IN_MEMORY} and YUV420; for a USB camera set camera.kind: opencv"
            )
        self._small: tuple[int, int] = lores["size"]
        device.start()
        log.info("%s: %sx%s, small %sx%s", self._name, *main["size"], *self._small)

    def _pacing(self, controls: Mapping[str, Any]) -> dict[str, Any]:
        """The control that limits the frame rate; `capture` waits for the rest."""
        self._pace_s = period_s = 1.0 / self._config.fps
        if "FrameDurationLimits" not in controls:
            return {}
        least_us, most_us = controls["FrameDurationLimits"][:2]
        # A sensor slower than that would leave no time for a second frame before the deadline.
        wanted_us = round(1e6 * min(period_s, self._config.deadline_s / 2))
        duration_us = max(least_us, min(wanted_us, most_us))
        if duration_us >= 0.99e6 * period_s:
            self._pace_s = 0.0
        return {"FrameDurationLimits": (duration_us, duration_us)}

    def _focus(self, controls: Mapping[str, Any]) -> dict[str, Any]:
        """The controls of a motorised lens; libcamera counts in dioptres, 1/m."""
        focus_cm = self._config.focus_cm
        if "AfMode" not in controls:
            if focus_cm is not None:
                log.warning("%s: camera.focus_cm does nothing: its lens is fixed", self._name)
            return {}
        if focus_cm is None:
            return {"AfMode": _AF_CONTINUOUS}
        return {"AfMode": _AF_MANUAL, "LensPosition": 100.0 / focus_cm}

    def _warm_up(self) -> None:
        """Wait until exposure and white balance have settled; lock them if configured.

        The first frame may take longer than the others; each has its deadline.
        """
        until = time.monotonic() + self._config.warmup_s
        deadline_s = max(FIRST_FRAME_S, self._config.deadline_s)
        while True:
            with self._fresh(deadline_s) as (_, metadata):
                pass
            deadline_s = self._config.deadline_s
            if time.monotonic() >= until:
                break
        if self._config.exposure == "locked":
            self._lock(metadata)

    def _lock(self, metadata: Mapping[str, Any]) -> None:
        """Fix exposure, gain and white balance at what `metadata` says, where they can be set."""
        found = ("ExposureTime", "AnalogueGain", "ColourGains")
        wanted = {"AeEnable": False, "AwbEnable": False}
        wanted |= {name: metadata[name] for name in found if name in metadata}
        held = {name: v for name, v in wanted.items() if name in self._device.camera_controls}
        missing = [name for name in found if name not in held]
        if missing:
            words = "%s: exposure is locked except for %s, which this camera does not have"
            log.warning(words, self._name, ", ".join(missing))
        if held:
            self._device.set_controls(held)
            for _ in range(LATENCY_FRAMES):
                with self._fresh(self._config.deadline_s):
                    pass
            log.info("%s: locked: %s", self._name, held)

    @contextlib.contextmanager
    def _fresh(self, deadline_s: float) -> Iterator[tuple[Any, Mapping[str, Any]]]:
        """A completed request that is newer than the last one, and its metadata.

        It returns to the camera at the end of the block: copy what is to be kept.
        """
        until = time.monotonic() + deadline_s
        stamp_ns = 0
        while True:
            request = self._request(until)
            if request is None:
                repeats = "only frames that repeat (the sensor's timestamp does not move)"
                trouble = repeats if stamp_ns else "no frame"
                raise CameraError(
                    f"{self._name}: {trouble} within {deadline_s:g} s; check the ribbon cable and "
                    f"the power supply ('vcgencmd get_throttled')"
                )
            try:
                metadata = request.get_metadata()
                stamp_ns = metadata.get("SensorTimestamp") or 0
                if not 0 < stamp_ns <= self._stamp_ns:
                    self._stamp_ns = stamp_ns
                    yield request, metadata
                    return
            finally:
                request.release()

    def _request(self, until: float) -> Any:
        """The next completed request; None where there is none by then."""
        device = self._device
        if device is None:
            raise CameraError(f"{self._name}: is closed; open it again")
        job = device.capture_request(wait=False)
        try:
            return job.get_result(timeout=max(0.0, until - time.monotonic()))
        except TimeoutError:
            # A job left behind would take the next frame and keep its buffer for ever.
            device.cancel_all_and_flush()
        except concurrent.futures.CancelledError:
            return None
        with contextlib.suppress(TimeoutError, concurrent.futures.CancelledError):
            return job.get_result(timeout=0.1)  # it came while it was being cancelled
        return None

    def capture(self, deadline_s: float) -> Frame:
        """Stamped with the start of its exposure; the small picture comes with it."""
        wait_s = self._last_s + self._pace_s - self._clock.monotonic()
        self._clock.sleep(min(max(0.0, wait_s), deadline_s))
        with (
            _explained(f"{self._name}: cannot read a frame", "restart the daemon"),
            self._fresh(deadline_s) as (request, metadata),
        ):
            image = check_image(request.make_array("main"), self._name)
            small = rgb_of_yuv420(request.make_array("lores"), *self._small)
        now = self._last_s = self._clock.monotonic()
        captured_at = now - age_s(metadata.get("SensorTimestamp") or 0)
        self._number += 1
        return Frame(image, captured_at, self._number - 1, small)

    def close(self) -> None:
        """Leaves a libcamera that hangs behind after a second."""
        device, self._device, self._closed = self._device, None, True
        if device is None:
            return

        def release() -> None:
            device.cancel_all_and_flush()  # a waiting job would hold up the end for a minute
            device.close()

        try:
            within(CLOSE_DEADLINE_S, release, "camera")
        except Exception as error:
            log.warning("%s: did not close: %s", self._name, _reason(error))
