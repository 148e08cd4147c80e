"""Devices, streams and files through OpenCV, with a deadline on everything."""

import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from waiting import wait_until

from bin_daemon.camera import open_camera, opencv
from bin_daemon.camera.opencv import OpenCvCamera
from bin_daemon.config.sections import CameraSection
from bin_daemon.core.clock import SystemClock
from bin_daemon.core.errors import CameraError, CameraFinishedError

RED = (200, 40, 40)


def section(source: str, **more: Any) -> CameraSection:
    return CameraSection(kind="opencv", source=source, **{"fps": 60.0, **more})


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    for level in range(8):
        image = np.full((120, 160, 3), RED[::-1], np.uint8)
        image[:40] = level * 30
        writer.write(image)
    writer.release()
    return path


class Device:
    """Stands in for cv2.VideoCapture: a camera whose driver the test commands."""

    def __init__(self) -> None:
        self.opens = True
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = False
        self.count = 0
        self.released = False

    def isOpened(self) -> bool:
        return self.opens

    def set(self, key: int, value: float) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.waiting = not self.gate.is_set()
        self.gate.wait()
        time.sleep(0.002)
        self.count += 1
        return True, np.full((120, 160, 3), self.count % 200, np.uint8)

    def release(self) -> None:
        self.released = True


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Device:
    made = Device()
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: made)
    return made


def test_every_frame_of_a_file_comes_in_rgb_and_then_the_end(clip: Path) -> None:
    with open_camera(section(str(clip)), SystemClock()) as camera:
        frames = [camera.capture(2.0) for _ in range(8)]
        with pytest.raises(CameraFinishedError):
            camera.capture(2.0)
    assert [f.number for f in frames] == list(range(8))
    assert np.abs(frames[0].image[100, 80].astype(int) - RED).max() < 12
    assert [round(float(f.image[20, 80].mean()) / 30) for f in frames] == list(range(8))


def test_of_a_live_source_the_newest_frame_wins(device: Device) -> None:
    with OpenCvCamera(section("rtsp://camera/stream"), SystemClock()) as camera:
        first = camera.capture(5.0)
        wait_until(lambda: device.count > first.number + 10, "more frames")
        second = camera.capture(5.0)
    assert second.number - first.number > 5
    assert second.captured_at > first.captured_at


def test_a_source_that_stalls_misses_the_deadline(device: Device) -> None:
    with OpenCvCamera(section("rtsp://camera/stream"), SystemClock()) as camera:
        camera.capture(5.0)
        device.gate.clear()
        wait_until(lambda: device.waiting, "the driver to stall")
        began = time.monotonic()
        with pytest.raises(CameraError, match=r"no frame within 0\.2 s"):
            while True:  # what was already on its way comes first
                camera.capture(0.2)
        assert time.monotonic() - began < 20.0
        device.gate.set()


def test_a_camera_that_opens_but_gives_no_frame_says_so(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opencv, "OPEN_DEADLINE_S", 0.2)
    device.gate.clear()
    with pytest.raises(CameraError, match=r"opens but gives no frame within 0\.2 s"):
        OpenCvCamera(section("rtsp://camera/stream"), SystemClock())
    device.gate.set()


def test_a_camera_that_another_program_holds_says_so(device: Device) -> None:
    device.opens = False
    with pytest.raises(CameraError, match="another program may hold it"):
        OpenCvCamera(section("rtsp://camera/stream"), SystemClock())


def test_a_password_in_the_address_is_not_printed(device: Device) -> None:
    device.opens = False
    with pytest.raises(CameraError) as caught:
        OpenCvCamera(section("rtsp://admin:hunter2@camera/stream"), SystemClock())
    assert "hunter2" not in str(caught.value)
    assert "camera/stream" in str(caught.value)


def test_a_missing_device_is_named_with_where_to_look() -> None:
    with pytest.raises(CameraError, match=r"no /dev/video97; .*v4l2-ctl"):
        open_camera(section("97"), SystemClock())
    with pytest.raises(CameraError, match=r"no /dev/nothing-here"):
        open_camera(section("/dev/nothing-here"), SystemClock())


def test_a_device_that_may_not_be_read_names_the_group(
    monkeypatch: pytest.MonkeyPatch, clip: Path
) -> None:
    monkeypatch.setattr("bin_daemon.camera.opencv.os.access", lambda path, mode: False)
    with pytest.raises(CameraError, match=r"no permission .*group 'video'"):
        open_camera(section(str(clip)), SystemClock())


@pytest.mark.parametrize("content", [b"", b"no video at all"])
def test_a_file_that_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(CameraError, match=r"clip\.mp4: .*complete"):
        open_camera(section(str(tmp_path / "clip.mp4")), SystemClock())


def test_an_error_of_the_driver_is_passed_on(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> tuple[bool, None]:
        raise cv2.error("broken pipe")

    monkeypatch.setattr(device, "read", fails)
    with pytest.raises(CameraError, match=r"reading failed: .*broken pipe"):
        OpenCvCamera(section("rtsp://camera/stream"), SystemClock())
    assert device.released


def test_frames_come_no_faster_than_configured(device: Device) -> None:
    with OpenCvCamera(section("rtsp://camera/stream", fps=20.0), SystemClock()) as camera:
        began = time.monotonic()
        for _ in range(4):
            camera.capture(1.0)
        assert time.monotonic() - began >= 0.14


def test_close_releases_the_device_and_may_be_repeated(device: Device) -> None:
    camera = OpenCvCamera(section("rtsp://camera/stream"), SystemClock())
    camera.close()
    camera.close()
    assert device.released
    with pytest.raises(CameraError, match="closed"):
        camera.capture(1.0)
