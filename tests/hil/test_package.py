"""The Debian package in the virtual Pi: install, upgrade, remove, purge, with systemd running.

These take the machine's package apart, so they boot one of their own.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import CONFIG, STATE, UNIT, Bench
from pi import Pi

NEXT = "99.0"
OFFLINE = "export PIP_NO_INDEX=1 DEBIAN_FRONTEND=noninteractive; "
PIP_S = 400.0


@pytest.fixture(scope="module")
def other(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A machine of its own; no other test sees what happens to it."""
    work = tmp_path_factory.mktemp("package")
    work.chmod(0o755)
    with Pi(home, work) as machine:
        # Purging takes the drop-in along, as it should: it is of the package's own name.
        machine.run(
            "cp -r /etc/systemd/system/bin-daemon.service.d /root/; "
            "cp -r /var/cache/bin-daemon/wheels /root/wheels"
        )
        yield Bench(machine)


def newer(bench: Bench, place: Path) -> str:
    """The installed package with a higher version; its name in the machine."""
    deb = "root/bin-daemon.deb"
    bench.pi.run(f"cp /{deb} /hil/")
    tree, made = place / "tree", place / "newer.deb"
    subprocess.run(["dpkg-deb", "-R", str(bench.pi.work / "bin-daemon.deb"), str(tree)], check=True)
    control = tree / "DEBIAN/control"
    lines = control.read_text().splitlines()
    changed = [f"Version: {NEXT}" if line.startswith("Version:") else line for line in lines]
    control.write_text("\n".join(changed) + "\n")
    subprocess.run(["dpkg-deb", "-Znone", "-b", str(tree), str(made)], check=True)
    shutil.rmtree(tree)
    return bench.pi.put(made)


def test_an_upgrade_keeps_configuration_and_state_and_restarts_what_ran(
    other: Bench, tmp_path: Path
) -> None:
    other.start()
    event = other.sort("items/plastic_bottle")
    other.pi.run(f"echo '# mine' >> {CONFIG}")
    pid = other.pid
    other.pi.run(f"{OFFLINE} dpkg -i {newer(other, tmp_path)}", PIP_S)
    assert NEXT in other.pi.run("dpkg-query -W bin-daemon")
    assert other.pi.run(f"tail -n 1 {CONFIG}") == "# mine"
    assert other.shown("ActiveState") == "active"
    assert other.pid != pid
    told = other.pi.run(f"bin-daemon events --json --state {STATE}")
    assert event["id"] in told


def test_removing_it_keeps_what_is_the_owners(other: Bench) -> None:
    told = other.pi.run("dpkg -r bin-daemon", PIP_S)
    assert other.pi.ask(f"systemctl is-active {UNIT}")[0] != 0
    for gone in ("/opt/bin-daemon", "/usr/share/bin-daemon", "/usr/bin/bin-daemon"):
        assert other.pi.ask(f"test -e {gone}")[0] != 0, gone
    for kept in ("/etc/bin-daemon/config.yaml", f"{STATE}/events.db"):
        assert other.pi.ask(f"test -e {kept}")[0] == 0, kept
    assert "/var/lib/bin-daemon" in told  # it says what it keeps


def test_purging_it_leaves_nothing_but_what_it_names(other: Bench) -> None:
    told = other.pi.run("dpkg -P bin-daemon", PIP_S)
    left = other.pi.run(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /hil -o -path /root \\) -prune -o "
        "-name '*bin-daemon*' -print -o -name '*bin_daemon*' -print"
    )
    assert left.splitlines() == []
    assert other.pi.ask("getent passwd bin-daemon || getent group bin-daemon")[0] != 0
    assert "gpio" in told  # the groups that stay


def test_it_installs_without_a_network_and_runs(other: Bench) -> None:
    other.pi.run(
        "mkdir -p /var/cache/bin-daemon && cp -r /root/wheels /var/cache/bin-daemon/ && "
        "cp -r /root/bin-daemon.service.d /etc/systemd/system/"
    )
    other.pi.run(f"{OFFLINE} dpkg -i /root/bin-daemon.deb", PIP_S)
    other.pi.run(
        "cp /usr/share/doc/bin-daemon/examples/flap.yaml /etc/bin-daemon/config.yaml && "
        "sed -i 's/kind: opencv/kind: picamera2/; s/pins: auto/pins: lgpio/' "
        "/etc/bin-daemon/config.yaml && systemd-tmpfiles --create"
    )
    other.stall(False)
    other.show("empty")
    other.pi.run(f"systemctl start {UNIT}", 100)
    assert other.shown("ActiveState") == "active"
