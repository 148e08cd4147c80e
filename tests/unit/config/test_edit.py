"""Changing single values of a configuration: comments, order, columns and quotes stay."""

import os
import stat

import pytest
import yaml

from bin_daemon.config.edit import difference, edited, migration, replace, writable
from bin_daemon.config.load import parse, read
from bin_daemon.config.migrate import migrated
from bin_daemon.core import paths
from bin_daemon.core.errors import ConfigError, UsageError

TEXT = """\
# the bin in the kitchen
version: 2
bin: {id: "kitchen-1"}        # quoted on purpose
camera: {kind: 'replay', source: reel}
chute:
  pins: mock
  servos:
    flap: { pin: 18, min_angle_deg: -60, max_angle_deg: 60 }
    door: { pin: 19 }
  poses:                      # degrees
    home:   { flap: 0, door: 0 }    # where it rests
    left:   { flap: -45 }     # five short of the stop
    # the last one
    right:
      flap: 45                # block style
  # what follows the poses
  homing: auto
routes:
  paper: {takes: [paper, cardboard], steps: [{pose: left, hold_s: 0.5}]}
  residual: {takes: [trash], steps: [{pose: right}]}
"""


def changed_lines(new: str, old: str = TEXT) -> list[str]:
    lines = difference(old, new, "x").splitlines()[2:]
    return [line for line in lines if line[0] in "+-"]


def test_one_angle_changes_one_line_and_keeps_its_comment():
    new = edited(TEXT, "x", {("chute", "poses", "left", "flap"): -40.5})

    assert changed_lines(new) == [
        "-    left:   { flap: -45 }     # five short of the stop",
        "+    left:   { flap: -40.5 }     # five short of the stop",
    ]


def test_an_angle_in_block_style_is_changed_in_its_place():
    new = edited(TEXT, "x", {("chute", "poses", "right", "flap"): 50})

    assert "      flap: 50                # block style\n" in new
    assert len(changed_lines(new)) == 2


def test_a_new_pose_comes_after_the_last_one_before_what_follows():
    new = edited(TEXT, "x", {("chute", "poses", "wide", "flap"): 60})

    assert "block style\n    wide: {flap: 60}\n  # what follows" in new
    assert len(changed_lines(new)) == 1


def test_a_new_pose_takes_the_columns_and_braces_of_its_neighbour():
    text = TEXT.replace("    right:\n      flap: 45", "    right:  { flap: 45 }")

    new = edited(text, "x", {("chute", "poses", "wide", "flap"): 60})

    assert "\n    wide:   { flap: 60 }\n  # what follows" in new


def test_a_servo_is_added_to_a_pose_that_did_not_name_it():
    new = edited(TEXT, "x", {("chute", "poses", "left", "door"): 10})

    assert "    left:   { flap: -45, door: 10 }     # five" in new


def test_a_pose_is_added_where_all_poses_stand_on_one_line():
    text = (
        TEXT[: TEXT.index("  poses:")]
        + ("  poses: {home: {flap: 0, door: 0}, left: {flap: -45}, right: {flap: 45}}\n")
        + TEXT[TEXT.index("routes:") :]
    )

    new = edited(text, "x", {("chute", "poses", "wide", "flap"): 60})

    assert "right: {flap: 45}, wide: {flap: 60}}\n" in new


def test_a_name_that_yaml_would_take_for_something_else_is_quoted():
    new = edited(TEXT, "x", {("chute", "poses", "off", "flap"): 1})

    assert parse(new, "x").chute.poses["off"] == {"flap": 1}


def test_the_ends_of_lines_and_a_missing_last_one_are_kept():
    text = "\r\n".join(TEXT.splitlines())

    new = edited(text, "x", {("chute", "poses", "wide", "flap"): 60})

    assert new.count("\r\n") == new.count("\n") == text.count("\n") + 1


def test_a_change_that_breaks_the_rules_is_refused_with_its_line():
    with pytest.raises(ConfigError, match=r"x:12: chute\.poses\.left\.flap: -80 is outside"):
        edited(TEXT, "x", {("chute", "poses", "left", "flap"): -80})


def test_an_anchor_that_would_carry_the_change_elsewhere_is_left_to_the_person():
    text = TEXT.replace("{ flap: -45 }", "&l { flap: -45 }").replace(
        "    right:\n      flap: 45 ", "    right: *l #"
    )

    with pytest.raises(ConfigError, match=r"chute\.poses\.right\.flap: too interwoven"):
        edited(text, "x", {("chute", "poses", "right", "flap"): 50})


@pytest.mark.parametrize("quotes", ["", "'", '"'])
def test_a_file_of_version_1_becomes_exactly_what_the_daemon_reads_it_as(quotes):
    old = TEXT.replace("version: 2", "version: 1").replace(
        "pins: mock", f"pins: {quotes}lgpio{quotes}  # ours"
    )

    changes = migration(old, "x")
    new = edited(old, "x", changes)

    assert changes == {("version",): 2, ("chute", "pins"): "auto"}
    assert yaml.safe_load(new) == migrated(yaml.safe_load(old))
    assert f"pins: {quotes}auto{quotes}  # ours" in new
    assert len(changed_lines(new, old)) == 4


def test_a_file_of_the_present_version_needs_no_change():
    assert migration(TEXT, "x") == {}


def test_a_file_without_a_version_cannot_be_migrated():
    with pytest.raises(ConfigError, match="version: is needed"):
        migration(TEXT.replace("version: 2", ""), "x")


def test_every_shipped_profile_can_be_calibrated_by_changing_one_line():
    for path in paths.profiles().glob("*.yaml"):
        text = read(path)
        config = parse(text, path.name)
        pose, angles = list(config.chute.poses.items())[-1]
        servo, angle = next(iter(angles.items()))
        new = edited(text, path.name, {("chute", "poses", pose, servo): angle + 1})
        assert len(changed_lines(new, text)) == 2


def test_a_replaced_file_keeps_its_mode_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "bin.yaml"
    path.write_text("old")
    path.chmod(0o640)

    replace(path, "new\r\n")

    assert path.read_bytes() == b"new\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["bin.yaml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_replaced_file_keeps_its_owner(tmp_path):
    path = tmp_path / "bin.yaml"
    path.write_text("old")
    os.chown(path, 1234, 4321)

    replace(path, "new")

    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)


def test_what_cannot_be_written_is_reported_and_the_old_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "bin.yaml"
    path.write_text("old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        replace(path, "new")

    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["bin.yaml"]


def test_a_linked_file_is_changed_where_it_lies(tmp_path):
    (tmp_path / "real.yaml").write_text("old")
    (tmp_path / "link.yaml").symlink_to("real.yaml")

    assert writable(tmp_path / "link.yaml") == (tmp_path / "real.yaml").resolve()


def test_a_shipped_profile_is_not_changed_but_copied():
    with pytest.raises(UsageError, match="copy it"):
        writable(paths.profiles() / "simulator.yaml")
