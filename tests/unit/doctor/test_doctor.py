"""The doctor: what each check says of a good, a poor and a broken machine, and its bounds."""

import dataclasses
import os
import pwd
import sys
import threading
from pathlib import Path

import pytest

from bin_daemon.config.hardware import BoardSection, Input, Ultrasonic
from bin_daemon.config.load import load_config
from bin_daemon.config.sections import Config, MqttSection
from bin_daemon.core import paths
from bin_daemon.daemon import health
from bin_daemon.doctor import (
    CHECKS,
    Check,
    Level,
    Site,
    devices,
    examine,
    machine,
    site_of,
    software,
)
from bin_daemon.doctor.finding import good
from bin_daemon.gpio import factory, kernel_pwm

DESK = load_config("simulator")
ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A desk: the simulator profile, and a file system of the test's own."""
    return Site("simulator", DESK, "", tmp_path / "state", False, ME, tmp_path)


def with_section(site: Site, section: str, **values: object) -> Site:
    config: Config = dataclasses.replace(
        DESK, **{section: dataclasses.replace(getattr(DESK, section), **values)}
    )
    return dataclasses.replace(site, config=config)


def write(site: Site, path: str, text: str) -> None:
    site.at(path).parent.mkdir(parents=True, exist_ok=True)
    site.at(path).write_text(text)


def test_a_check_that_raises_is_a_fault_and_the_others_go_on(site):
    def broken(_: Site):
        raise ZeroDivisionError("division by zero")

    found = dict(examine(site, (Check("one", broken), Check("two", lambda _: good("fine")))))

    assert found["one"].level is Level.FAULT
    assert "ZeroDivisionError: division by zero" in found["one"].seen
    assert found["two"].level is Level.GOOD


def test_a_check_that_hangs_is_a_fault_after_its_limit(site):
    release = threading.Event()

    def hangs(_: Site):
        release.wait()
        return good("late")

    found = dict(examine(site, (Check("one", hangs, limit_s=0.05),)))
    release.set()

    assert found["one"].level is Level.FAULT
    assert "no answer within 0.05 s" in found["one"].seen


def test_every_check_answers_on_a_desk_and_says_how_to_repair_what_is_wrong(site):
    cheap = [check for check in CHECKS if check.name not in ("runtime", "model", "broker")]

    for name, finding in examine(site, tuple(cheap)):
        assert finding.seen, name
        assert "the check itself failed" not in finding.seen
        assert bool(finding.remedy) == (finding.level in (Level.WARNING, Level.FAULT)), name


def test_a_configuration_with_mistakes_is_a_fault_and_nothing_else_fails_for_it(tmp_path):
    path = tmp_path / "bin.yaml"
    path.write_text("version: 2\n")
    broken = site_of(str(path), tmp_path)

    assert software.configuration(broken).level is Level.FAULT
    assert "camera: is needed" in software.configuration(broken).seen
    for look in (devices.camera, devices.pins, machine.groups, software.broker, software.model):
        assert look(broken).level is Level.NOT_APPLICABLE


def test_an_older_configuration_is_a_warning_with_the_command_that_migrates_it(tmp_path):
    path = tmp_path / "bin.yaml"
    text = (paths.profiles() / "flap.yaml").read_text()
    path.write_text(text.replace("version: 2", "version: 1"))

    found = software.configuration(site_of(str(path), tmp_path))

    assert found.level is Level.WARNING
    assert found.remedy == f"sudo bin-daemon check-config --migrate {path}"


def test_the_model_is_checked_on_its_golden_inputs(site):
    found = software.model(site)

    assert found.level is Level.GOOD
    assert "golden inputs are right" in found.seen


def test_a_model_that_is_not_there_is_a_fault(site):
    wrong = with_section(site, "model", name="nothing-like-it")

    assert software.model(wrong).level is Level.FAULT


def test_a_runtime_that_is_asked_for_and_not_installed_is_a_fault(site, monkeypatch):
    from bin_daemon.model import runtime

    monkeypatch.setattr(runtime, "RUNTIMES", {"ai-edge-litert": "no_such_module"})

    assert software.runtime(site).level is Level.FAULT
    assert "none is installed" in software.runtime(site).seen
    wanted = with_section(site, "model", runtime="ai-edge-litert")
    assert "asks for ai-edge-litert" in software.runtime(wanted).seen


def test_the_camera_is_opened_and_its_picture_described(site):
    found = devices.camera(site)

    assert found.level is Level.GOOD
    assert "640x480, mean brightness" in found.seen


