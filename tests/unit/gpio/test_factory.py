"""The seam to gpiozero: the factory that was named, or an error that says what to do."""

import configparser
import os
import subprocess
import sys
import types
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from bin_daemon.config.hardware import Input, Servo
from bin_daemon.core.errors import ChuteError
from bin_daemon.gpio.factory import InputPin, ServoPin, claiming, open_factory


@pytest.fixture
def no_gpiozero_lgpio(monkeypatch, tmp_path):
    """The modules that need lgpio not loaded yet, and LG_WD not set; all restored afterwards."""
    for name in ("gpiozero.pins.lgpio", "bin_daemon.gpio.raspberry"):
        # Set before they are removed: only what monkeypatch has set does it put back to missing.
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
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
    code = (
        "import sys, bin_daemon.chute, bin_daemon.gpio.sensors; sys.exit('gpiozero' in sys.modules)"
    )

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


@pytest.mark.parametrize(
    ("active", "pull", "resistor", "open_says_yes"),
    [
        ("low", "auto", "up", False),
        ("high", "auto", "down", False),
        ("low", "up", "up", False),
        ("high", "down", "down", False),
        # A switch that opens with the lid: a broken wire reads as an open lid.
        ("high", "up", "up", True),
        ("low", "down", "down", True),
    ],
)
def test_pull_and_active_level_are_independent(active, pull, resistor, open_says_yes):
    factory = open_factory("mock")
    pin = InputPin(factory, "sensors.lid.pin", Input(pin=5, active=active, pull=pull))
    unconnected = (pin.active, pin.active_now)

    factory.pin(5).drive_high()
    high = (pin.active, pin.active_now)
    factory.pin(5).drive_low()
    low = (pin.active, pin.active_now)

    assert factory.pin(5).pull == resistor
    assert unconnected == (open_says_yes, open_says_yes)
    assert high == (active == "high", active == "high")
    assert low == (active == "low", active == "low")


@pytest.mark.parametrize("active", ["high", "low"])
def test_an_input_may_do_without_the_pis_resistor(active):
    factory = open_factory("mock")
    pin = InputPin(factory, "sensors.lid.pin", Input(pin=5, active=active, pull="none"))

    factory.pin(5).drive_high()
    high = pin.active
    factory.pin(5).drive_low()

    assert factory.pin(5).pull == "floating"
    assert (high, pin.active) == (active == "high", active == "low")


@pytest.mark.parametrize(("active", "pull"), [("low", "auto"), ("high", "up"), ("low", "none")])
def test_a_release_is_reported_once_whatever_the_pull(active, pull):
    factory = open_factory("mock")
    pin = InputPin(factory, "sensors.beam.pin", Input(pin=5, active=active, pull=pull))
    yes, no = factory.pin(5).drive_high, factory.pin(5).drive_low
    if active == "low":
        yes, no = no, yes
    yes()
    no()
    told = []
    pin.when_released(lambda: told.append(pin.active))

    yes()
    before = list(told)
    no()

    assert before == []
    assert told == [False]


def test_a_servo_on_simulated_pins_says_so():
    assert ServoPin(open_factory("mock"), "flap", Servo(pin=12)).pulses == "simulated"


def test_an_error_that_knows_its_cause_is_passed_on_without_guesses():
    with pytest.raises(ChuteError) as known, claiming("sensors.lid.pin: GPIO 5"):
        raise ChuteError("held by 'spi0 CS1'; stop that")
    with pytest.raises(ChuteError) as unknown, claiming("sensors.lid.pin: GPIO 5"):
        raise RuntimeError("GPIO busy")

    assert str(known.value).endswith("GPIO 5 cannot be used: held by 'spi0 CS1'; stop that")
    assert "gpioinfo" in str(unknown.value)


def test_importing_the_seam_loads_none_of_the_hardware():
    code = (
        "import sys; from bin_daemon.gpio import factory; factory.open_factory('mock'); "
        "sys.exit(any(m in ' '.join(sys.modules) for m in ('raspberry', 'pca9685', 'kernel_pwm')))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_gpiozero_can_load_the_factory_by_the_name_that_setup_cfg_gives():
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[3] / "setup.cfg")
    name, value = setup["options.entry_points"]["gpiozero_pin_factories"].strip().split(" = ")

    factory = EntryPoint(name, value, "gpiozero_pin_factories").load()

    assert name == "bindaemon"
    assert factory is open_factory
