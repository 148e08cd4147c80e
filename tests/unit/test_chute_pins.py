"""The seam to gpiozero: the factory that was named, or an error that says what to do."""

import os
import subprocess
import sys
import types

import pytest

from bin_daemon.chute.pins import InputPin, ServoPin, open_factory
from bin_daemon.config import Input, Servo
from bin_daemon.errors import ChuteError


@pytest.fixture
def no_gpiozero_lgpio(monkeypatch, tmp_path):
    """gpiozero's lgpio module not loaded yet, and LG_WD not set; both restored afterwards."""
    # Set before they are removed: only what monkeypatch has set does it put back to missing.
    monkeypatch.setitem(sys.modules, "gpiozero.pins.lgpio", None)
    monkeypatch.delitem(sys.modules, "gpiozero.pins.lgpio")
    monkeypatch.setenv("LG_WD", "")
    monkeypatch.delenv("LG_WD")
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}/run:{tmp_path}/other")
    return monkeypatch


def fake_lgpio(chip_error=None):
    """An lgpio module that can be imported, and whose chip opens or raises."""

    def gpiochip_open(chip):
        raise chip_error

    names = ("BOTH_EDGES", "RISING_EDGE", "FALLING_EDGE", "SET_PULL_NONE")
    module = types.ModuleType("lgpio")
    for name in names:
        setattr(module, name, 0)
    module.gpiochip_open = gpiochip_open
    return module


def test_mock_pins_know_pulse_width_modulation():
    factory = open_factory("mock")

    pin = factory.pin(12)
    pin.function = "output"
    pin.frequency = 50

    assert pin.frequency == 50


def test_without_lgpio_the_package_to_install_is_named_and_no_other_factory_taken(
    no_gpiozero_lgpio,
):
    no_gpiozero_lgpio.setitem(sys.modules, "lgpio", None)

    with pytest.raises(ChuteError, match="apt install python3-lgpio"):
        open_factory("lgpio")


def test_on_another_machine_it_says_that_this_is_no_pi(no_gpiozero_lgpio):
    from gpiozero.exc import PinUnknownPi

    def unknown():
        raise PinUnknownPi("no revision")

    no_gpiozero_lgpio.setitem(sys.modules, "lgpio", fake_lgpio())
    no_gpiozero_lgpio.setattr("gpiozero.pins.local.get_pi_revision", unknown)

    with pytest.raises(ChuteError, match="no Raspberry Pi"):
        open_factory("lgpio")


def test_a_chip_that_does_not_open_names_the_group(no_gpiozero_lgpio):
    lgpio = fake_lgpio(chip_error=Exception("can not open gpiochip"))
    no_gpiozero_lgpio.setitem(sys.modules, "lgpio", lgpio)
    no_gpiozero_lgpio.setattr("gpiozero.pins.local.get_pi_revision", lambda: 0xA02082)

    with pytest.raises(ChuteError, match=r"can not open gpiochip.*group gpio"):
        open_factory("lgpio")


def test_lgpio_is_sent_to_the_runtime_directory_before_it_is_loaded(no_gpiozero_lgpio, tmp_path):
    no_gpiozero_lgpio.setitem(sys.modules, "lgpio", None)

    with pytest.raises(ChuteError):
        open_factory("lgpio")

    assert os.environ["LG_WD"] == f"{tmp_path}/run"


def test_without_a_runtime_directory_lgpio_gets_one_of_its_own(no_gpiozero_lgpio):
    no_gpiozero_lgpio.delenv("RUNTIME_DIRECTORY")
    no_gpiozero_lgpio.setitem(sys.modules, "lgpio", None)

    with pytest.raises(ChuteError):
        open_factory("lgpio")

    directory = os.environ["LG_WD"]
    assert os.path.isdir(directory)
    assert directory != os.getcwd()


def test_the_directory_an_operator_chose_for_lgpio_is_kept(no_gpiozero_lgpio):
    no_gpiozero_lgpio.setenv("LG_WD", "/run/elsewhere")
    no_gpiozero_lgpio.setitem(sys.modules, "lgpio", None)

    with pytest.raises(ChuteError):
        open_factory("lgpio")

    assert os.environ["LG_WD"] == "/run/elsewhere"


def test_importing_the_chute_and_the_sensors_loads_no_gpiozero():
    code = "import sys, bin_daemon.chute, bin_daemon.sensors; sys.exit('gpiozero' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_upper_bound_of_a_servo_can_be_reached_whatever_its_rounding():
    servo = Servo(pin=12, min_angle_deg=-7.3, max_angle_deg=0.1)
    assert servo.min_angle_deg + (servo.max_angle_deg - servo.min_angle_deg) < 0.1
    factory = open_factory("mock")
    pin = ServoPin(factory, "flap", servo)

    pin.set_angle(0.1)

    assert factory.pin(12).state * 20_000 == pytest.approx(2000)


def test_a_closed_pin_may_be_claimed_again():
    factory = open_factory("mock")
    ServoPin(factory, "flap", Servo(pin=12)).close()

    ServoPin(factory, "flap", Servo(pin=12)).close()


def test_a_closed_servo_leaves_the_next_owner_of_its_pin_alone():
    factory = open_factory("mock")
    closed = ServoPin(factory, "flap", Servo(pin=12))
    closed.close()
    owner = ServoPin(factory, "flap", Servo(pin=12))
    owner.set_angle(90.0)

    closed.set_angle(-90.0)
    closed.detach()
    closed.close()

    assert factory.pin(12).state * 20_000 == pytest.approx(2000)


def test_detaching_drives_low_a_pin_whose_pulses_ended_high():
    from gpiozero.pins.mock import MockPWMPin

    class EndsHigh(MockPWMPin):
        def _set_frequency(self, value):
            self._frequency = value
            if value is None:
                self._change_state(1.0)

    factory = open_factory("mock")
    factory.pin_class = EndsHigh
    pin = ServoPin(factory, "flap", Servo(pin=12))
    pin.set_angle(0.0)

    pin.detach()

    assert factory.pin(12).state == 0


def test_a_servo_on_a_pin_with_a_fixed_pull_up_can_be_closed():
    factory = open_factory("mock")
    pin = ServoPin(factory, "flap", Servo(pin=3))
    pin.set_angle(0.0)

    pin.close()

    assert factory.pin(3).frequency is None
    assert factory.pin(3).function == "input"


def test_an_input_on_a_pin_with_a_fixed_pull_up_cannot_be_active_high():
    with pytest.raises(ChuteError, match=r"sensors\.lid\.pin: GPIO 2 cannot be used"):
        InputPin(open_factory("mock"), "sensors.lid.pin", Input(pin=2, active="high"))
