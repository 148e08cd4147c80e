"""A camera that is opened once more: what counts as help, and the lamp that it needs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bin_daemon.camera import Camera, open_camera
from bin_daemon.config.hardware import Light, OutputSection
from bin_daemon.config.load import load_config
from bin_daemon.config.sections import Config
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.errors import CameraError
from bin_daemon.core.messages import Frame
from bin_daemon.daemon.app import App
from bin_daemon.daemon.bin import BAD_FRAMES, Bin

LIGHT = Light(pin=22, when="looking", linger_s=1.0, warmup_s=0.5)


class GreyCamera(Camera):
    """A camera whose every frame has one channel only; it ends the test where nobody stops."""

    def __init__(self) -> None:
        self.frames = 0

    def capture(self, deadline_s: float) -> Frame:
        self.frames += 1
        assert self.frames < 10 * BAD_FRAMES, "it reads on for ever"
        return Frame(np.zeros((480, 640), np.uint8), self.frames / 10, self.frames)

    def close(self) -> None:
        pass


@pytest.fixture
def config() -> Config:
    simulator = load_config("simulator")
    camera = dataclasses.replace(simulator.camera, loop=True)
    return dataclasses.replace(simulator, mqtt=None, camera=camera)


def test_a_camera_whose_frames_stay_unusable_is_opened_once_more_and_then_given_up(
    config, tmp_path, monkeypatch
):
    camera = GreyCamera()
    monkeypatch.setattr("bin_daemon.daemon.bin.open_camera", lambda *_: camera)

    with pytest.raises(CameraError, match=f"{BAD_FRAMES} unusable frames in a row"):
        App(config, tmp_path).run()

    assert camera.frames == 2 * BAD_FRAMES


def test_a_camera_is_opened_again_in_the_steady_light_of_the_lamp(config, monkeypatch):
    clock = SimulatedClock()
    lit = dataclasses.replace(config, outputs=OutputSection(light=LIGHT))
    with Bin(lit, clock, recorder=None) as parts:
        lamp = parts.pins.pin(LIGHT.pin)
        opened: list[tuple[bool, float]] = []

        def opening(*arguments):
            opened.append((bool(lamp.state), clock.monotonic()))
            return open_camera(*arguments)

        monkeypatch.setattr("bin_daemon.daemon.bin.open_camera", opening)
        parts.outputs.light(False)
        before = clock.monotonic()

        parts.reopen_camera()

        assert opened == [(True, pytest.approx(before + LIGHT.warmup_s))]
