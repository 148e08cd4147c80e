"""libcamera's virtual camera for tests: real picamera2 and libcamera, pictures from a file.

`BIN_DAEMON_HIL` names the folder of the built virtual Pi (inst.libcamera/opt/libcamera and
hv/bin/python in it). A scene is a function of a test module that takes `VirtualCameras` and returns
what JSON can say; `play` calls it in a process of its own, whose /opt is the libcamera of that
folder.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import shlex
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bin_daemon.camera import Camera, open_camera
from bin_daemon.config.sections import CameraSection
from bin_daemon.core.clock import SystemClock

_ROOT = Path(__file__).parents[2]
_CAMERA = """\
"Virtual{number}":
  supported_formats:
  - {{width: {size[0]}, height: {size[1]}, frame_rates: [{fps}, {fps}]}}
  - {{width: {small[0]}, height: {small[1]}, frame_rates: [{fps}, {fps}]}}
  frames: {{path: "{picture}"}}
  location: "CameraLocationBack"
  model: "{model}"
"""


def folder() -> Path:
    """The built virtual Pi; skips the test where there is none."""
    named = os.environ.get("BIN_DAEMON_HIL")
    if not named:
        pytest.skip("needs the virtual camera: set BIN_DAEMON_HIL to the built virtual Pi")
    home = Path(named).resolve()
    for part in ("inst.libcamera/opt/libcamera/lib", "hv/bin/python"):
        if not (home / part).exists():
            pytest.skip(f"needs the virtual camera: {home} has no {part}; build the virtual Pi")
    if os.geteuid() != 0:
        pytest.skip("needs root: libcamera's folder is mounted in a namespace of its own")
    ours, theirs = sysconfig.get_python_version(), "python" + sysconfig.get_python_version()
    if not (home / "hv" / "lib" / theirs).exists():
        pytest.skip(f"needs the virtual camera for Python {ours}")
    return home


class VirtualCameras:
    """The cameras of a scene, what they see, and a stall of their frames.

    `rig` gives 640x480 at 30 frames a second, `wide` 1280x720 at 60.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._stall = place / "stall"

    def show(self, image: Any, camera: str = "rig") -> None:
        """Let `camera` see `image` (uint8 RGB) from its next frame on."""
        import cv2

        new = self.place / "new.jpg"
        cv2.imwrite(str(new), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
        os.replace(new, self.place / f"{camera}.jpg")

    def stall(self, stalled: bool = True) -> None:
        """Stop the frames, or let them come again."""
        if stalled:
            self._stall.touch()
        else:
            self._stall.unlink()

    def camera(self, **settings: Any) -> Camera:
        """The virtual camera, opened; without a warm-up unless `settings` of its section say so."""
        usual = {"kind": "picamera2", "source": "rig", "fps": 60.0, "warmup_s": 0.0}
        return open_camera(CameraSection(**{**usual, **settings}), SystemClock())


def _prepare(home: Path, place: Path) -> Path:
    """A prefix with the built libcamera and a description of our own cameras."""
    prefix = place / "libcamera"
    described = prefix / "share/libcamera/pipeline/virtual"
    described.mkdir(parents=True)
    (prefix / "lib").symlink_to(home / "inst.libcamera/opt/libcamera/lib")
    cameras = [
        _CAMERA.format(
            number=0, size=(640, 480), small=(320, 240), fps=30,
            picture=place / "rig.jpg", model="rig",
        ),
        _CAMERA.format(
            number=1, size=(1280, 720), small=(320, 180), fps=60,
            picture=place / "wide.jpg", model="wide",
        ),
    ]  # fmt: skip
    (described / "virtual.yaml").write_text("%YAML 1.1\n---\n" + "".join(cameras))
    return prefix


def play(scene: Callable[[VirtualCameras], Any], place: Path, limit_s: float = 60.0) -> Any:
    """What `scene` returns, played to the virtual camera; `place` is an empty folder."""
    home = folder()
    prefix = _prepare(home, place)
    for camera, level in (("rig", 128), ("wide", 90)):
        VirtualCameras(place).show(np.full((480, 640, 3), level, np.uint8), camera)
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": f"{prefix}/lib",
        "PYTHONPATH": os.pathsep.join(
            [
                f"{prefix}/lib/python3/dist-packages",
                str(_ROOT),
                str(Path(__file__).parent),
                str(Path(inspect.getfile(scene)).parent),
            ]
        ),
        "LIBCAMERA_PIPELINES_MATCH_LIST": "virtual",
        "LIBCAMERA_LOG_LEVELS": "*:ERROR",
        "LIBCAMERA_VIRTUAL_STALL": str(place / "stall"),
    }
    mount = f"mount -t tmpfs none /opt && ln -s {prefix} /opt/libcamera && exec "
    # Our packages come last, behind the numpy of picamera2.
    program = f"""
import sys
sys.path.append({sysconfig.get_path("purelib")!r})
import virtual_camera
virtual_camera.perform({scene.__module__!r}, {scene.__name__!r}, {str(place)!r})
"""
    python = [str(home / "hv/bin/python"), "-c", program]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount + shlex.join(python)],
        env=environment, capture_output=True, text=True, timeout=limit_s, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def perform(module: str, scene: str, place: str) -> None:
    """In the process of a scene: play it and print what it returns."""
    importlib.import_module("memfd_heap")  # the kernel has no heap for a camera's buffers
    print(json.dumps(getattr(importlib.import_module(module), scene)(VirtualCameras(Path(place)))))
