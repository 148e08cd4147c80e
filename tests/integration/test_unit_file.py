"""The shipped unit and its company, judged by systemd's own tools.

Needs systemd's tools (Debian: apt-get install systemd); skipped where they are missing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bin_daemon.config.load import load_config
from bin_daemon.core import paths
from bin_daemon.daemon.watchdog import longest_pass_s

SHIPPED = Path(__file__).parents[2] / "systemd"
MOST_EXPOSURE = 2.0
PI_WATCHDOG_S = 15


def run(tool: str, *arguments: object) -> str:
    """What one of systemd's tools says; skips where it is missing, fails where it does."""
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"needs {tool}")
    done = subprocess.run(
        [path, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def settings(name: str) -> dict[str, str]:
    """The last value of every key of a shipped file."""
    pairs = re.findall(r"^(\w+)=(.*)$", (SHIPPED / name).read_text(), re.MULTILINE)
    return dict(pairs)


@pytest.fixture
def root(tmp_path):
    """A root file system with the program, the unit and what the unit refers to."""
    (tmp_path / "usr/bin").mkdir(parents=True)
    program = tmp_path / "usr/bin/bin-daemon"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    shutil.copy(SHIPPED / "bin-daemon.service", units)
    for target in ("sysinit", "basic", "network", "multi-user", "shutdown"):
        (units / f"{target}.target").write_text(f"[Unit]\nDescription={target}\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/group").write_text("root:x:0:\nvideo:x:44:\n")
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    return tmp_path


def test_the_unit_is_valid(root):
    assert (
        run("systemd-analyze", "verify", "--man=no", f"--root={root}", "bin-daemon.service") == ""
    )


def test_a_mistake_in_the_unit_would_be_found(root):
    unit = root / "usr/lib/systemd/system/bin-daemon.service"
    unit.write_text(unit.read_text().replace("ProtectClock=yes", "ProtectKlock=yes"))
    found = run("systemd-analyze", "verify", "--man=no", f"--root={root}", "bin-daemon.service")
    assert "ProtectKlock" in found


def test_the_unit_is_little_exposed(root):
    found = run(
        "systemd-analyze", "security", "--offline=true", "--no-pager", f"--root={root}",
        "bin-daemon.service",
    )  # fmt: skip
    (exposure,) = re.findall(r"exposure level for bin-daemon.service: ([\d.]+)", found)
    assert float(exposure) <= MOST_EXPOSURE


def test_the_watchdog_waits_longer_than_the_longest_pass_of_the_profiles():
    waits_s = float(settings("bin-daemon.service")["WatchdogSec"])
    for profile in paths.profiles().glob("*.yaml"):
        assert longest_pass_s(load_config(profile).camera) < waits_s, profile


def test_the_user_is_made_with_its_groups(root):
    run("systemd-sysusers", f"--root={root}", SHIPPED / "sysusers.d/bin-daemon.conf")
    lines = (root / "etc/group").read_text().splitlines()
    groups = {line.split(":")[0]: line.split(":")[3] for line in lines}
    assert {name for name, members in groups.items() if "bin-daemon" in members.split(",")} == {
        "video", "gpio", "i2c",
    }  # fmt: skip
    unit = settings("bin-daemon.service")
    assert unit["User"] in (root / "etc/passwd").read_text()
    assert set(unit["SupplementaryGroups"].split()) <= set(groups)


def test_the_configuration_is_for_root_and_the_daemon_alone(root):
    run("systemd-sysusers", f"--root={root}", SHIPPED / "sysusers.d/bin-daemon.conf")
    (root / "etc/bin-daemon").mkdir()
    config = root / "etc/bin-daemon/config.yaml"
    config.write_text("")
    if config.owner() != "root":
        pytest.skip("needs root: it changes owners")
    run("systemd-tmpfiles", "--create", f"--root={root}", SHIPPED / "tmpfiles.d/bin-daemon.conf")
    assert config.stat().st_mode & 0o777 == 0o640
    assert config.parent.stat().st_mode & 0o777 == 0o750


def test_the_hardware_watchdog_is_one_that_a_pi_has():
    seconds = float(settings("system.conf.d/bin-daemon-watchdog.conf")["RuntimeWatchdogSec"])
    assert seconds < PI_WATCHDOG_S


def test_the_udev_rules_are_valid():
    if "verify" not in run("udevadm", "--help"):
        pytest.skip("needs udevadm verify (systemd 254)")
    run("udevadm", "verify", SHIPPED / "udev/60-bin-daemon.rules")
