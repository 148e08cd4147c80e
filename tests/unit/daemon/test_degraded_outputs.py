"""Pins of a bin that does not sort: one that another program has, and none where it stops."""

import dataclasses

import pytest
from waiting import wait_until

from bin_daemon.config.hardware import Input, Light, Output, OutputSection
from bin_daemon.config.load import load_config
from bin_daemon.config.sections import Config
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.errors import CameraError
from bin_daemon.daemon.app import App
from bin_daemon.daemon.degraded import Degraded, silence_all
from bin_daemon.daemon.failures import LIMIT, Failures
from bin_daemon.gpio.factory import InputPin, open_factory

LIGHT, LED, BUZZER = 22, 23, 24
TAKEN = "outputs.light.pin: GPIO 22 cannot be used"


@pytest.fixture
def factory(monkeypatch):
    """Simulated pins, the one of the light held by somebody else."""
    factory = open_factory("mock")
    monkeypatch.setattr(factory, "close", lambda: None)
    monkeypatch.setattr("bin_daemon.daemon.degraded.open_factory", lambda *_: factory)
    held = InputPin(factory, "theirs", Input(pin=LIGHT))
    yield factory
    held.close()


@pytest.fixture
def config() -> Config:
    outputs = OutputSection(light=Light(pin=LIGHT), led=Output(pin=LED), buzzer=Output(pin=BUZZER))
    return dataclasses.replace(load_config("simulator"), outputs=outputs)


def test_the_others_are_switched_off_after_a_daemon_was_killed(config, factory):
    (told,) = silence_all(config)

    assert told.startswith(TAKEN)
    assert [factory.pin(pin).pull for pin in (LED, BUZZER)] == ["down", "down"]


def test_the_status_lamp_says_trouble_all_the_same(config, factory):
    with Degraded(config, SimulatedClock(), parked=True) as parts:
        assert [problem.startswith(TAKEN) for problem in parts.problems] == [True]
        wait_until(lambda: factory.pin(LED).state, "the lamp to blink")


def test_a_daemon_that_is_stopped_before_it_began_claims_nothing(config, factory, tmp_path):
    failures = Failures(tmp_path, SimulatedClock())
    failures.begin()
    for _ in range(LIMIT):
        failures.end(CameraError("there is no camera"))
    app = App(dataclasses.replace(config, mqtt=None), tmp_path)
    app.stop()

    app.run()

    assert [info.name for info in factory.pins] == [f"GPIO{LIGHT}"]
