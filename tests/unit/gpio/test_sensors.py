"""Switches on gpiozero's simulated pins, and what they read as.

Those pins keep a debounce time and do not act on it: an edge that it holds back is simulated by a
pin that reports no edges.
"""

import pytest

from bin_daemon.config.hardware import SensorSection
from bin_daemon.config.load import validate
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.errors import ChuteError
from bin_daemon.core.messages import Readings
from bin_daemon.gpio.factory import open_factory
from bin_daemon.gpio.sensors import BEAM_HOLD_S, Sensors

LID, METAL, FULL_PAPER, FULL_GLASS, BEAM = 5, 6, 16, 20, 21
ALL = {
    "lid": {"pin": LID},
    "beam": {"pin": BEAM},
    "metal": {"pin": METAL, "active": "high"},
    "full": {"paper": {"pin": FULL_PAPER}, "glass": {"pin": FULL_GLASS, "active": "high"}},
}


@pytest.fixture
def factory():
    return open_factory("mock")


@pytest.fixture
def clock():
    return SimulatedClock()


@pytest.fixture
def sensors(factory, clock):
    with Sensors(validate(SensorSection, ALL), factory, clock) as sensors:
        yield sensors


def test_a_bin_without_sensors_reads_as_defaults(factory, clock):
    sensors = Sensors(SensorSection(), factory, clock)

    assert sensors.read() == Readings(lid_open=False, metal=None, fill_percent={})
    assert sensors.beat_at is None


def test_at_rest_nothing_is_active(sensors):
    assert sensors.read() == Readings(
        lid_open=False, metal=False, fill_percent={"paper": 0.0, "glass": 0.0}
    )


def test_active_low_is_active_when_pulled_to_ground(sensors, factory):
    factory.pin(LID).drive_low()
    factory.pin(FULL_PAPER).drive_low()

    readings = sensors.read()

    assert readings.lid_open
    assert readings.interlocked
    assert readings.fill_percent == {"paper": 100.0, "glass": 0.0}


def test_active_high_is_active_when_driven_high(sensors, factory):
    factory.pin(METAL).drive_high()
    factory.pin(FULL_GLASS).drive_high()

    readings = sensors.read()

    assert readings.metal is True
    assert readings.fill_percent == {"paper": 0.0, "glass": 100.0}


def test_the_pull_keeps_an_open_switch_at_its_inactive_level(sensors, factory):
    assert factory.pin(LID).pull == "up"
    assert factory.pin(METAL).pull == "down"


def test_the_debounce_time_is_the_pins_business(factory, clock):
    config = validate(SensorSection, {"lid": {"pin": LID, "debounce_s": 0.05}})

    with Sensors(config, factory, clock):
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


def test_a_broken_beam_is_an_interlock_in_words_of_its_own(sensors, factory):
    factory.pin(BEAM).drive_low()

    readings = sensors.read()

    assert readings.beam_broken
    assert readings.interlocked == "something reaches through the opening"


def test_a_beam_counts_as_broken_before_its_edge_has_outlasted_the_debounce(sensors, factory):
    factory.pin(BEAM).edges = "none"
    factory.pin(BEAM).drive_low()

    assert sensors.read().beam_broken


def test_a_beam_whose_freeing_edge_has_not_come_yet_still_counts_as_broken(sensors, factory):
    factory.pin(BEAM).drive_low()
    factory.pin(BEAM).edges = "none"
    factory.pin(BEAM).drive_high()

    assert sensors.read().beam_broken


def test_what_falls_through_the_beam_between_two_frames_is_seen_at_the_next(
    sensors, factory, clock
):
    factory.pin(BEAM).drive_low()
    factory.pin(BEAM).drive_high()
    clock.sleep(BEAM_HOLD_S - 0.05)

    assert sensors.read().beam_broken


def test_a_beam_that_opens_its_circuit_when_broken_is_seen_in_passing_too(factory, clock):
    config = validate(SensorSection, {"beam": {"pin": BEAM, "active": "high", "pull": "up"}})
    with Sensors(config, factory, clock) as sensors:
        factory.pin(BEAM).drive_low()
        clock.sleep(BEAM_HOLD_S)
        assert not sensors.read().beam_broken
        factory.pin(BEAM).drive_high()
        clock.sleep(2 * BEAM_HOLD_S)
        factory.pin(BEAM).drive_low()
        clock.sleep(BEAM_HOLD_S - 0.05)

        assert sensors.read().beam_broken


def test_a_free_beam_reads_as_free_a_moment_later(sensors, factory, clock):
    factory.pin(BEAM).drive_low()
    factory.pin(BEAM).drive_high()
    clock.sleep(BEAM_HOLD_S)

    assert not sensors.read().beam_broken


def test_after_close_the_last_readings_stay_and_the_pins_are_free(sensors, factory, clock):
    factory.pin(METAL).drive_high()
    last = sensors.read()
    sensors.close()
    sensors.close()

    assert sensors.read() == last
    Sensors(validate(SensorSection, ALL), factory, clock).close()


def test_a_pin_in_use_is_named_and_the_pins_before_it_are_released(factory, clock):
    metal = Sensors(validate(SensorSection, {"metal": {"pin": METAL}}), factory, clock)

    # The traceback keeps the failed sensors alive: their pins are free only if given back.
    with pytest.raises(ChuteError, match=r"sensors\.metal\.pin: GPIO 6 cannot be used") as error:
        Sensors(validate(SensorSection, ALL), factory, clock)

    assert error.tb
    metal.close()
    Sensors(validate(SensorSection, ALL), factory, clock).close()
