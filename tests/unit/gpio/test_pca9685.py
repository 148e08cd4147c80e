"""A PCA9685 servo board: real gpiozero servos on a model of the chip's registers behind smbus2."""

import contextlib
import errno
import sys
import types

import pytest

from bin_daemon.config.hardware import BoardSection, Servo
from bin_daemon.core.errors import ChuteError
from bin_daemon.gpio.factory import ServoPin
from bin_daemon.gpio.pca9685 import BoardFactory

SLEEP, RESTART, AUTO_INCREMENT = 0x10, 0x80, 0x20
FULL_OFF = 0x10


class Chip:
    """The registers of a PCA9685 as its data sheet has them, on one bus.

    After power-on it sleeps and all channels are fully off. The prescaler takes writes only while
    the chip sleeps; a chip put to sleep with channels on sets RESTART, which only a 1 clears.
    Without auto-increment every byte of a block lands in the same register.
    """

    def __init__(self, address=0x40):
        self.address = address
        self.registers = dict.fromkeys(range(0x46), 0) | {0x00: 0x11, 0x01: 0x04, 0xFE: 0x1E}
        for channel in range(16):
            self.registers[0x09 + 4 * channel] = FULL_OFF
        self.blocks = []
        self.opened = 0

    def write_byte_data(self, address, register, value):
        self._answer(address)
        old = self.registers[0x00]
        if register == 0x00:
            falls_asleep = value & SLEEP and not old & SLEEP
            kept = old & RESTART and not value & RESTART
            restart = kept or (falls_asleep and self.running())
            value = value & ~RESTART | (RESTART if restart else 0)
        elif register == 0xFE and not old & SLEEP:
            return
        elif register == 0xFD:
            for channel in range(16):
                self.registers[0x09 + 4 * channel] = value
        self.registers[register] = value

    def write_i2c_block_data(self, address, register, data):
        self._answer(address)
        self.blocks.append((register, data))
        step = 1 if self.registers[0x00] & AUTO_INCREMENT else 0
        for i, value in enumerate(data):
            self.registers[register + i * step] = value

    def read_byte_data(self, address, register):
        self._answer(address)
        return self.registers[register]

    def close(self):
        self.opened -= 1

    def _answer(self, address):
        assert self.opened == 1
        if address != self.address:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")

    def running(self):
        return [n for n in range(16) if not self.registers[0x09 + 4 * n] & FULL_OFF]

    def pulse_us(self, channel, oscillator_hz=25e6):
        """What comes out of a channel, in us; 0 is silence."""
        on_l, on_h, off_l, off_h = (self.registers[0x06 + 4 * channel + i] for i in range(4))
        if off_h & FULL_OFF or self.registers[0x00] & SLEEP:
            return 0.0
        steps = ((off_h << 8 | off_l) - (on_h << 8 | on_l)) % 4096
        return steps * (self.registers[0xFE] + 1) / oscillator_hz * 1e6


@pytest.fixture
def chip(monkeypatch):
    chip = Chip()
    buses = []

    def open_bus(number):
        buses.append(number)
        chip.opened += 1
        return chip

    chip.buses = buses
    monkeypatch.setitem(sys.modules, "smbus2", types.SimpleNamespace(SMBus=open_bus))
    return chip


@pytest.fixture
def factory(chip):
    with contextlib.closing(BoardFactory(BoardSection())) as factory:
        yield factory


@pytest.fixture
def servo(factory):
    with contextlib.closing(ServoPin(factory, "flap", Servo(pin=3))) as servo:
        yield servo


def test_opening_switches_every_channel_off_before_the_chip_wakes(chip):
    chip.registers[0x00] = AUTO_INCREMENT
    chip.write_byte_data = lambda *call, write=chip.write_byte_data: (
        order.append(call[1:]),
        write(*call),
    )
    order = []
    for register in (0x06 + 12, 0x07 + 12, 0x08 + 12, 0x09 + 12):
        chip.registers[register] = 1  # channel 3 runs, as a killed process left it

    factory = BoardFactory(BoardSection())

    assert order[0] == (0xFD, FULL_OFF)
    assert chip.running() == []
    assert chip.registers[0x00] == AUTO_INCREMENT
    factory.close()


def test_the_prescaler_makes_50_hz_of_the_oscillator_that_was_measured(chip):
    for oscillator_hz, prescale in ((25e6, 121), (27e6, 131), (23.5e6, 114)):
        BoardFactory(BoardSection(oscillator_hz=oscillator_hz)).close()

        assert chip.registers[0xFE] == prescale
        chip.registers[0x00] = SLEEP


