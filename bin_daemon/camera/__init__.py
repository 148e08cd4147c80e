"""Where frames come from: one base class, and the one function that opens a camera.

A `CameraSection` flows in, a `Camera` flows out; frames are RGB and stamped with monotonic time.
The implementations (and OpenCV with them) are imported only when one is opened. A camera reports
its own failure and does not repair it: reopening is up to its owner.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from bin_daemon.config.sections import CameraSection
from bin_daemon.core.clock import Clock
from bin_daemon.core.closing import Closing
from bin_daemon.core.messages import Frame


class Camera(Closing, ABC):
    """Anything that delivers frames, one after the other; `close` releases the device."""

    @abstractmethod
    def capture(self, deadline_s: float) -> Frame:
        """The next frame, uint8 (height, width, 3) RGB, within `deadline_s` seconds.

        Raises CameraError where none came in time, CameraFinishedError at the end of a replay.
        """

    def cycle(self, state: str, dropped: bool) -> None:
        """Tell the state of the sort cycle ("waiting", "looking", ...): a replayed script reacts.

        dropped: true in the one call after the chute has let go of the item.
        """


def open_camera(config: CameraSection, clock: Clock) -> Camera:
    """The camera that `config` describes, opened and delivering.

    Raises CameraError, with what to do about it, where it cannot be opened.
    """
    if config.kind == "opencv":
        from bin_daemon.camera.opencv import OpenCvCamera

        return OpenCvCamera(config, clock)
    if config.kind == "picamera2":
        from bin_daemon.camera.picamera2 import PiCamera

        return PiCamera(config, clock)
    from bin_daemon.camera.replay import open_replay

    return open_replay(config, clock)