def test_a_black_picture_is_a_warning(site, tmp_path):
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((480, 640, 3), np.uint8))
    dark = with_section(site, "camera", source=str(tmp_path))

    assert devices.camera(dark).level is Level.WARNING


def test_a_camera_that_does_not_open_says_why(site):
    missing = with_section(site, "camera", kind="opencv", source="/dev/video99")

    found = devices.camera(missing)

    assert found.level is Level.FAULT
    assert "/dev/video99" in found.seen
    assert "v4l2-ctl" in found.remedy


def test_what_the_running_daemon_holds_is_left_to_it(site):
    running = dataclasses.replace(
        with_section(site, "camera", kind="opencv", source="/dev/video99"), running=True
    )
    factory = dataclasses.replace(with_section(site, "chute", pins="auto"), running=True)

    assert "in use by the running daemon" in devices.camera(running).seen
    assert "in use by the running daemon" in devices.pins(factory).seen
    site.state.mkdir()
    (site.state / "failures.json").write_text('{"count": 5, "last": "no frame within 2 s"}')
    found = devices.camera(running)
    assert found.level is Level.WARNING
    assert "has failed lately (5); the last time: no frame within 2 s" in found.seen


def test_pins_that_cannot_be_used_are_a_fault(site, monkeypatch):
    monkeypatch.setitem(sys.modules, "lgpio", None)
    found = devices.pins(with_section(site, "chute", pins="lgpio"))

    assert found.level is Level.FAULT
    assert "lgpio" in found.seen


@pytest.fixture
def simulated(monkeypatch):
    """Simulated pins in place of those of a Pi."""
    mock = factory.open_factory("mock")
    monkeypatch.setattr(factory, "open_factory", lambda kind, board: mock)
    return mock


def test_servos_on_hardware_pwm_are_good(site, monkeypatch, tmp_path):
    monkeypatch.setattr(
        kernel_pwm, "probe", lambda pin: kernel_pwm.Channel(tmp_path / "pwmchip0", pin - 12)
    )

    found = devices.hardware_pwm(with_section(site, "chute", pins="auto"))

    assert found.level is Level.GOOD
    assert found.seen == "disc: pwmchip0 channel 0, trapdoor: pwmchip0 channel 1"


@pytest.mark.parametrize(("kind", "level"), [("auto", Level.WARNING), ("pwm", Level.FAULT)])
def test_without_hardware_pwm_the_overlay_line_is_the_remedy(
    site, monkeypatch, tmp_path, kind, level
):
    monkeypatch.setattr(kernel_pwm, "SYSFS", tmp_path)

    found = devices.hardware_pwm(with_section(site, "chute", pins=kind))

    assert found.level is level
    assert "disc: no PWM chip that serves GPIO 12" in found.seen
    assert "trapdoor: no PWM chip that serves GPIO 13" in found.seen
    assert found.remedy.startswith("write `dtoverlay=pwm-2chan,pin=12")


def test_an_overlay_that_is_written_already_wants_a_restart(site, monkeypatch, tmp_path):
    monkeypatch.setattr(kernel_pwm, "SYSFS", tmp_path)
    boot = site.at(kernel_pwm.BOOT_CONFIG)
    boot.parent.mkdir(parents=True)
    boot.write_text("[all]\ndtoverlay=pwm,pin=12,func=4\n")

    found = devices.hardware_pwm(with_section(site, "chute", pins="auto"))

    assert "restart the Pi" in found.remedy


def test_pins_that_can_be_used_are_named(site, simulated):
    found = devices.pins(with_section(site, "chute", pins="auto"))

    assert found.level is Level.GOOD
    assert found.seen.startswith("free: disc 12, trapdoor 13, lid 5, full.paper 16")


def test_the_pins_of_fill_sensors_are_claimed_too_and_nothing_pings(site, simulated):
    sensor = Ultrasonic(trigger=23, echo=24, empty_cm=60, full_cm=10)
    held = factory.InputPin(simulated, "mine", Input(pin=24))

    real = with_section(site, "chute", pins="auto").config
    sensors = dataclasses.replace(real.sensors, fill={"paper": sensor})

    found = devices.pins(
        dataclasses.replace(site, config=dataclasses.replace(real, sensors=sensors))
    )

    held.close()
    assert found.level is Level.FAULT
    assert "sensors.fill.paper.echo: GPIO 24" in found.seen
    assert "GPIO 23" not in found.seen
    assert {state.state for state in simulated.pin(23).states} == {False}


