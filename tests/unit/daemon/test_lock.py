"""Who may touch the devices: the daemon or a person, told by the daemon's lock."""

import fcntl
import os

import pytest

from bin_daemon.cli import main
from bin_daemon.core.errors import AlreadyRunningError
from bin_daemon.daemon import lock
from bin_daemon.daemon.lock import devices_to_oneself, in_use


@pytest.fixture
def daemon(tmp_path):
    """Holds the lock as the daemon does."""
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield tmp_path


def test_a_folder_whose_lock_is_held_is_in_use(daemon):
    assert in_use(daemon)


def test_a_folder_without_a_lock_or_with_one_that_nobody_holds_is_free(tmp_path):
    assert not in_use(tmp_path)
    (tmp_path / "lock").touch()
    assert not in_use(tmp_path)
    assert not in_use(tmp_path / "nowhere")


def test_a_command_is_refused_while_the_daemon_runs_with_what_to_do(daemon):
    with (
        pytest.raises(AlreadyRunningError, match="sudo systemctl stop bin-daemon"),
        devices_to_oneself([daemon]),
    ):
        pass


def test_a_command_keeps_the_daemon_out_and_lets_it_in_again(tmp_path):
    (tmp_path / "lock").touch()
    with devices_to_oneself([tmp_path]):
        assert in_use(tmp_path)
    assert not in_use(tmp_path)


def test_a_command_makes_no_lock_that_the_daemon_could_not_take(tmp_path):
    with devices_to_oneself([tmp_path, tmp_path / "nowhere"]):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("active", [True, False])
def test_systemd_is_asked_whether_the_service_runs(tmp_path, monkeypatch, active):
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\nexit {0 if active else 3}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert lock.unit_active() is active


def test_silencing_leaves_a_daemon_that_runs_alone_and_says_so(daemon, monkeypatch, capsys):
    monkeypatch.setattr(
        "bin_daemon.daemon.degraded.silence_all", lambda config: pytest.fail("it was silenced")
    )

    assert main(["silence", "--config", "simulator", "--state", str(daemon)]) == 0

    assert "bin-daemon: silence: the daemon is running" in capsys.readouterr().err
