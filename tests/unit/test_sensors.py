"""Switches on gpiozero's simulated pins, and what they read as."""

import pytest

from bin_daemon.chute import open_factory
from bin_daemon.config import SensorSection
from bin_daemon.config_file import validate
from bin_daemon.errors import ChuteError
from bin_daemon.messages import Readings
from bin_daemon.sensors import Sensors

LID, METAL, FULL_PAPER, FULL_GLASS = 5, 6, 16, 20
ALL = {
    "lid": {"pin": LID},
    "metal": {"pin": METAL, "active": "high"},
    "full": {"paper": {"pin": FULL_PAPER}, "glass": {"pin": FULL_GLASS, "active": "high"}},
}


@pytest.fixture
def factory():
    return open_factory("mock")


@pytest.fixture
def sensors(factory):
    with Sensors(validate(SensorSection, ALL), factory) as sensors:
        yield sensors


def test_a_bin_without_sensors_reads_as_defaults(factory):
    sensors = Sensors(SensorSection(), factory)

    assert sensors.read() == Readings(lid_open=False, metal=None, fill_percent={})


def test_at_rest_nothing_says_yes(sensors):
    assert sensors.read() == Readings(
        lid_open=False, metal=False, fill_percent={"paper": 0.0, "glass": 0.0}
    )


def test_active_low_means_yes_when_pulled_to_ground(sensors, factory):
    factory.pin(LID).drive_low()
    factory.pin(FULL_PAPER).drive_low()

    readings = sensors.read()

    assert readings.lid_open
    assert readings.interlocked
    assert readings.fill_percent == {"paper": 100.0, "glass": 0.0}


def test_active_high_means_yes_when_driven_high(sensors, factory):
    factory.pin(METAL).drive_high()
    factory.pin(FULL_GLASS).drive_high()

    readings = sensors.read()

    assert readings.metal is True
    assert readings.fill_percent == {"paper": 0.0, "glass": 100.0}


def test_the_pull_keeps_an_open_switch_at_its_level_of_no(sensors, factory):
    assert factory.pin(LID).pull == "up"
    assert factory.pin(METAL).pull == "down"


def test_the_debounce_time_is_the_pins_business(factory):
    config = validate(SensorSection, {"lid": {"pin": LID, "debounce_s": 0.05}})

    with Sensors(config, factory):
        assert factory.pin(LID).bounce == 0.05


def test_an_open_lid_counts_before_its_edge_has_outlasted_the_debounce(sensors, factory):
    # An edge that the debounce holds back: the level changes, and no event comes.
    factory.pin(LID).edges = "none"
    factory.pin(LID).drive_low()

    assert sensors.read().lid_open


def test_a_lid_whose_closing_edge_has_not_come_yet_still_counts_as_open(sensors, factory):
    factory.pin(LID).drive_low()
    factory.pin(LID).edges = "none"
    factory.pin(LID).drive_high()

    assert sensors.read().lid_open


def test_a_full_switch_that_an_item_touches_in_passing_is_not_full(sensors, factory):
    factory.pin(FULL_PAPER).edges = "none"
    factory.pin(FULL_PAPER).drive_low()

    assert sensors.read().fill_percent["paper"] == 0.0


def test_a_closed_lid_reads_as_closed_again(sensors, factory):
    factory.pin(LID).drive_low()
    factory.pin(LID).drive_high()

    assert not sensors.read().lid_open


def test_after_close_the_last_readings_stay_and_the_pins_are_free(sensors, factory):
    factory.pin(METAL).drive_high()
    last = sensors.read()
    sensors.close()
    sensors.close()

    assert sensors.read() == last
    Sensors(validate(SensorSection, ALL), factory).close()


def test_a_pin_in_use_is_named_and_the_pins_before_it_are_given_back(factory):
    metal = Sensors(validate(SensorSection, {"metal": {"pin": METAL}}), factory)

    # The traceback keeps the failed sensors alive: their pins are free only if given back.
    with pytest.raises(ChuteError, match=r"sensors\.metal\.pin: GPIO 6 cannot be used") as error:
        Sensors(validate(SensorSection, ALL), factory)

    assert error.tb
    metal.close()
    Sensors(validate(SensorSection, ALL), factory).close()