def test_every_pin_that_is_taken_is_named(site, simulated):
    holders = [factory.InputPin(simulated, "mine", Input(pin=pin)) for pin in (5, 13)]

    found = devices.pins(with_section(site, "chute", pins="auto"))

    assert found.level is Level.FAULT
    assert "GPIO 13" in found.seen
    assert "GPIO 5" in found.seen
    assert "GPIO 12" not in found.seen
    assert all(holder.active_now in (True, False) for holder in holders)


def test_a_servo_board_without_its_bus_names_the_line_that_switches_it_on(site):
    board = with_section(site, "chute", pins="pca9685", board=BoardSection(bus=1))

    found = devices.servo_board(board)

    assert found.level is Level.FAULT
    assert "dtparam=i2c_arm=on" in found.remedy


def test_a_user_outside_the_groups_gets_the_command(site, monkeypatch):
    real = with_section(site, "chute", pins="auto")
    nobody = dataclasses.replace(real, user="nobody")
    groups = [type("Group", (), {"gr_name": "gpio", "gr_gid": 99999})]
    monkeypatch.setattr(machine.grp, "getgrall", lambda: groups)

    found = machine.groups(nobody)

    assert found.level is Level.FAULT
    assert "sudo usermod -aG gpio nobody" in found.remedy


@pytest.mark.parametrize(
    ("source", "level"), [("1", Level.FAULT), ("rtsp://x/", Level.NOT_APPLICABLE)]
)
def test_a_usb_camera_of_any_number_needs_the_group_video(site, monkeypatch, source, level):
    real = with_section(site, "camera", kind="opencv", source=source)
    monkeypatch.setattr(machine.grp, "getgrall", list)

    found = machine.groups(dataclasses.replace(real, user="nobody"))

    assert found.level is level


def test_a_machine_without_the_groups_is_reported(site, monkeypatch):
    nobody = dataclasses.replace(with_section(site, "chute", pins="auto"), user="nobody")
    monkeypatch.setattr(machine.grp, "getgrall", list)

    assert "no group gpio" in machine.groups(nobody).seen


def test_an_unknown_system_is_a_warning_and_the_board_is_named(site):
    write(site, "/etc/os-release", 'PRETTY_NAME="Mint"\nVERSION_CODENAME=virginia\n')
    write(site, "/proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.5\0")

    found = machine.system(site)

    assert found.level is Level.WARNING
    assert "Raspberry Pi 4 Model B Rev 1.5, Mint" in found.seen


def test_a_supported_system_is_good(site):
    write(site, "/etc/os-release", 'PRETTY_NAME="Debian 13"\nVERSION_CODENAME=trixie\n')

    assert machine.system(site).level is Level.GOOD


def test_the_clock_is_a_warning_until_it_is_set(site, monkeypatch):
    assert machine.clock(site).level is Level.NOT_APPLICABLE
    site.at("/run/systemd/timesync").mkdir(parents=True)
    monkeypatch.setattr(machine, "clock_synced", lambda: False)
    assert machine.clock(site).level is Level.WARNING
    monkeypatch.setattr(machine, "clock_synced", lambda: True)
    assert machine.clock(site).level is Level.GOOD
    monkeypatch.setattr(machine.time, "time", lambda: 0.0)
    assert machine.clock(site).level is Level.FAULT


@pytest.mark.parametrize(
    ("free_mb", "level"), [(5000, Level.GOOD), (300, Level.WARNING), (50, Level.FAULT)]
)
def test_a_disk_is_reported_before_it_is_full(site, monkeypatch, free_mb, level):
    monkeypatch.setattr(health, "disk_free_mb", lambda folder: free_mb)

    assert machine.disk(site).level is level


def test_a_state_folder_of_another_user_is_a_fault(site):
    site.state.mkdir(mode=0o750)
    other = dataclasses.replace(site, user="nobody")

    found = machine.disk(other)

    assert found.level is Level.FAULT
    assert f"nobody may not write to {site.state}" in found.seen


@pytest.mark.parametrize(
    ("bits", "level"),
    [
        (None, Level.NOT_APPLICABLE),
        (0, Level.GOOD),
        (0x10000, Level.WARNING),  # under-voltage has occurred
        (0x10001, Level.FAULT),  # and is there now
        (0x8, Level.WARNING),  # soft temperature limit
    ],
)
def test_the_supply_is_judged_by_what_the_firmware_says(site, monkeypatch, bits, level):
    monkeypatch.setattr(health, "throttle_bits", lambda: bits)

    assert machine.power(site).level is level


