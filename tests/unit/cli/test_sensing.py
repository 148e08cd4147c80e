"""What the sensor test says of readings, and that it switches the outputs on and off again."""

import pytest

from bin_daemon.cli import main, sensing
from bin_daemon.cli.sensing import words_of
from bin_daemon.config.hardware import Input, SensorSection, Ultrasonic
from bin_daemon.core import paths
from bin_daemon.core.messages import Readings

ALL = SensorSection(
    lid=Input(pin=5),
    beam=Input(pin=6),
    metal=Input(pin=7),
    full={"paper": Input(pin=8)},
    fill={"glass": Ultrasonic(trigger=20, echo=21, empty_cm=60, full_cm=10)},
)


def test_every_sensor_says_what_it_sees():
    readings = Readings(True, True, True, {"paper": 100.0, "glass": 40.0})

    assert words_of(ALL, readings) == {
        "lid": "open",
        "beam": "broken",
        "metal": "metal",
        "fill.glass": "40 percent (40 cm about)",
        "full.paper": "full",
    }


def test_sensors_at_rest_say_so():
    assert words_of(ALL, Readings(metal=False)) == {
        "lid": "shut",
        "beam": "free",
        "metal": "none",
        "fill.glass": "no echo yet",
        "full.paper": "not full",
    }


@pytest.mark.parametrize(
    ("readings", "words"),
    [
        (Readings(fill_percent={"glass": 0.0}), "0 percent (60 cm or more)"),
        (Readings(fill_percent={"glass": 100.0}), "100 percent (10 cm or less)"),
        (Readings(silent=("glass",)), "silent: no echo for too long"),
    ],
)
def test_a_level_at_its_end_or_unknown_is_reported_as_that(readings, words):
    assert words_of(ALL, readings)["fill.glass"] == words


def test_outputs_are_tried_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sensing, "_OUTPUT_S", 0.01)
    path = tmp_path / "bin.yaml"
    profile = (paths.profiles() / "simulator.yaml").read_text()
    path.write_text(profile + "outputs: {light: {pin: 22}, led: {pin: 23}, buzzer: {pin: 24}}\n")

    arguments = ["sensor-test", "--config", path, "--state", tmp_path, "--outputs"]
    assert main([*map(str, arguments), "--seconds", "0.1"]) == 0

    assert capsys.readouterr().out.splitlines()[:3] == [
        "light on (GPIO 22)",
        "status lamp on (GPIO 23)",
        "buzzer, once (GPIO 24)",
    ]
