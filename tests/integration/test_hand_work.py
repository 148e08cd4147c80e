"""Calibrating and testing by hand, in a real pseudo-terminal on simulated pins."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from terminal import Terminal

from bin_daemon.config.load import load_config
from bin_daemon.core import paths

PROFILE = (paths.profiles() / "simulator.yaml").read_text()
FASTER = PROFILE.replace("speed_deg_s: 240", "speed_deg_s: 1000")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "my bin.yaml"
    path.write_text(FASTER)
    path.chmod(0o640)
    return path


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: object) -> Terminal:
        opened.append(Terminal(*map(str, arguments), state=tmp_path / "state"))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_a_pose_is_found_by_hand_and_written_without_touching_anything_else(terminal, config):
    screen = terminal("calibrate", "disc", "--config", config)
    screen.wait_for("disc will JUMP to 20 deg")
    screen.press(" ")
    screen.wait_for("pulses on: disc goes to 20")
    screen.press("2")
    screen.wait_for("65.0 deg")
    screen.press("\x1b[A\x1b[A-k")
    screen.wait_for("67.5 deg")
    screen.press("s\r")
    screen.wait_for("stored: paper is 67.5")
    screen.press("q")
    screen.wait_for("+    paper:      { disc: 67.5 }")
    screen.wait_for("[y/N]")
    screen.press("y\n")

    assert screen.end() == 0
    assert config.read_text() == FASTER.replace("{ disc: 65 }", "{ disc: 67.5 }")
    assert config.stat().st_mode & 0o777 == 0o640
    assert load_config(config).chute.poses["paper"] == {"disc": 67.5}
    assert screen.settings == screen.before


def test_a_new_pose_is_asked_for_its_name_and_nothing_is_written_against_the_will(terminal, config):
    screen = terminal("calibrate", "--config", config)
    screen.wait_for("any key")
    screen.press(" k")
    screen.wait_for("21.0 deg")
    screen.press("swide\r")
    screen.wait_for("stored: wide is 21")
    screen.press("q")
    screen.wait_for("+    wide:       { disc: 21 }")
    screen.wait_for("[y/N]")
    screen.press("n\n")

    assert screen.end() == 1
    assert config.read_text() == FASTER


@pytest.mark.parametrize(
    ("how", "code"), [("\x03", 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interrupted_calibration_restores_the_terminal_and_tells_what_is_not_written(
    terminal, config, how, code
):
    screen = terminal("calibrate", "--config", config)
    screen.wait_for("any key")
    screen.press(" ks\r")
    screen.wait_for("stored: home is 21")
    if isinstance(how, str):
        screen.press(how)
    else:
        screen.process.send_signal(how)

    assert screen.end() == code
    assert "chute.poses.home.disc: 21" in screen.said
    assert screen.settings == screen.before
    assert config.read_text() == FASTER


def test_nothing_is_moved_while_the_daemon_runs(terminal, config, tmp_path):
    (tmp_path / "state").mkdir()
    with (tmp_path / "state" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in ("calibrate", "servo-test", "sensor-test"):
            screen = terminal(command, "--config", config)
            assert screen.end() == 1
            assert "sudo systemctl stop bin-daemon" in screen.said.replace("\r\n", " ")


def test_a_shipped_profile_is_not_calibrated(terminal):
    screen = terminal("calibrate", "--config", "simulator")

    assert screen.end() == 2
    assert "copy it" in screen.said


def test_calibration_needs_a_terminal(config):
    done = command("calibrate", "--config", config)

    assert done.returncode == 2
    assert "needs a terminal" in done.stderr


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bin_daemon", *map(str, arguments)],
        capture_output=True, text=True, timeout=300, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_servo_test_plays_the_poses_of_one_servo_and_ends_silent_at_home(config, tmp_path):
    config.write_text(FASTER.replace("  servos:", "  homing_speed: 1\n  servos:"))

    done = command("servo-test", "trapdoor", "--config", config, "--state", tmp_path)

    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[0] == "trapdoor: GPIO 13, simulated"
    assert [line.split()[0] for line in lines[1:-1]] == ["home", "open", "shut", "home"]
    assert lines[2].split()[1:] == ["100.0", "deg", "1556", "us"]
    assert lines[-1] == "silent"


def test_a_servo_that_there_is_not_is_reported(config, tmp_path):
    done = command("servo-test", "flap", "--config", config, "--state", tmp_path)

    assert done.returncode == 2
    assert "no servo 'flap'; chute.servos has disc, trapdoor" in done.stderr


def test_ctrl_c_ends_a_servo_test_at_once(terminal, config):
    screen = terminal("servo-test", "--sweep", "--config", config)
    screen.wait_for("sweep")
    screen.press("\x03")

    assert screen.end() == 130


def test_the_sensor_test_prints_what_each_sensor_says(config, tmp_path):
    done = command(
        "sensor-test", "--config", config, "--state", tmp_path, "--seconds", 0.3, "--json"
    )

    said = {line["sensor"]: line["says"] for line in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, done.stderr
    assert said["lid"] == "shut"
    assert said["full.paper"] == "not full"


def test_the_sensor_test_shows_a_table_in_a_terminal_until_ctrl_c(terminal, config):
    screen = terminal("sensor-test", "--config", config)
    screen.wait_for("full.residual")
    screen.press("\x03")

    assert screen.end() == 0


def test_the_doctor_answers_for_people_and_for_programs(tmp_path):
    path = tmp_path / "bin.yaml"
    path.write_text(PROFILE[: PROFILE.index("mqtt:")])  # no broker: nothing to fail on a desk

    for_people = command("doctor", "--config", path, "--state", tmp_path)
    for_programs = command("doctor", "--config", path, "--state", tmp_path, "--json")

    assert for_people.returncode == 0, for_people.stdout
    assert "good     camera          replay 'reel': 640x480" in for_people.stdout
    found = json.loads(for_programs.stdout)
    assert found["good"] is True
    assert found["checks"]["broker"] == {
        "level": "n/a", "seen": "no broker is configured", "mend": ""
    }  # fmt: skip


def test_the_doctor_ends_with_1_where_something_is_a_fault(tmp_path):
    path = tmp_path / "bin.yaml"
    path.write_text(PROFILE.replace("pins: mock", "pins: mock\n  colour: red"))

    done = command("doctor", "--config", path, "--state", tmp_path)

    assert done.returncode == 1
    assert "chute.colour: unknown key" in done.stdout
    assert "remedy" in done.stdout


def test_the_check_of_a_configuration_names_every_pin():
    said = command("check-config", "simulator").stdout

    assert "servos  disc on GPIO 12, trapdoor on GPIO 13 (mock)" in said
    assert "sensors lid on GPIO 5, full.paper on GPIO 16" in said
    assert "outputs none" in said


def test_an_older_file_is_migrated_and_the_old_one_kept(tmp_path):
    path = tmp_path / "bin.yaml"
    old = (paths.profiles() / "flap.yaml").read_text()
    old = old.replace("version: 2", "version: 1").replace("pins: auto", "pins: lgpio")
    path.write_text(old)

    done = command("check-config", "--migrate", path, "--yes")

    assert done.returncode == 0, done.stderr
    assert path.read_text() == (paths.profiles() / "flap.yaml").read_text()
    assert (tmp_path / "bin.yaml.v1").read_text() == old
    again = command("check-config", "--migrate", path)
    assert (again.returncode, "nothing to do" in again.stdout) == (0, True)


def test_a_migration_is_not_written_without_a_yes(tmp_path):
    path = tmp_path / "bin.yaml"
    path.write_text(PROFILE.replace("version: 2", "version: 1"))

    done = command("check-config", "--migrate", path)

    assert done.returncode == 2
    assert "give --yes" in done.stderr
    assert "+version: 2" in done.stdout
    assert os.listdir(tmp_path) == ["bin.yaml"]
