"""Hardware PWM by sysfs, on a faithful imitation: nobody has seen it on a board."""

import time

import pytest
from fake_sysfs import PI_4, PI_5, FakeSysfs

from bin_daemon.core.errors import ChuteError
from bin_daemon.gpio import kernel_pwm
from bin_daemon.gpio.kernel_pwm import KernelPwm, NoHardwarePwmError, probe

FRAME_NS = 20_000_000


@pytest.fixture
def sysfs(tmp_path, monkeypatch):
    return FakeSysfs(tmp_path).install(monkeypatch)


# --- which pin has it ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("board", "muxed", "channels"),
    [
        (PI_4, (12, 13), {12: 0, 13: 1}),
        (PI_4, (18, 19), {18: 0, 19: 1}),
        (PI_5, (12, 13), {12: 0, 13: 1}),
        (PI_5, (18, 19), {18: 2, 19: 3}),
    ],
)
def test_each_board_has_its_own_map_of_pins_to_channels(
    tmp_path, monkeypatch, board, muxed, channels
):
    FakeSysfs(tmp_path, board, muxed).install(monkeypatch)

    assert {pin: probe(pin).number for pin in muxed} == channels


def test_the_chip_is_found_by_its_address_whatever_its_number(tmp_path, monkeypatch):
    sysfs = FakeSysfs(tmp_path, PI_5, chip="pwmchip2").install(monkeypatch)
    fan = tmp_path / "devices/platform/axi/1000120000.pcie/1f0009c000.pwm"
    (fan / "pwm/pwmchip0").mkdir(parents=True)
    (fan / "pwm/pwmchip0/device").symlink_to(fan)
    (tmp_path / "class/pwm/pwmchip0").symlink_to(fan / "pwm/pwmchip0")

    assert probe(12).chip.resolve() == sysfs.chip
    assert str(probe(12)) == "pwmchip2 channel 0"


def test_without_a_chip_the_overlay_line_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_pwm, "SYSFS", tmp_path)

    with pytest.raises(NoHardwarePwmError, match=r"dtoverlay=pwm-2chan,pin=12,func=4,pin2=13"):
        probe(13)


def test_a_pin_that_the_overlay_leaves_out_has_none_though_its_channel_is_there(sysfs):
    with pytest.raises(NoHardwarePwmError, match=r"to GPIO 12, GPIO 13, not to GPIO 18; .*pin=18"):
        probe(18)


def test_a_pin_without_the_function_says_which_pins_have_it(sysfs):
    with pytest.raises(NoHardwarePwmError, match="on GPIO 17, but on 12, 13, 18, 19"):
        probe(17)


def test_newer_trees_name_the_pins_in_words(sysfs):
    node = next(sysfs.root.glob("firmware/**/pwm_pins"))
    (node / "brcm,pins").unlink()
    (node / "pins").write_text("gpio12\0gpio13\0")

    assert probe(13).number == 1


# --- one channel ---------------------------------------------------------------------------------


def test_a_new_channel_is_silent_and_the_first_pulses_come_with_period_duty_and_enable(sysfs):
    pwm = KernelPwm(probe(12))
    before = sysfs.state(0)

    pwm.set(FRAME_NS, 1_500_000)

    assert before == {"period": 0, "duty_cycle": 0, "enable": 0}
    assert sysfs.written(0) == [
        ("period", "20000000"),
        ("duty_cycle", "1500000"),
        ("enable", "1"),
    ]


def test_a_new_pulse_width_is_one_write(sysfs):
    pwm = KernelPwm(probe(12))
    pwm.set(FRAME_NS, 1_500_000)
    sysfs.log.clear()

    pwm.set(FRAME_NS, 1_504_900)

    assert sysfs.written(0) == [("duty_cycle", "1504900")]


def test_a_shorter_period_than_the_present_pulse_is_taken(sysfs):
    pwm = KernelPwm(probe(12))
    pwm.set(FRAME_NS, 1_500_000)

    pwm.set(1_000_000, 250_000)
    pwm.set(FRAME_NS, 2_000_000)

    assert sysfs.state(0) == {"period": FRAME_NS, "duty_cycle": 2_000_000, "enable": 1}


def test_closing_ends_the_pulse_under_way_then_stops_and_releases_the_channel(sysfs):
    pwm = KernelPwm(probe(12))
    pwm.set(FRAME_NS, 1_500_000)
    sysfs.log.clear()
    sysfs.now.clear()

    pwm.close()

    assert sysfs.log == [
        ("pwm0", "duty_cycle", "0"),
        ("pwm0", "enable", "0"),
        ("pwmchip0", "unexport", "0"),
    ]
    assert sysfs.now[1] - sysfs.now[0] >= 0.02
    assert sysfs.state(0) is None


def test_a_channel_may_be_opened_again(sysfs):
    pwm = KernelPwm(probe(12))
    pwm.set(1_000_000, 1_000_000)
    pwm.close()

    again = KernelPwm(probe(12))
    again.set(FRAME_NS, 1_000_000)

    assert sysfs.state(0) == {"period": FRAME_NS, "duty_cycle": 1_000_000, "enable": 1}


def test_a_channel_that_a_killed_process_left_running_is_stopped_at_open(sysfs):
    sysfs.leave_running(0, FRAME_NS, 1_500_000)

    KernelPwm(probe(12))

    assert sysfs.state(0) == {"period": FRAME_NS, "duty_cycle": 0, "enable": 0}


def test_an_inverted_channel_is_made_normal_before_it_runs(sysfs):
    sysfs.leave_running(0, FRAME_NS, 0)
    (sysfs.chip / "pwm0/polarity").write_text("inversed\n")

    KernelPwm(probe(12))

    assert sysfs.written(0) == [("enable", "0"), ("polarity", "normal")]


def test_it_waits_until_udev_has_given_the_files_to_the_group(sysfs):
    sysfs.udev_delay_s = 0.1
    began = time.monotonic()

    pwm = KernelPwm(probe(12))
    pwm.set(FRAME_NS, 1_500_000)

    assert time.monotonic() - began >= 0.1
    assert sysfs.state(0)["enable"] == 1


def test_files_that_stay_closed_name_the_group_and_the_rule(sysfs, monkeypatch):
    monkeypatch.setattr(kernel_pwm, "UDEV_DEADLINE_S", 0.05)
    sysfs.udev_delay_s = 60.0

    with pytest.raises(ChuteError, match=r"pwmchip0 channel 0: Permission.*group gpio.*udev"):
        KernelPwm(probe(12))


def test_an_export_that_is_not_permitted_names_the_group_and_the_rule(sysfs):
    sysfs.export_allowed = False

    with pytest.raises(ChuteError, match=r"Permission denied.*group gpio.*udev rules"):
        KernelPwm(probe(12))


def test_a_channel_that_the_kernel_uses_itself_says_how_to_free_it(sysfs):
    sysfs.used_by_kernel = {0}

    with pytest.raises(ChuteError, match=r"busy.*dtparam=audio=off"):
        KernelPwm(probe(12))


def test_what_is_written_reaches_the_file(tmp_path):
    (tmp_path / "enable").write_text("1\n")

    kernel_pwm._write(tmp_path / "enable", "0\n")

    assert (tmp_path / "enable").read_text() == "0\n"
