"""A whole bin with lamp, LED, buzzer, beam and fill sensors on gpiozero's simulated pins."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import EMPTY, chamber, config, hold, with_box, write_script
from waiting import wait_until

from bin_daemon.camera import Camera
from bin_daemon.core.clock import SimulatedClock, SystemClock
from bin_daemon.core.errors import CameraError, CameraFinishedError
from bin_daemon.core.messages import Frame, Outcome, View
from bin_daemon.daemon.bin import Bin, Files
from bin_daemon.gpio.factory import open_factory
from bin_daemon.sorting.sorter import State

LIGHT, LED, BUZZER, BEAM = 17, 22, 25, 21
ALWAYS = {"light": {"pin": LIGHT, "warmup_s": 0.5}}
LOOKING = {"light": {"pin": LIGHT, "when": "looking", "warmup_s": 0.3, "linger_s": 2}}


class Recorded:
    """A recorder that keeps the outcomes."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def decided(self, event):
        pass

    def completed(self, event_id, outcome, finished_at, timings_ms):
        self.outcomes.append(outcome)

    def raise_alert(self, alert):
        pass

    def resolve_alert(self, kind):
        pass


@pytest.fixture
def pins(monkeypatch):
    """The simulated pins of the bin, there before it is built and after it is closed."""
    factory = open_factory("mock")
    monkeypatch.setattr(factory, "close", lambda: None)
    monkeypatch.setattr("bin_daemon.daemon.bin.open_factory", lambda *_: factory)
    return factory


class ClosedBox(Camera):
    """A camera in a box without daylight, at 10 frames a second: it sees by the lamp alone."""

    def __init__(self, pins, clock) -> None:
        self._pins, self._clock = pins, clock
        self._noise = np.random.default_rng(1).normal(0, 1.5, (520, 680, 3)).astype(np.float32)
        self._number = 0
        self.scene = chamber()

    def capture(self, deadline_s):
        self._clock.sleep(0.1)
        self._number += 1
        lit = self.scene * np.float32(self._pins.pin(LIGHT).state)
        y, x = self._number * 7 % 40, self._number * 11 % 40
        lit += self._noise[y : y + 480, x : x + 640]
        image = lit.clip(0, 255).astype(np.uint8)
        return Frame(image, self._clock.monotonic(), self._number)

    def close(self):
        pass


def test_the_lamp_is_on_and_warm_before_the_camera_opens_and_off_at_the_end(
    tmp_path, pins, monkeypatch
):
    clock = SimulatedClock()

    def no_camera(section, clock):
        assert pins.pin(LIGHT).state == 1
        assert clock.monotonic() >= 0.5
        raise CameraError("seen enough")

    monkeypatch.setattr("bin_daemon.daemon.bin.open_camera", no_camera)
    with pytest.raises(CameraError, match="seen enough"):
        Bin(config(tmp_path, outputs=ALWAYS), clock, Recorded())
    assert pins.pin(LIGHT).state == 0


def test_a_lamp_that_is_always_on_stays_on_until_the_bin_is_closed(tmp_path, pins):
    script = write_script(tmp_path, EMPTY)
    with Bin(config(script, outputs=ALWAYS), SimulatedClock(), Recorded()) as parts:
        with pytest.raises(CameraFinishedError):
            while True:
                parts.step()
        assert [state.state for state in pins.pin(LIGHT).states] == [0, 1]
    assert pins.pin(LIGHT).state == 0


def test_in_a_box_without_daylight_the_beam_wakes_the_lamp_and_the_item_is_sorted(tmp_path, pins):
    clock, recorded = SimulatedClock(), Recorded()
    camera = ClosedBox(pins, clock)
    settings = config(
        tmp_path, outputs=LOOKING, sensors={"beam": {"pin": BEAM}}, camera={"kind": "replay"}
    )
    file = tmp_path / "reference.npz"
    with Bin(settings, clock, recorded, camera=camera, files=Files(reference=file)) as parts:
        until = clock.monotonic() + 20
        while pins.pin(LIGHT).state:
            parts.step()
            assert clock.monotonic() < until
        assert parts.chute.homed

        camera.scene = with_box((190, 30, 40))
        for _ in range(20):
            assert parts.step().view is View.EMPTY
        assert not pins.pin(LIGHT).state

        # It fell through between two frames.
        pins.pin(BEAM).drive_low()
        pins.pin(BEAM).drive_high()
        assert parts.step().view is View.MOVING
        assert pins.pin(LIGHT).state
        until = clock.monotonic() + 20
        while not recorded.outcomes:
            if parts.chute.dropped:
                camera.scene = chamber()
            parts.step()
            assert pins.pin(LIGHT).state
            assert clock.monotonic() < until
        while pins.pin(LIGHT).state:
            assert parts.step().view is View.EMPTY
            assert clock.monotonic() < until

    assert recorded.outcomes[0] in (Outcome.SORTED, Outcome.REJECTED)
    assert file.exists()


def test_led_and_buzzer_tell_what_the_cycle_does(tmp_path, pins, monkeypatch):
    script = write_script(tmp_path, hold("red", stuck=5), EMPTY, EMPTY, EMPTY)
    panel = {"led": {"pin": LED}, "buzzer": {"pin": BUZZER}}
    with Bin(config(script, outputs=panel), SimulatedClock(), Recorded()) as parts:
        shown, beeps = [], []
        monkeypatch.setattr(parts.outputs, "show", shown.append)
        monkeypatch.setattr(parts.outputs, "beep", beeps.append)
        with pytest.raises(CameraFinishedError):
            while True:
                parts.step()

    order = [mode for i, mode in enumerate(shown) if i == 0 or shown[i - 1] is not mode]
    assert order == ["ready", "busy", "trouble", "ready"]
    assert beeps == [1, 3]


def test_a_broken_beam_and_a_pause_show_as_held(tmp_path, pins, monkeypatch):
    script = write_script(tmp_path, {"empty": "empty.png", "frames": 60})
    sensors = {"beam": {"pin": BEAM, "active": "high"}}
    with Bin(config(script, sensors=sensors), SimulatedClock(), Recorded()) as parts:
        shown = []
        monkeypatch.setattr(parts.outputs, "show", shown.append)
        parts.step()
        pins.pin(BEAM).drive_high()
        parts.step()
        parts.step()
        pins.pin(BEAM).drive_low()
        for _ in range(5):
            parts.step()
        assert shown[:3] == ["ready", "held", "held"]
        assert shown[-1] == "ready"

        parts.cycle.sorter.pause()
        parts.step()
        assert parts.cycle.state is State.PAUSED
        assert shown[-1] == "held"


def test_each_thread_of_the_bin_gives_signs_of_life(tmp_path, pins):
    fill = {"residual": {"trigger": 23, "echo": 24, "empty_cm": 60, "full_cm": 10}}
    script = write_script(tmp_path, EMPTY)
    with Bin(config(script, sensors={"fill": fill}), SystemClock(), Recorded()) as parts:
        assert set(parts.beats()) == {"chute", "fill"}
        for _ in range(2):  # not only at its start
            before = parts.beats()
            wait_until(
                lambda before=before: all(at > before[name] for name, at in parts.beats().items()),
                "a sign of life of each",
            )

    with Bin(config(script), SimulatedClock(), Recorded()) as parts:
        assert parts.beats() == {}
