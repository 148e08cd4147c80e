"""The pins of a Pi's header: real gpiozero devices on a model of lgpio and on an imitated sysfs."""

import contextlib
import importlib
import sys

import gpiozero
import pytest
from fake_sysfs import PI_4, FakeSysfs
from lgpio_model import Lgpio

from bin_daemon.config.hardware import Input, Servo
from bin_daemon.core.errors import ChuteError
from bin_daemon.gpio.factory import InputPin, ServoPin, open_factory

FRAME_NS = 20_000_000
PI_4B = 0xC03115


@pytest.fixture
def lgpio(monkeypatch, tmp_path):
    model = Lgpio()
    for name in ("gpiozero.pins.lgpio", "bin_daemon.gpio.raspberry"):
        # Set before they are removed: only what monkeypatch has set does it put back to missing.
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lgpio", model)
    monkeypatch.setattr("gpiozero.pins.local.get_pi_revision", lambda: PI_4B)
    monkeypatch.setenv("LG_WD", str(tmp_path))
    return model


@pytest.fixture
def sysfs(monkeypatch, tmp_path):
    return FakeSysfs(tmp_path / "sys", PI_4, (12, 13)).install(monkeypatch)


@pytest.fixture
def closing():
    """Everything that a test opened is closed after it: gpiozero shares pins among factories."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def open_pins(lgpio, sysfs, closing):
    def open_one(kind):
        return closing.enter_context(contextlib.closing(open_factory(kind)))

    return open_one


@pytest.fixture
def servo(open_pins, closing):
    """A servo on a pin of a factory of this kind, -90 to 90 degrees at 1000 to 2000 us."""

    def claim(kind, pin=12, name="flap"):
        factory = open_pins(kind) if isinstance(kind, str) else kind
        return closing.enter_context(contextlib.closing(ServoPin(factory, name, Servo(pin=pin))))

    return claim


# --- lgpio ---------------------------------------------------------------------------------------


def test_lgpio_gets_every_fraction_of_a_percent(lgpio, servo):
    pin = servo("lgpio")

    for angle_deg in (-88.2, -86.4, 0.9):
        pin.set_angle(angle_deg)

    sent = [call[3] for call in lgpio.log if call[0] == "pwm" and call[3]]
    assert sent == pytest.approx([5.05, 5.1, 7.525])
    assert pin.pulses == "lgpio, timed in software"


def test_detaching_lets_the_pulse_under_way_end(lgpio, servo):
    pin = servo("lgpio", 12)
    pin.set_angle(0.0)
    lgpio.tx_room(1, 12, lgpio.TX_PWM)
    lgpio.log.clear()

    pin.detach()

    # No level is written and no train ended: both would cut a pulse.
    assert lgpio.log == [("pwm", 12, 50, 0.0)]
    assert lgpio.trains[12] == [pytest.approx(7.5), 0.0]
    assert pin._pin.frequency is None


def test_a_train_ends_once_its_silence_has_begun_and_the_line_is_pulled_low(lgpio, servo):
    pin = servo("lgpio", 12)
    pin.set_angle(0.0)
    lgpio.tx_room(1, 12, lgpio.TX_PWM)
    lgpio.log.clear()
    looks = []
    look = lgpio.tx_room
    lgpio.tx_room = lambda *where: looks.append(lgpio.trains[12][:]) or look(*where)

    pin.close()

    assert looks == [[pytest.approx(7.5), 0.0], [0.0]]
    assert lgpio.log[:3] == [("pwm", 12, 50, 0.0), ("pwm", 12, 0, 0), ("write", 12, 0)]
    assert 12 not in lgpio.trains
    assert pin._pin.function == "input"
    assert pin._pin.pull == "down"


def test_a_silent_pin_takes_up_its_pulses_again(lgpio, servo):
    pin = servo("lgpio", 12)
    pin.set_angle(0.0)
    pin.detach()
    lgpio.tx_room(1, 12, lgpio.TX_PWM)

    pin.set_angle(90.0)

    assert lgpio.trains[12] == [0.0, pytest.approx(10.0)]


def test_a_pin_that_dimmed_can_be_switched_afterwards(lgpio, open_pins):
    pin = open_pins("lgpio").pin(20)
    pin.function = "output"
    pin.frequency = 100
    pin.state = 0.255
    pin.frequency = None

    pin.state = 1

    assert lgpio.log[-3:] == [("pwm", 20, 0, 0), ("write", 20, 0), ("write", 20, 1)]


def test_a_line_that_another_program_has_is_named_with_its_owner(lgpio, open_pins, servo):
    lgpio.held_by = {7: "spi0 CS1", 12: "lg"}
    factory = open_pins("lgpio")

    with pytest.raises(ChuteError, match=r"sensors\.lid\.pin: GPIO 7 cannot.*held by 'spi0 CS1'"):
        InputPin(factory, "sensors.lid.pin", Input(pin=7))
    with pytest.raises(ChuteError, match=r"servos\.flap: GPIO 12 .* another bin-daemon"):
        servo(factory)


# --- hardware PWM --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["auto", "pwm"])
def test_a_servo_where_the_overlay_allows_it_gets_hardware_pulses(lgpio, sysfs, kind, servo):
    pin = servo(kind, 13)
    before = sysfs.state(1)

    pin.set_angle(9.0)

    assert before["duty_cycle"] == 0
    assert sysfs.state(1) == {"period": FRAME_NS, "duty_cycle": 1_550_000, "enable": 1}
    assert pin.pulses == "hardware PWM, pwmchip0 channel 1"


def test_a_new_angle_is_one_write_so_that_no_pulse_is_lost(sysfs, servo):
    pin = servo("auto")
    pin.set_angle(0.0)
    sysfs.log.clear()

    pin.set_angle(45.0)
    pin.set_angle(90.0)

    assert sysfs.written(0) == [("duty_cycle", "1750000"), ("duty_cycle", "2000000")]


def test_the_line_of_hardware_pulses_is_never_claimed_as_a_gpio(lgpio, servo):
    pin = servo("auto", 12)
    pin.set_angle(0.0)
    pin.detach()
    pin.close()

    assert lgpio.log == []


def test_hardware_pulses_fall_silent_and_come_back(sysfs, servo):
    pin = servo("auto", 12)
    pin.set_angle(0.0)

    pin.detach()
    silent = sysfs.state(0)
    pin.set_angle(90.0)

    assert silent["duty_cycle"] == 0
    assert sysfs.state(0)["duty_cycle"] == 2_000_000


def test_a_closed_servo_stops_its_channel_and_releases_it(sysfs, open_pins, servo):
    factory = open_pins("auto")
    pin = servo(factory)
    pin.set_angle(0.0)

    pin.close()
    closed = sysfs.state(0)
    again = servo(factory)
    again.set_angle(0.0)

    assert closed is None
    assert sysfs.state(0)["duty_cycle"] == 1_500_000


def test_closing_the_factory_stops_what_is_still_running(sysfs, lgpio, open_pins, servo):
    factory = open_pins("auto")
    servo(factory).set_angle(0.0)

    factory.close()

    assert sysfs.state(0) is None
    assert lgpio.closed


def test_auto_takes_lgpio_where_the_overlay_gives_nothing_and_says_why(caplog, servo):
    caplog.set_level("INFO")

    pin = servo("auto", 18)

    assert pin.pulses == "lgpio, timed in software"
    assert "gives hardware PWM to GPIO 12, GPIO 13, not to GPIO 18" in caplog.text
    assert "chute.servos.flap: GPIO 18: lgpio, timed in software" in caplog.text


def test_auto_does_not_hide_a_channel_that_may_not_be_used(sysfs, servo):
    sysfs.export_allowed = False

    with pytest.raises(ChuteError, match=r"servos\.flap: GPIO 12 cannot be used: .*group gpio"):
        servo("auto", 12)


def test_pwm_refuses_a_servo_without_hardware_pulses_and_names_the_overlay(servo):
    with pytest.raises(ChuteError, match=r"servos\.flap: GPIO 18 cannot.*dtoverlay=pwm-2chan"):
        servo("pwm", 18)


def test_lgpio_leaves_the_hardware_pwm_alone(sysfs, servo):
    servo("lgpio", 12).set_angle(0.0)

    assert sysfs.log == []


def test_two_servos_on_one_channel_of_an_old_pi_are_refused(lgpio, monkeypatch, tmp_path, servo):
    FakeSysfs(tmp_path / "both", PI_4, (12, 18)).install(monkeypatch)
    factory = open_factory("auto")
    first = servo(factory, 12, "disc")

    with pytest.raises(ChuteError, match=r"servos\.trap: GPIO 18 .*same PWM channel as GPIO12"):
        servo(factory, 18, "trap")

    first.close()
    servo(factory, 18, "trap").close()
    factory.close()


def test_a_pin_that_no_servo_uses_stays_a_plain_line_whatever_the_overlay_says(
    lgpio, sysfs, open_pins
):
    factory = open_pins("auto")
    with gpiozero.LED(12, pin_factory=factory) as lamp:
        lamp.on()
    with gpiozero.InputDevice(13, pull_up=True, pin_factory=factory) as lid:
        assert lid.pull_up

    assert sysfs.log == []
    assert {call[1] for call in lgpio.log} == {12, 13}


# --- as a factory of gpiozero --------------------------------------------------------------------


@pytest.fixture
def gpiozero_factory(lgpio, sysfs, closing, monkeypatch):
    """What gpiozero loads by the name bindaemon, as its default."""
    factory = closing.enter_context(contextlib.closing(open_factory()))
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    return factory


def test_gpiozeros_own_servo_gets_hardware_pulses(gpiozero_factory, sysfs):
    with gpiozero.Servo(12, initial_value=0.5):
        running = sysfs.state(0)

    assert running == {"period": FRAME_NS, "duty_cycle": 1_750_000, "enable": 1}
    assert sysfs.state(0) is None


def test_gpiozeros_own_servo_gets_every_fraction_elsewhere(gpiozero_factory, lgpio):
    with gpiozero.Servo(20, initial_value=0.5):
        assert lgpio.trains[20][-1] == pytest.approx(8.75)


def test_a_lamp_on_a_hardware_pwm_pin_can_be_switched_and_dimmed(gpiozero_factory, sysfs):
    with gpiozero.LED(12) as lamp:
        lamp.on()
        on = sysfs.state(0)
    with gpiozero.PWMLED(12, frequency=1000) as lamp:
        lamp.value = 0.25
        dimmed = sysfs.state(0)

    assert on["duty_cycle"] == on["period"]
    assert dimmed == {"period": 1_000_000, "duty_cycle": 250_000, "enable": 1}
    assert sysfs.state(0) is None


def test_a_hardware_pwm_pin_is_no_input_and_says_so(gpiozero_factory):
    with pytest.raises(gpiozero.PinFixedPull, match="overlay assigns it to the hardware PWM"):
        gpiozero.Button(12)


@pytest.mark.parametrize(
    ("labels", "chip"),
    [
        ({0: "gpio-brcmstb@107d508500", 13: "pinctrl-rp1"}, 13),
        ({0: "pinctrl-bcm2711", 1: "raspberrypi-exp-gpio"}, 0),
        ({3: "something"}, 0),  # left to gpiozero
    ],
)
def test_the_chip_of_the_header_is_known_by_its_label(lgpio, closing, tmp_path, labels, chip):
    pi_pins = importlib.import_module("bin_daemon.gpio.raspberry")
    pi_pins._DEVICES = tmp_path
    lgpio.labels = labels
    for number in labels:
        (tmp_path / f"gpiochip{number}").touch()
    factory = closing.enter_context(contextlib.closing(pi_pins.PiFactory("lgpio")))
    assert factory.chip == chip
