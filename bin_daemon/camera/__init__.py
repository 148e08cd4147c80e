"""Where frames come from: the one function that opens a camera.

A `CameraSection` flows in, a `Camera` flows out. The implementations (and OpenCV with them) are
imported only when one is opened.
"""

from __future__ import annotations

from bin_daemon.camera.base import Camera
from bin_daemon.config.sections import CameraSection
from bin_daemon.core.clock import Clock

__all__ = ["Camera", "open_camera"]


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
