"""Files that are written whole or not at all."""

import os
import stat

import pytest

from bin_daemon.core.files import READABLE, write_whole


@pytest.mark.parametrize("synced", [True, False])
def test_a_file_is_replaced_and_nothing_lies_beside_it(tmp_path, synced):
    path = tmp_path / "kept"
    path.write_text("old")

    write_whole(path, b"new", synced=synced)

    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["kept"]


def test_a_new_file_is_its_owners_alone_or_takes_the_mode_of_another(tmp_path):
    like = tmp_path / "like"
    like.touch()
    like.chmod(0o644)

    write_whole(tmp_path / "own", b"")
    write_whole(tmp_path / "other", b"", like=like.stat())
    write_whole(tmp_path / "shared", b"", mode=READABLE)

    names = ("own", "other", "shared")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names]
    (tmp_path / "plain").touch()
    assert modes == [0o600, 0o644, stat.S_IMODE((tmp_path / "plain").stat().st_mode)]


def test_what_a_crash_left_is_no_hindrance_and_a_link_leads_nowhere(tmp_path):
    (tmp_path / "victim").write_text("whole")
    (tmp_path / ".kept.new").symlink_to("victim")

    write_whole(tmp_path / "kept", b"new")

    assert sorted(os.listdir(tmp_path)) == ["kept", "victim"]
    assert (tmp_path / "victim").read_text() == "whole"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_the_former_file_stays_where_a_step_fails(tmp_path, monkeypatch, step):
    path = tmp_path / "kept"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")

    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["kept"]
