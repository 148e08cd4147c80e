"""What the shipped unit lets the daemon do, seen from inside its namespaces."""

from __future__ import annotations

import re

import pytest
from bench import STATE, UNIT, Bench


def status_of(bench: Bench) -> dict[str, str]:
    text = bench.pi.run(f"cat /proc/{bench.pid}/status")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def as_the_daemon(bench: Bench, command: str) -> int:
    """Exit status of a command run by the daemon's user in the daemon's mounts."""
    return bench.pi.ask(
        f"nsenter -t {bench.pid} -m setpriv --reuid=bin-daemon --regid=bin-daemon --init-groups "
        f"sh -c '{command}'"
    )[0]


def test_it_runs_as_its_own_user_without_capabilities_behind_a_system_call_filter(
    sorting: Bench,
) -> None:
    status = status_of(sorting)
    uid = sorting.pi.run("id -u bin-daemon")
    assert set(status["Uid"].split()) == {uid}
    assert uid != "0"
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


@pytest.mark.parametrize(
    "place", ["/etc/bin-daemon", "/opt/bin-daemon", "/usr", "/var/log", "/srv/chamber", "/", "/hil"]
)
def test_it_cannot_write_elsewhere_even_where_the_file_system_would_let_it(
    sorting: Bench, place: str
) -> None:
    made = f"{place}/made-by-a-test"
    sorting.pi.run("chmod 777 /srv/chamber")
    assert as_the_daemon(sorting, f"touch {made}") != 0
    assert sorting.pi.ask(f"test -e {made}")[0] != 0


@pytest.mark.parametrize("place", [STATE, "/run/bin-daemon", "/tmp"])
def test_it_can_write_what_is_its_own(sorting: Bench, place: str) -> None:
    assert as_the_daemon(sorting, f"touch {place}/t && rm {place}/t") == 0


def test_it_sees_no_home_and_no_process_of_others(sorting: Bench) -> None:
    assert as_the_daemon(sorting, "ls /root") != 0
    assert as_the_daemon(sorting, "test -d /proc/1") != 0


def test_camera_and_pins_are_open_under_the_device_policy_and_a_disk_would_not_be(
    sorting: Bench,
) -> None:
    held = sorting.pi.run(f"ls -l /proc/{sorting.pid}/fd")
    assert "/dev/gpiochip0" in held
    assert re.search(r"/dev/udmabuf|/dev/dma_heap|dmabuf", held), held
    policy = sorting.shown("DeviceAllow")
    run = (
        "systemd-run -q --wait --pipe -p DevicePolicy=closed "
        + " ".join(f"-p 'DeviceAllow={allow}'" for allow in policy.splitlines())
        + " sh -c "
    )
    assert sorting.pi.ask(run + "': <> /dev/gpiochip0'")[0] == 0
    assert sorting.pi.ask(run + "': <> /dev/ubda'")[0] != 0


def test_systemd_finds_no_fault_in_the_unit_and_little_exposure(bench: Bench) -> None:
    assert bench.pi.ask(f"systemd-analyze verify /usr/lib/systemd/system/{UNIT}")[0] == 0
    told = bench.pi.run(f"systemd-analyze security --no-pager {UNIT} | tail -n 1")
    assert float(re.findall(r"(\d+\.\d) ", told)[0]) <= 2.0, told
