"""USB and V4L2 cameras, RTSP streams and video files, through OpenCV.

A device flows in, RGB frames flow out. OpenCV's calls can block for ever, so one thread owns the
capture from opening to release, and `capture` only waits for what it delivers, with a deadline. A
live source gives its newest frame, a file every frame. It never reopens by itself.
"""

from __future__ import annotations

import math
import os
import re
import threading
import time
from pathlib import Path

import cv2

from bin_daemon.camera.base import Camera
from bin_daemon.config.sections import CameraSection
from bin_daemon.core.clock import Clock
from bin_daemon.core.errors import CameraError, CameraFinishedError
from bin_daemon.core.images import check_image, rgb_of
from bin_daemon.core.messages import Frame
from bin_daemon.core.worker import Worker

OPEN_DEADLINE_S = 10.0  # USB cameras take one to three seconds, RTSP a few
JOIN_DEADLINE_S = 1.0
_RETRY_S = 0.05


class OpenCvCamera(Camera):
    """A camera that OpenCV can open: index, /dev path, rtsp:// address or file.

    Raises CameraError at construction where it cannot be opened or gives no first frame.
    """

    def __init__(self, config: CameraSection, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        # The address without its password, fit for messages.
        self._name = f"camera {re.sub('//[^/@]*@', '//***@', config.source)}"
        self._is_file = Path(config.source).is_file() and not config.source.isdigit()
        self._period_s = 1.0 / config.fps
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._delivered = 0  # frames taken from the device
        self._fault: CameraError | None = None
        self._last_s = -math.inf
        self._check_device()
        self._worker = Worker("camera", self._read, on_error=self._fail)
        self._worker.start()
        try:
            with self._changed:
                self._await_frame(
                    OPEN_DEADLINE_S,
                    "opens but gives no frame",
                    "check the cable and the power supply, or that the stream is running",
                )
        except CameraError:
            self.close()
            raise

    def _check_device(self) -> None:
        """Raise, where OpenCV would only fail, for a device that is missing or not permitted."""
        source = self._config.source
        if "://" in source:
            return
        path = Path(f"/dev/video{source}") if source.isdigit() else Path(source)
        if not path.exists():
            raise CameraError(
                f"{self._name}: there is no {path}; plug the camera in, and see "
                f"'v4l2-ctl --list-devices' for the right camera.source"
            )
        if not os.access(path, os.R_OK):
            raise CameraError(
                f"{self._name}: no permission to read {path}; add the user to the group 'video' "
                f"(usermod -aG video bin-daemon) and log in again"
            )

    def _await_frame(self, deadline_s: float, trouble: str, advice: str) -> Frame:
        """The next frame, left in its place; call it with the lock. Raises CameraError for none."""
        self._changed.wait_for(lambda: self._frame is not None or self._fault, deadline_s)
        if self._frame is None:
            late = f"{self._name}: {trouble} within {deadline_s:g} s; {advice}"
            raise self._fault or CameraError(late)
        return self._frame

    def _open(self) -> cv2.VideoCapture:
        source = self._config.source
        capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
        if not capture.isOpened():
            capture.release()
            if self._is_file:
                raise CameraError(f"{self._name}: cannot be played; is it a complete video file?")
            raise CameraError(
                f"{self._name}: cannot be opened; another program may hold it "
                f"(see 'fuser -v /dev/video*'), or the address is wrong"
            )
        if not self._is_file:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._config.width)
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._config.height)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # old frames are of no use
        return capture

    def _read(self) -> None:
        """The work of the thread, from opening to release."""
        capture = self._open()
        try:
            while not self._worker.stopping:
                good, image = capture.read()
                if good:
                    rgb = check_image(rgb_of(image), self._name)
                    self._offer(Frame(rgb, self._clock.monotonic(), self._delivered))
                elif not self._is_file:
                    time.sleep(_RETRY_S)  # a hiccup; the deadline of capture() judges its length
                elif self._delivered == 0:
                    raise CameraError(f"{self._name}: the file holds no frames; is it complete?")
                else:
                    raise CameraFinishedError(f"{self._name}: the end is reached")
        finally:
            capture.release()

    def _offer(self, frame: Frame) -> None:
        with self._changed:
            if self._is_file:
                self._changed.wait_for(lambda: self._frame is None or self._worker.stopping)
            self._frame = frame
            self._delivered += 1
            self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        """Hand any error of the thread, cv2.error and MemoryError too, to the waiting side."""
        if not isinstance(error, CameraError):
            error = CameraError(f"{self._name}: reading failed: {error}")
        with self._changed:
            self._fault = error
            self._changed.notify_all()

    def capture(self, deadline_s: float) -> Frame:
        """No more often than the configured frame rate."""
        if self._worker.stopping:
            raise CameraError(f"{self._name}: is closed; open it again")
        wait_s = self._last_s + self._period_s - self._clock.monotonic()
        self._clock.sleep(min(max(0.0, wait_s), deadline_s))
        with self._changed:
            frame = self._await_frame(
                deadline_s, "no frame", "check the cable and the power supply"
            )
            self._frame = None
            self._changed.notify_all()
        self._last_s = self._clock.monotonic()
        return frame

    def close(self) -> None:
        """Leaves a thread that is stuck in the driver behind after a second."""
        with self._changed:
            self._worker.stop()
            self._changed.notify_all()
        self._worker.stop(JOIN_DEADLINE_S)
