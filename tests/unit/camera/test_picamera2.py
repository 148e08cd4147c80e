"""The camera module: what is asked of picamera2, and what is said when it fails.

A small stand-in for picamera2 plays what no virtual camera can: controls of a sensor, calls that
hang, libraries that do not load. Pictures and colours are tested with the real one.
"""

from __future__ import annotations

import concurrent.futures
import logging
import os
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from waiting import wait_until

from bin_daemon.camera import open_camera, picamera2
from bin_daemon.config.sections import CameraSection
from bin_daemon.core.clock import SystemClock
from bin_daemon.core.errors import CameraError

SENSOR = {
    "FrameDurationLimits": (33333, 1_000_000, None),
    "AeEnable": (False, True, None),
    "AwbEnable": (False, True, None),
    "ExposureTime": (100, 66666, None),
    "AnalogueGain": (1.0, 16.0, None),
    "ColourGains": (0.0, 32.0, None),
}
FOUND = {"ExposureTime": 12000, "AnalogueGain": 2.5, "ColourGains": (1.7, 2.1)}


class Job:
    """A request that is answered when `answer` is called."""

    def __init__(self) -> None:
        self.future: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def get_result(self, timeout: float) -> Any:
        return self.future.result(timeout)


class Request:
    """A frame, with what the sensor said of it."""

    held = 0

    def __init__(self, metadata: dict[str, Any]) -> None:
        self._metadata = metadata
        Request.held += 1

    def get_metadata(self) -> dict[str, Any]:
        return self._metadata

    def make_array(self, name: str) -> np.ndarray:
        return np.full((480, 640, 3) if name == "main" else (360, 320), 128, np.uint8)

    def release(self) -> None:
        Request.held -= 1


HANG_S = 20.0  # how long a call of the library hangs, much longer than anybody waits for it


class Device:
    """What the daemon uses of `Picamera2`; the last one made is `Device.made`."""

    made: ClassVar[Device]
    cameras: ClassVar[list[dict[str, Any]]]
    camera_controls: ClassVar[dict[str, Any]]
    stamp_ns: int | None = None  # of all frames, instead of the present
    formats = ("BGR888", "YUV420")
    hang = ""
    broken = ""
    late = False  # frames come while they are being cancelled

    def __init__(self, number: int) -> None:
        self.number, self.controls, self.closed = number, {}, 0
        self.jobs: list[Job] = []
        Device.made = self
        self._do("open")

    def _do(self, call: str) -> None:
        if self.hang == call:
            threading.Event().wait(HANG_S)
        if self.broken == call:
            raise RuntimeError("Camera __init__ sequence did not complete.") from OSError("busy")

    @classmethod
    def global_camera_info(cls) -> list[dict[str, Any]]:
        return cls.cameras

    def create_preview_configuration(self, **settings: Any) -> dict[str, Any]:
        return settings

    def configure(self, settings: dict[str, Any]) -> None:
        self._do("configure")
        self.settings = settings

    def camera_configuration(self) -> dict[str, Any]:
        main, lores = self.settings["main"], self.settings["lores"]
        got = zip((main, lores), self.formats, strict=True)
        return dict(zip(("main", "lores"), [{**s, "format": f} for s, f in got], strict=True))

    def start(self) -> None:
        self._do("start")

    def set_controls(self, controls: dict[str, Any]) -> None:
        self.controls = controls

    def answer(self, job: Job) -> None:
        stamp_ns = time.monotonic_ns() if self.stamp_ns is None else self.stamp_ns
        job.future.set_result(Request({"SensorTimestamp": stamp_ns, **FOUND}))

    def capture_request(self, wait: bool) -> Job:
        job = Job()
        self.jobs.append(job)
        if not self.late:
            self.answer(job)
        return job

    def cancel_all_and_flush(self) -> None:
        for job in self.jobs:
            if not job.future.done() and self.late:
                self.answer(job)
            elif not job.future.done():
                job.future.set_exception(concurrent.futures.CancelledError())

    def close(self) -> None:
        self._do("close")
        self.closed += 1


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Device]]:
    """A picamera2 with one camera; each test gets its own."""
    fresh = type("Picamera2", (Device,), {"cameras": [{"Model": "imx708", "Id": "/base/i2c@1a"}]})
    fresh.camera_controls = dict(SENSOR)
    module = types.ModuleType("picamera2")
    module.Picamera2 = fresh  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    Request.held = 0
    yield fresh
    assert Request.held == 0  # every frame went back to the camera


