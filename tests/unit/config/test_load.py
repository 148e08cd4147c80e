"""The configuration: every mistake at once, each with its line and its cure."""

import dataclasses
from pathlib import Path

import pytest

from bin_daemon.config.load import digest, find_config, load_config, schema
from bin_daemon.config.sections import PASSWORD_VARIABLE
from bin_daemon.core.errors import ConfigError

GOOD = """\
version: 2
bin: {id: kitchen-1}
camera: {kind: replay, source: reel}
chute:
  pins: mock
  servos:
    flap: {pin: 18, min_angle_deg: -60, max_angle_deg: 60}
  poses:
    home: {flap: 0}
    left: {flap: -45}
    right: {flap: 45}
routes:
  paper:
    takes: [paper, cardboard]
    steps: [{pose: left, hold_s: 0.5}]
  residual:
    takes: [trash]
    steps: [{pose: right, hold_s: 0.5}]
mqtt:
  host: broker.example
  username: bin
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "bin.yaml"
        path.write_text(text)
        return path

    return write


def mistakes(path: Path) -> list[str]:
    """The lines of the error, without the folder."""
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return [line.replace(f"{path}:", "") for line in str(caught.value).splitlines()]


def test_a_good_file_gives_a_frozen_config(write):
    config = load_config(write(GOOD))
    assert config.bin.id == "kitchen-1"
    assert config.chute.servos["flap"].pin == 18
    assert config.decision.looks == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.bin.id = "other"


def test_all_mistakes_are_reported_at_once_each_with_its_line(write):
    text = GOOD.replace("pin: 18", "pin: 99").replace("host:", "hots:").replace("version: 2", "")
    found = mistakes(write(text))
    assert len(found) == 4
    assert any(line.startswith("1: version: is needed") for line in found)
    assert any(line.startswith("7: chute.servos.flap.pin: ") and "99" in line for line in found)
    assert any("20: mqtt.hots: unknown key; did you mean 'host'?" in line for line in found)
    assert any("mqtt.host: is needed" in line for line in found)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("pose: left", "pose: up"), "15: routes.paper.steps.0.pose: no pose 'up'"),
        (("takes: [trash]", "takes: [paper]"), "17: routes.residual.takes: 'paper' is already"),
        (("flap: -45", "flap: -80"), "10: chute.poses.left.flap: -80 is outside -60 to 60"),
        (("home:", "rest:"), "8: chute.poses: a pose named 'home' is needed"),
        (("flap: 0", ""), "9: chute.poses.home: no angle for flap; every servo must rest"),
        (("flap: 0", "door: 0"), "9: chute.poses.home.door: no such servo"),
        (("residual:", "rest:"), "decision.residual: no route 'residual'; routes has paper, rest"),
        (("pin: 18", "pin: 14"), "7: chute.servos.flap.pin: GPIO 14 serves the serial console"),
    ],
)
def test_parts_that_do_not_fit_together_are_reported(write, change, line):
    assert any(line in found for found in mistakes(write(GOOD.replace(*change))))


def test_what_does_not_fit_is_reported_beside_what_is_wrong_by_itself(write):
    text = GOOD.replace("pose: left", "pose: up") + "camra: {}\n"
    found = mistakes(write(text))
    assert any("camra: unknown key; did you mean 'camera'?" in line for line in found)
    assert any("routes.paper.steps.0.pose: no pose 'up'" in line for line in found)


def test_a_password_without_a_name_is_reported(write, tmp_path):
    text = GOOD.replace("username: bin", f"password_file: {tmp_path}/secret")
    assert "a password goes with a username" in mistakes(write(text))[0]


def test_a_name_that_no_disk_takes_is_reported():
    with pytest.raises(ConfigError, match="cannot read it"):
        load_config("x" * 300)


def test_a_pin_used_twice_is_reported_with_its_other_user(write):
    text = GOOD + "sensors:\n  lid: {pin: 18}\n"
    assert mistakes(write(text)) == [
        "23: sensors.lid.pin: GPIO 18 is already used by chute.servos.flap.pin"
    ]


@pytest.mark.parametrize(
    "lines",
    [
        "outputs:\n  buzzer: {pin: 18}\n",
        "sensors:\n  fill:\n    residual: {trigger: 18, echo: 24, empty_cm: 60, full_cm: 10}\n",
    ],
)
def test_outputs_and_fill_sensors_have_pins_of_their_own_too(write, lines):
    assert "GPIO 18 is already used by chute.servos.flap.pin" in mistakes(write(GOOD + lines))[0]


def test_a_level_may_not_go_stale_while_the_sensors_take_turns(write):
    sensor = "{trigger: 23, echo: 24, empty_cm: 60, full_cm: 10, interval_s: 5, stale_s: 6}"
    text = GOOD + f"sensors:\n  fill:\n    residual: {sensor}\n"
    (told,) = mistakes(write(text))
    assert "sensors.fill.residual.stale_s: at least 7 s" in told


def test_a_reserved_pin_can_be_set_free(write):
    text = GOOD.replace("pin: 18", "pin: 14") + "free_pins: [14]\n"
    assert load_config(write(text)).chute.servos["flap"].pin == 14


def test_a_key_that_stands_twice_is_reported(write):
    found = mistakes(write(GOOD + "version: 1\n"))
    assert found == ["22: version: stands twice; the first is in line 1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1, 2", "2: not valid YAML"),
        ("- 1\n- 2\n", "1: must be a mapping"),
        ("", "1: must be a mapping"),
        ("a: 2026-99-99\n", "not valid YAML"),
        ("&x [*x]\n", "1: must be a mapping"),
        ("!!python/object:os.system {}\n", "1: not valid YAML"),
    ],
)
def test_what_is_no_configuration_is_refused_with_a_line(write, text, words):
    assert words in mistakes(write(text))[0]


def test_what_is_no_text_is_refused(tmp_path):
    path = tmp_path / "bin.yaml"
    path.write_bytes(b"\xff\xfe\x00version")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(path)


def test_a_missing_file_names_the_shipped_profiles():
    with pytest.raises(ConfigError, match="no such file; shipped profiles: .*simulator"):
        load_config("nowhere.yaml")


def test_a_shipped_profile_is_found_by_its_bare_name():
    assert find_config("simulator").name == "simulator.yaml"


def test_the_password_comes_from_its_file_or_the_environment(write, tmp_path, monkeypatch):
    mqtt = load_config(write(GOOD)).mqtt
    assert mqtt.password() is None
    monkeypatch.setenv(PASSWORD_VARIABLE, "from outside")
    assert mqtt.password() == "from outside"
    (tmp_path / "secret").write_text("from file\n")
    text = GOOD + f"  password_file: {tmp_path / 'secret'}\n"
    assert load_config(write(text)).mqtt.password() == "from file"


def test_a_password_in_the_file_is_refused_without_being_printed(write):
    found = mistakes(write(GOOD + "  password: hunter2\n"))
    assert "unknown key; did you mean 'password_file'?" in found[0]
    assert "hunter2" not in " ".join(found)


def test_an_unreadable_password_file_is_reported(write):
    mqtt = load_config(write(GOOD + "  password_file: /nowhere/at/all\n")).mqtt
    with pytest.raises(ConfigError, match="mqtt.password_file"):
        mqtt.password()


def test_the_digest_changes_with_the_configuration(write):
    one = digest(load_config(write(GOOD)))
    assert one == digest(load_config(write(GOOD + "# a comment\n")))
    assert one != digest(load_config(write(GOOD.replace("pin: 18", "pin: 19"))))


def test_every_field_of_the_top_sections_is_described_or_speaks_for_itself():
    found = schema()
    assert found["additionalProperties"] is False
    assert "description" in found["$defs"]["CameraSection"]["properties"]["deadline_s"]


def test_a_file_of_version_1_is_read_with_its_old_meaning(write):
    old = GOOD.replace("version: 2", "version: 1").replace("pins: mock", "pins: lgpio")
    assert load_config(write(old)).chute.pins == "auto"


def test_a_file_of_the_future_is_refused_with_the_cure(write):
    with pytest.raises(ConfigError, match=r"version: 3 is newer than this bin-daemon.*upgrade"):
        load_config(write(GOOD.replace("version: 2", "version: 3")))


@pytest.mark.parametrize("version", ["0", "-1", "true", "'2'", "[2]", "1.0"])
def test_a_version_that_is_none_is_a_mistake_with_its_line(write, version):
    assert any(
        "version" in m for m in mistakes(write(GOOD.replace("version: 2", f"version: {version}")))
    )


def test_servos_on_a_board_have_channels_of_their_own_and_leave_the_bus_alone(write):
    board = GOOD.replace("pins: mock", "pins: pca9685")
    assert any("channels 0 to 15, not 18" in m for m in mistakes(write(board)))
    good = board.replace("pin: 18", "pin: 3")
    assert load_config(write(good)).chute.servos["flap"].pin == 3
    assert any(
        "GPIO 2 is already used" in m
        for m in mistakes(write(good + "sensors: {lid: {pin: 2}}\nfree_pins: [2]\n"))
    )