@pytest.mark.parametrize(
    ("found_c", "level"),
    [(None, Level.NOT_APPLICABLE), (48.0, Level.GOOD), (72.0, Level.WARNING), (84.0, Level.FAULT)],
)
def test_heat_is_reported(site, monkeypatch, found_c, level):
    monkeypatch.setattr(health, "temperature_c", lambda: found_c)

    assert machine.temperature(site).level is level


@pytest.fixture
def systemctl(site, tmp_path, monkeypatch):
    """A systemctl that shows what it is told to."""

    def show(**properties: str) -> None:
        site.at("/run/systemd/system").mkdir(parents=True, exist_ok=True)
        program = tmp_path / "bin" / "systemctl"
        program.parent.mkdir(exist_ok=True)
        lines = "\n".join(f"{key}={value}" for key, value in properties.items())
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    return show


@pytest.mark.parametrize(
    ("change", "level", "mend"),
    [
        ({}, Level.GOOD, ""),
        ({"LoadState": "not-found"}, Level.NOT_APPLICABLE, ""),
        ({"ActiveState": "failed"}, Level.FAULT, "journalctl -u bin-daemon"),
        ({"ActiveState": "inactive"}, Level.WARNING, "systemctl enable --now"),
        ({"UnitFileState": "disabled"}, Level.WARNING, "systemctl enable bin-daemon"),
        ({"WatchdogUSec": "0"}, Level.WARNING, "WatchdogSec=30"),
        ({"NRestarts": "3"}, Level.WARNING, "journalctl"),
    ],
)
def test_the_service_is_judged_by_what_systemd_shows(site, systemctl, change, level, mend):
    usual = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}
    systemctl(**{**usual, "WatchdogUSec": "30s", "NRestarts": "0", **change})

    found = machine.service(site)

    assert found.level is level
    assert mend in found.remedy


def test_without_systemd_there_is_no_service_to_check(site):
    assert machine.service(site).level is Level.NOT_APPLICABLE


def test_a_board_whose_watchdog_is_off_is_reported(site, systemctl):
    systemctl(RuntimeWatchdogUSec="0")
    assert machine.board_watchdog(site).level is Level.NOT_APPLICABLE
    write(site, "/proc/cpuinfo", "processor : 0\nModel\t\t: Raspberry Pi 5 Model B\n")
    assert machine.board_watchdog(site).level is Level.WARNING
    systemctl(RuntimeWatchdogUSec="14s")
    assert machine.board_watchdog(site).level is Level.GOOD


def test_the_folder_of_lgpio_must_be_writable(site, tmp_path, monkeypatch):
    assert machine.runtime_folder(site).level is Level.NOT_APPLICABLE
    real = with_section(site, "chute", pins="pca9685")  # lgpio serves the sensors all the same
    monkeypatch.delenv("LG_WD", raising=False)
    assert machine.runtime_folder(real).level is Level.GOOD
    running = dataclasses.replace(real, running=True)
    assert machine.runtime_folder(running).level is Level.FAULT
    monkeypatch.setenv("LG_WD", str(tmp_path / "nowhere"))
    assert machine.runtime_folder(running).remedy == "unset LG_WD"


def test_a_bin_without_broker_has_none_to_check(site):
    alone = dataclasses.replace(site, config=dataclasses.replace(DESK, mqtt=None))

    assert software.broker(alone).level is Level.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("mqtt", "words"),
    [
        (MqttSection(host="no-such-host.invalid"), "name cannot be resolved"),
        (MqttSection(host="127.0.0.1", port=1), "refused"),
        (
            MqttSection(host="127.0.0.1", username="x", password_file=Path("/nowhere")),
            "mqtt.password_file",
        ),
    ],
)
def test_what_keeps_it_from_the_broker_is_reported(site, mqtt, words):
    away = dataclasses.replace(site, config=dataclasses.replace(DESK, mqtt=mqtt))

    found = software.broker(away)

    assert found.level is Level.FAULT
    assert words in found.seen


def test_importing_the_doctor_loads_no_heavy_library():
    import subprocess
    import sys

    heavy = "('cv2', 'gpiozero', 'pydantic', 'paho', 'rich', 'yaml')"
    code = f"import sys, bin_daemon.doctor; sys.exit(any(m in sys.modules for m in {heavy}))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
