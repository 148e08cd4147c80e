"""Where things are: beside the code in a checkout, under the prefix when installed, or as told."""

import sys
from pathlib import Path

import pytest

from bin_daemon.core import paths


def test_in_a_checkout_the_shipped_files_lie_beside_the_package(monkeypatch):
    monkeypatch.delenv("BIN_DAEMON_SHARE", raising=False)
    assert (paths.models() / "waste6" / "manifest.json").is_file()
    assert (paths.profiles() / "simulator.yaml").is_file()
    assert (paths.reel() / "script.yaml").is_file()


def test_installed_they_lie_under_the_prefix(monkeypatch, tmp_path):
    monkeypatch.delenv("BIN_DAEMON_SHARE", raising=False)
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "bin_daemon" / "core" / "paths.py"))
    assert paths.share() == Path(sys.prefix) / "share" / "bin-daemon"


def test_the_environment_overrules_both(monkeypatch, tmp_path):
    monkeypatch.setenv("BIN_DAEMON_SHARE", str(tmp_path))
    assert paths.models() == tmp_path / "models"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/bin-daemon:/other"}, "/var/lib/bin-daemon"),
        ({"XDG_STATE_HOME": "/home/x/state"}, "/home/x/state/bin-daemon"),
        ({"HOME": "/home/x"}, "/home/x/.local/state/bin-daemon"),
    ],
)
def test_a_bin_writes_where_systemd_or_the_user_says(monkeypatch, environment, expected):
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert paths.state() == Path(expected)