def opened(**settings: Any) -> Any:
    usual = {"kind": "picamera2", "warmup_s": 0.0}
    return open_camera(CameraSection(**{**usual, **settings}), SystemClock())


def test_locked_exposure_holds_what_the_warm_up_found() -> None:
    opened(exposure="locked")
    assert Device.made.controls == {"AeEnable": False, "AwbEnable": False, **FOUND}


def test_auto_exposure_is_left_to_the_camera() -> None:
    opened(exposure="auto")
    assert Device.made.controls == {}


def test_a_sensor_without_gain_is_locked_in_what_it_has(
    library: type[Device], caplog: pytest.LogCaptureFixture
) -> None:
    library.camera_controls = {"AeEnable": (0, 1, 1), "ExposureTime": (1, 9, 1)}
    opened(exposure="locked")
    assert Device.made.controls == {"AeEnable": False, "ExposureTime": FOUND["ExposureTime"]}
    assert "locked except for AnalogueGain, ColourGains" in caplog.text


def test_the_warm_up_lasts_as_long_as_told() -> None:
    start = time.monotonic()
    opened(warmup_s=0.2)
    assert 0.2 <= time.monotonic() - start < 5.0


@pytest.mark.parametrize(
    ("settings", "duration_us"),
    [
        ({"fps": 10.0}, 100_000),
        ({"fps": 60.0}, 33_333),  # no faster than the sensor
        ({"fps": 0.5}, 1_000_000),  # no slower either,
        ({"fps": 0.5, "deadline_s": 0.5}, 250_000),  # and always before the deadline
    ],
)
def test_the_sensor_itself_runs_at_the_frame_rate(
    settings: dict[str, float], duration_us: int
) -> None:
    opened(**settings)
    told = Device.made.settings["controls"]
    assert told == {"FrameDurationLimits": (duration_us, duration_us)}


@pytest.mark.parametrize(
    ("focus_cm", "told"),
    [(None, {"AfMode": 2}), (25.0, {"AfMode": 0, "LensPosition": 4.0})],
    ids=["keeps focusing", "held at 25 cm, which is 4 dioptres"],
)
def test_a_lens_with_a_motor_focuses_or_is_held(
    library: type[Device], focus_cm: float | None, told: dict[str, float]
) -> None:
    library.camera_controls = {"AfMode": (0, 2, 0), "LensPosition": (0.0, 32.0, 1.0)}
    opened(focus_cm=focus_cm)
    assert Device.made.settings["controls"] == told


def test_a_focus_for_a_fixed_lens_is_logged_to_do_nothing(caplog: pytest.LogCaptureFixture) -> None:
    opened(focus_cm=25.0)
    assert "focus_cm does nothing" in caplog.text


def test_frames_are_asked_for_no_more_often_than_wanted(library: type[Device]) -> None:
    library.camera_controls = {}
    with opened(fps=10.0) as camera:
        start = time.monotonic()
        for _ in range(3):
            camera.capture(1.0)
    assert 0.2 <= time.monotonic() - start < 5.0


def test_a_frame_is_stamped_with_the_time_of_its_exposure(library: type[Device]) -> None:
    with opened() as camera:
        library.stamp_ns = time.monotonic_ns() + 1
        exposed = time.monotonic()
        time.sleep(0.1)
        assert camera.capture(1.0).captured_at == pytest.approx(exposed, abs=0.05)


