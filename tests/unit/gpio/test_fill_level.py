"""Ultrasonic fill sensors on gpiozero's simulated pins.

The echo is stamped with the time it takes instead of taking it: the sleep of a busy machine is
milliseconds off, and each of them is 17 cm.
"""

import time

import numpy as np
import pytest
from gpiozero import LED
from gpiozero.pins.mock import MockFactory, MockPin
from hypothesis import given
from hypothesis import strategies as st
from waiting import wait_until

from bin_daemon.config.hardware import SensorSection, Ultrasonic
from bin_daemon.config.load import validate
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.errors import ChuteError
from bin_daemon.core.messages import Prediction, Readings
from bin_daemon.gpio import fill_level
from bin_daemon.gpio.fill_level import HYSTERESIS_PERCENT, FillLevels, percent_of, steadied
from bin_daemon.gpio.sensors import Sensors
from bin_daemon.sorting.decision import Policy, decide

TRIGGER, ECHO, DEAF_TRIGGER, DEAF_ECHO, SWITCH = 23, 24, 17, 27, 22
SPEED_CM_S = 34326.0
SENSOR = Ultrasonic(trigger=TRIGGER, echo=ECHO, empty_cm=200.0, full_cm=20.0)
DEAF = Ultrasonic(trigger=DEAF_TRIGGER, echo=DEAF_ECHO, empty_cm=200.0, full_cm=20.0)

distances = st.floats(0, 450)
sensors = st.builds(
    lambda full, depth: Ultrasonic(trigger=TRIGGER, echo=ECHO, empty_cm=full + depth, full_cm=full),
    st.floats(2, 100),
    st.floats(5, 300),
)
percents = st.integers(0, 100).map(float)


class EchoPin(MockPin):
    """Stamps its edges with `now_s`."""

    now_s = 0.0

    def _call_when_changed(self):
        super(MockPin, self)._call_when_changed(self.now_s, self.state)


class TriggerPin(MockPin):
    """Answers each ping at `echo`, `echo_s` seconds long."""

    def __init__(self, factory, info, echo, echo_s):
        self.echo, self.echo_s = echo, echo_s
        super().__init__(factory, info)

    def _set_state(self, value):
        pinged = self.state and not value
        super()._set_state(value)
        if pinged:
            self.echo.drive_high()
            self.echo.now_s += self.echo_s
            self.echo.drive_low()


@pytest.fixture
def factory():
    return MockFactory(pin_class=MockPin)


@pytest.fixture
def clock():
    return SimulatedClock()


@pytest.fixture
def echoing(factory):
    """Lets the sensor on TRIGGER and ECHO hear something 100 cm away."""
    echo = factory.pin(ECHO, pin_class=EchoPin)
    factory.pin(TRIGGER, pin_class=TriggerPin, echo=echo, echo_s=2 * 100 / SPEED_CM_S)


@given(distances, sensors)
def test_a_level_is_a_whole_percent_between_0_and_100(distance_cm, sensor):
    percent = percent_of(distance_cm, sensor)
    assert 0 <= percent <= 100
    assert percent == int(percent)


@given(distances, distances, sensors)
def test_what_lies_higher_is_never_less(a_cm, b_cm, sensor):
    higher, lower = sorted((a_cm, b_cm))
    assert percent_of(higher, sensor) >= percent_of(lower, sensor)


@given(sensors)
def test_the_bottom_is_0_and_the_full_mark_100_percent(sensor):
    assert percent_of(sensor.empty_cm, sensor) == 0
    assert percent_of(sensor.full_cm, sensor) == 100
    assert percent_of((sensor.empty_cm + sensor.full_cm) / 2, sensor) == pytest.approx(50, abs=1)


@given(st.lists(percents, min_size=1))
def test_what_is_shown_is_never_further_from_what_is_measured_than_the_noise(measured):
    shown = None
    for percent in measured:
        shown = steadied(shown, percent)
        assert abs(shown - percent) < HYSTERESIS_PERCENT


@given(st.integers(2, 98).map(float), st.lists(st.sampled_from([-1.0, 0.0, 1.0])))
def test_noise_of_a_percent_changes_nothing(percent, noise):
    assert {steadied(percent, percent + off) for off in noise} <= {percent}


@pytest.mark.parametrize(("shown", "end"), [(99.0, 100.0), (1.0, 0.0)])
def test_empty_and_full_are_shown_even_if_only_a_percent_away(shown, end):
    assert steadied(shown, end) == end


def test_a_level_is_measured_by_its_echo_and_the_pins_are_released_in_between(
    factory, clock, echoing
):
    levels = FillLevels({"paper": SENSOR}, factory, clock)
    assert levels.read() == ({}, ())
    wait_until(lambda: levels.read()[0], "a level")

    assert levels.read()[0]["paper"] == 56
    pings = len(factory.pin(TRIGGER).states)
    time.sleep(0.2)
    assert len(factory.pin(TRIGGER).states) == pings
    LED(TRIGGER, pin_factory=factory).close()
    levels.close()