def test_a_chip_that_was_put_to_sleep_with_channels_on_runs_again(chip):
    chip.registers[0x00] = SLEEP | RESTART

    BoardFactory(BoardSection()).close()

    assert chip.registers[0x00] == AUTO_INCREMENT


def test_pulses_come_within_half_a_step_of_what_was_asked(chip, servo):
    for angle_deg, pulse_us in ((-90, 1000), (-89, 1005.6), (0, 1500), (33, 1683.3), (90, 2000)):
        servo.set_angle(angle_deg)

        assert chip.pulse_us(3) == pytest.approx(pulse_us, abs=4.9 / 2)
    assert servo.pulses == "PCA9685 0x40 channel 3"


def test_a_faster_oscillator_gives_the_same_pulses(chip):
    board = BoardSection(oscillator_hz=27e6)
    with contextlib.closing(BoardFactory(board)) as factory:
        servo = ServoPin(factory, "flap", Servo(pin=0))
        servo.set_angle(0)

        assert chip.pulse_us(0, 27e6) == pytest.approx(1500, abs=2.5)
        servo.close()


def test_the_four_registers_of_a_channel_are_written_at_once(chip, servo):
    servo.set_angle(0)
    chip.blocks.clear()

    servo.set_angle(45)

    assert [(register, len(data)) for register, data in chip.blocks] == [(0x06 + 4 * 3, 4)]


def test_no_channel_runs_before_the_first_angle_nor_after_detaching(chip, servo):
    before = chip.running()
    servo.set_angle(0)
    during = chip.running()
    servo.detach()

    assert (before, during, chip.running()) == ([], [3], [])


def test_two_servos_do_not_touch_each_other(chip, factory, servo):
    other = ServoPin(factory, "disc", Servo(pin=15))
    servo.set_angle(0)
    other.set_angle(90)
    servo.close()

    assert chip.running() == [15]
    assert chip.pulse_us(15) == pytest.approx(2000, abs=2.5)
    other.close()


def test_closing_the_factory_switches_everything_off_and_releases_the_bus(chip):
    factory = BoardFactory(BoardSection(bus=4))
    servo = ServoPin(factory, "flap", Servo(pin=0))
    servo.set_angle(0)

    factory.close()
    factory.close()
    servo.close()

    assert chip.running() == []
    assert chip.opened == 0
    assert chip.buses == [4]


def test_a_channel_in_use_is_refused_by_its_name(factory, servo):
    with pytest.raises(ChuteError, match=r"channel 3 is already in use"):
        ServoPin(factory, "disc", Servo(pin=3))


def test_a_channel_that_does_not_exist_is_refused(factory):
    with pytest.raises(ChuteError, match="channels 0 to 15, not 16"):
        ServoPin(factory, "disc", Servo(pin=16))


def test_a_board_that_does_not_answer_is_named_with_bus_and_address(chip):
    with pytest.raises(ChuteError, match=r"0x41 of /dev/i2c-1 does not answer.*i2c_arm=on"):
        BoardFactory(BoardSection(address=0x41))

    assert chip.opened == 0


def test_another_chip_at_the_address_is_noticed(chip):
    chip.registers[0xFE] = 0x1E
    chip.write_byte_data = lambda address, register, value: None

    with pytest.raises(ChuteError, match="is another chip at that address"):
        BoardFactory(BoardSection())

    assert chip.opened == 0


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file"), r"dtparam=i2c_arm=on"),
        (PermissionError(errno.EACCES, "Permission denied"), r"group i2c"),
    ],
)
def test_a_bus_that_does_not_open_says_why(monkeypatch, error, cure):
    def open_bus(number):
        raise error

    monkeypatch.setitem(sys.modules, "smbus2", types.SimpleNamespace(SMBus=open_bus))

    with pytest.raises(ChuteError, match=rf"/dev/i2c-1 .*{cure}"):
        BoardFactory(BoardSection())


def test_without_smbus2_the_package_to_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "smbus2", None)

    with pytest.raises(ChuteError, match="apt install python3-smbus2"):
        BoardFactory(BoardSection())


def test_a_board_that_falls_silent_under_way_is_reported_as_a_fault_of_the_servo(chip, servo):
    chip.address = None

    with pytest.raises(ChuteError, match=r"servos\.flap: .*Remote I/O error"):
        servo.set_angle(0)


def test_closing_without_an_answer_releases_the_bus_and_raises_nothing(chip, caplog):
    factory = BoardFactory(BoardSection())
    chip.address = None

    factory.close()

    assert chip.opened == 0
    assert "could not be switched off" in caplog.text