@pytest.mark.parametrize("stamp_ns", [None, 0, 2**62], ids=["none", "zero", "far off"])
def test_without_a_sensible_timestamp_a_frame_has_the_time_it_came(
    library: type[Device], stamp_ns: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened() as camera:
        metadata = {} if stamp_ns is None else {"SensorTimestamp": stamp_ns}
        monkeypatch.setattr(Request, "get_metadata", lambda self: metadata)
        start = time.monotonic()
        assert start <= camera.capture(1.0).captured_at <= time.monotonic()


def test_a_frame_that_comes_while_it_is_given_up_is_taken(library: type[Device]) -> None:
    with opened() as camera:
        library.late = True
        assert camera.capture(0.05).image.shape == (480, 640, 3)


def test_a_frame_that_cannot_be_read_is_reported_and_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost(self: Request, name: str) -> None:
        raise RuntimeError("failed to find buffer")

    with opened() as camera:
        monkeypatch.setattr(Request, "make_array", lost)
        with pytest.raises(CameraError, match="cannot read a frame: failed to find buffer"):
            camera.capture(1.0)


def test_without_picamera2_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError, match=r"apt install python3-picamera2.*system-site-packages"):
        opened()


def test_a_numpy_that_picamera2_was_not_built_for_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, "picamera2")
    (tmp_path / "picamera2.py").write_text("raise ValueError('numpy.dtype size changed')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CameraError, match=r"numpy.dtype size changed.*without a numpy of its own"):
        opened()


def test_without_a_camera_it_says_what_to_check(library: type[Device]) -> None:
    library.cameras = []
    with pytest.raises(CameraError) as told:
        opened()
    for cure in ("ribbon cable", "camera_auto_detect=1", "rpicam-hello --list-cameras", "'video'"):
        assert cure in str(told.value)


def test_the_library_says_no_more_than_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIBCAMERA_LOG_LEVELS", raising=False)
    opened()
    assert os.environ["LIBCAMERA_LOG_LEVELS"] == "*:WARN"
    assert logging.getLogger("picamera2").level == logging.WARNING


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("open", "cannot be opened: busy; another program may hold it"),
        ("configure", "cannot be started at 640x480: busy; try a smaller picture"),
        ("start", "cannot be started at 640x480: busy; try a smaller picture"),
    ],
)
def test_what_fails_on_opening_says_what_to_do(
    library: type[Device], call: str, words: str
) -> None:
    library.broken = call
    with pytest.raises(CameraError, match=words):
        opened()


def test_a_camera_that_cannot_give_rgb_is_refused(library: type[Device]) -> None:
    library.formats = ("MJPEG", "YUV420")
    with pytest.raises(CameraError, match=r"gives MJPEG and YUV420.*camera.kind: opencv"):
        opened()
    assert Device.made.closed == 1


@pytest.mark.parametrize("call", ["open", "configure", "start"])
def test_a_call_that_hangs_on_opening_is_left_behind(
    library: type[Device], call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picamera2, "OPEN_DEADLINE_S", 0.1)
    library.hang = call
    start = time.monotonic()
    with pytest.raises(CameraError, match="does not open within 0.1 s; restart the Pi"):
        opened()
    assert time.monotonic() - start < HANG_S / 2


def test_a_camera_that_opens_too_late_is_closed(
    library: type[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picamera2, "OPEN_DEADLINE_S", 0.1)
    gate = threading.Event()
    monkeypatch.setattr(library, "_do", lambda self, call: call == "open" and gate.wait(5.0))
    with pytest.raises(CameraError):
        opened()
    gate.set()
    wait_until(lambda: Device.made.closed, "the camera to be closed")
    assert Device.made.closed == 1


def test_a_camera_that_hangs_on_closing_is_left_behind(
    library: type[Device], caplog: pytest.LogCaptureFixture
) -> None:
    camera = opened()
    library.hang = "close"
    start = time.monotonic()
    camera.close()
    assert time.monotonic() - start < HANG_S / 2
    assert "did not close" in caplog.text


def test_closing_twice_closes_once() -> None:
    camera = opened()
    camera.close()
    camera.close()
    assert Device.made.closed == 1
    with pytest.raises(CameraError, match="is closed; open it again"):
        camera.capture(0.1)