def test_a_deaf_sensor_neither_stalls_the_others_nor_the_beat(factory, clock, echoing):
    levels = FillLevels({"glass": DEAF, "paper": SENSOR}, factory, clock)
    gaps: list[float] = []

    def heard() -> bool:
        gaps.append(time.monotonic() - levels.beat_at)
        return bool(levels.read()[0])

    wait_until(heard, "all levels")

    assert set(levels.read()[0]) == {"paper"}
    assert max(gaps) < 0.9
    levels.close()


def test_a_level_is_unknown_and_reported_once_it_is_stale(factory, clock, echoing):
    levels = FillLevels({"paper": SENSOR}, factory, clock)
    wait_until(lambda: levels.read()[0], "a level")
    levels.close()

    clock.sleep(SENSOR.stale_s - 1)
    assert set(levels.read()[0]) == {"paper"}
    clock.sleep(1)
    assert levels.read() == ({}, ("paper",))


def test_a_sensor_whose_pins_are_taken_is_only_logged(factory, clock, echoing, caplog):
    often = Ultrasonic(
        trigger=TRIGGER, echo=ECHO, empty_cm=200.0, full_cm=20.0, interval_s=1.0, stale_s=9.0
    )
    levels = FillLevels({"paper": often}, factory, clock)
    wait_until(lambda: levels.read()[0], "a level")
    with LED(TRIGGER, pin_factory=factory):
        wait_until(lambda: "sensors.fill.paper" in caplog.text, "the warning")

    assert "already in use" in caplog.text
    assert set(levels.read()[0]) == {"paper"}
    levels.close()


def test_closing_in_the_middle_of_a_measurement_is_prompt_and_frees_the_pins(
    factory, clock, monkeypatch
):
    monkeypatch.setattr(fill_level, "MEASURE_S", 60.0)
    monkeypatch.setattr(fill_level, "STOP_S", 60.0)
    levels = FillLevels({"glass": DEAF}, factory, clock)
    wait_until(lambda: factory.pin(DEAF_TRIGGER).function == "output", "the measurement")

    began = time.monotonic()
    levels.close()
    levels.close()

    assert time.monotonic() - began < 20.0
    FillLevels({"glass": DEAF}, factory, clock).close()


def test_a_pin_that_cannot_be_used_is_named_at_once(factory, clock):
    config = validate(
        SensorSection,
        {
            "lid": {"pin": 5},
            "fill": {"paper": {"trigger": 23, "echo": 24, "empty_cm": 60, "full_cm": 10}},
        },
    )
    with (
        LED(ECHO, pin_factory=factory),
        pytest.raises(ChuteError, match=r"sensors\.fill\.paper: GPIO 23 or 24 cannot be used"),
    ):
        Sensors(config, factory, clock)

    Sensors(config, factory, clock).close()


def test_a_full_switch_overrules_the_sensor_of_its_route_and_an_idle_one_does_not(
    factory, clock, echoing
):
    fill = {"paper": {"trigger": TRIGGER, "echo": ECHO, "empty_cm": 200, "full_cm": 20}}
    switches = {"paper": {"pin": SWITCH}, "glass": {"pin": 6}}
    config = validate(SensorSection, {"full": switches, "fill": fill})
    with Sensors(config, factory, clock) as sensors:
        assert sensors.read().fill_percent == {"glass": 0.0}
        wait_until(lambda: "paper" in sensors.read().fill_percent, "a level")
        assert sensors.beat_at is not None

        factory.pin(SWITCH).drive_low()
        assert sensors.read().fill_percent == {"paper": 100.0, "glass": 0.0}

        factory.pin(SWITCH).drive_high()
        assert sensors.read().fill_percent["paper"] == 56

        clock.sleep(400)
        readings = sensors.read()
        assert (readings.fill_percent, readings.silent) == ({"glass": 0.0}, ("paper",))

        factory.pin(SWITCH).drive_low()
        assert sensors.read().fill_percent["paper"] == 100.0


@pytest.mark.parametrize(
    ("readings", "route"),
    [
        (Readings(fill_percent={"paper": 94.0}), "paper"),
        (Readings(fill_percent={"paper": 95.0}), "residual"),
        (Readings(silent=("paper",)), "paper"),
    ],
)
def test_a_full_compartment_takes_no_more_and_an_unknown_level_is_not_full(readings, route):
    policy = Policy(
        labels=("paper", "trash"),
        routes=("paper", "residual"),
        residual=1,
        route_of=(0, 1),
        cost=np.array([[0, 1], [4, 0]], np.float32),
        thresholds=np.array([0.5, 0.5], np.float32),
    )
    sure = np.array([0.99, 0.01], np.float32)
    look = Prediction(("paper", "trash"), sure, np.zeros(1, np.float32), {})

    assert decide([look], policy, readings, 0.1, False).route == route
