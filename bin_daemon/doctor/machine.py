"""Checks of the machine: system, groups, clock, disk, power, temperature, service.

A `Site`, with the files of the system and the answers of systemd, flows in, a `Finding` flows out
of each function.
"""

from __future__ import annotations

import grp
import os
import platform
import pwd
import stat
import subprocess
import sys
import time
from pathlib import Path

from bin_daemon.config.sections import Config
from bin_daemon.core.clock import clock_synced
from bin_daemon.daemon import health
from bin_daemon.daemon.lock import UNIT
from bin_daemon.doctor.finding import Finding, Site, configured, fault, good, inapplicable, warning

SUPPORTED = ("bookworm", "trixie")
LEAST_PYTHON = (3, 11)
WARM_C, HOT_C = 70.0, 80.0  # the firmware slows the processor from 80 (Raspberry Pi documentation)
SCARCE_MB, FULL_MB = 500.0, 100.0
_BUILT = 1_767_225_600.0  # 2026-01-01: a clock before that is not set
_NO_SYSTEMD = "systemd does not run here"


def system(site: Site) -> Finding:
    """Word size, Debian version, kernel and Python."""
    release = _pairs((site.text("/etc/os-release") or "").replace('"', ""))
    seen = (
        f"{site.board or platform.machine()}, {release.get('PRETTY_NAME', 'an unknown system')}, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )
    if sys.maxsize < 2**32:
        return fault(f"32-bit: {seen}", "install Raspberry Pi OS (64-bit)")
    if sys.version_info < LEAST_PYTHON:
        return fault(seen, "install Raspberry Pi OS Bookworm or newer: Python 3.11 is needed")
    if release.get("VERSION_CODENAME") not in SUPPORTED:
        return warning(f"not tested on this system: {seen}", f"use Debian {' or '.join(SUPPORTED)}")
    return good(seen)


@configured
def groups(site: Site, config: Config) -> Finding:
    """Whether the user of the service may use the devices that the configuration names."""
    needed = _groups_needed(config)
    if not needed:
        return inapplicable("nothing in this configuration needs a group")
    user = pwd.getpwnam(site.user)
    if user.pw_uid == 0:
        return good("root may use every device")
    there = {group.gr_name: group.gr_gid for group in grp.getgrall()}
    if lacking := [name for name in needed if name not in there]:
        return fault(
            f"no group {', '.join(lacking)} on this machine",
            "install on Raspberry Pi OS, whose udev rules make these groups",
        )
    member = os.getgrouplist(user.pw_name, user.pw_gid)
    if missing := [name for name in needed if there[name] not in member]:
        return fault(
            f"{site.user} is not in {', '.join(missing)}",
            f"sudo usermod -aG {','.join(missing)} {site.user}, then log in again or restart "
            f"the service",
        )
    return good(f"{site.user} is in {', '.join(needed)}")


def _groups_needed(config: Config) -> list[str]:
    kind, source, pins = config.camera.kind, config.camera.source, config.chute.pins
    by_driver = source.isdigit() or source.startswith("/dev/")
    reasons = {
        "video": kind == "picamera2" or (kind == "opencv" and by_driver),
        "gpio": pins != "mock",
        "i2c": pins == "pca9685",
    }
    return [group for group, needed in reasons.items() if needed]


def clock(site: Site) -> Finding:
    """Whether the wall clock can be right; a Pi has no battery for it."""
    now = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    remedy = "sudo timedatectl set-ntp true, and allow outgoing UDP port 123 (NTP)"
    if time.time() < _BUILT:
        return fault(f"{now} cannot be right", remedy)
    if not site.at("/run/systemd/timesync").is_dir():
        return inapplicable(f"{now}; no systemd-timesyncd here to say whether it is set")
    if not clock_synced():
        return warning(f"{now}, not set from the network since boot", remedy)
    return good(f"{now}, set from the network")


def disk(site: Site) -> Finding:
    """Whether the state folder can be written, now and for a while."""
    # It may not exist yet: systemd, or the daemon itself, makes it at the first start.
    folder = next(p for p in (site.state, *site.state.parents) if p.is_dir())
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return fault(
            f"{folder} is on a read-only disk",
            "sudo mount -o remount,rw / ; if that fails the card is worn out: replace it",
        )
    user = pwd.getpwnam(site.user)
    if site.state.is_dir() and not _may_write(folder, user):
        return fault(
            f"{site.user} may not write to {folder}",
            f"sudo install -d -o {site.user} -g {user.pw_gid} -m 750 {site.state}",
        )
    free_mb = health.disk_free_mb(folder)
    later = "" if site.state.is_dir() else " (made at the first start)"
    seen = f"{site.state}{later}: {'' if free_mb is None else f'{free_mb:.0f} MB free'}"
    if free_mb is not None and free_mb < SCARCE_MB:
        what = fault if free_mb < FULL_MB else warning
        return what(seen, "make room: sudo apt clean; sudo journalctl --vacuum-size=50M")
    return good(seen)


def _may_write(folder: Path, user: pwd.struct_passwd) -> bool:
    """By owner and mode, since the doctor often runs as another user than the service."""
    status, allowed = folder.stat(), stat.S_IWOTH
    if status.st_uid == user.pw_uid:
        allowed = stat.S_IWUSR
    elif status.st_gid in os.getgrouplist(user.pw_name, user.pw_gid):
        allowed = stat.S_IWGRP
    return user.pw_uid == 0 or bool(status.st_mode & allowed)


def power(site: Site) -> Finding:
    """What the firmware of the Pi reports of its supply."""
    bits = health.throttle_bits()
    remedy = (
        "use the official supply (Pi 4: 5.1 V 3 A, Pi 5: 5.1 V 5 A) and a short cable, and power "
        "the servos from a supply of their own, with common ground"
    )
    if bits is None:
        return inapplicable("no firmware here that reports it")
    if not bits:
        return good("no under-voltage and no throttling since boot")
    words = health.throttle_words(bits)
    if bits & health.THROTTLED_NOW:
        return fault(words, remedy)
    return warning(f"{words} (since boot)", remedy)


def temperature(site: Site) -> Finding:
    """How hot the processor is."""
    if (found_c := health.temperature_c()) is None:
        return inapplicable("the kernel reports no temperature")
    seen = f"{found_c:.0f} degrees Celsius"
    remedy = "give the case air or a fan, and keep it out of the sun"
    if found_c >= HOT_C:
        return fault(f"{seen}: the processor is slowed down", remedy)
    return warning(seen, remedy) if found_c >= WARM_C else good(seen)


def service(site: Site) -> Finding:
    """Whether systemd starts the daemon, watches it, and keeps it up."""
    if (shown := _systemd(site, UNIT)) is None:
        return inapplicable(_NO_SYSTEMD)
    if shown.get("LoadState") == "not-found":
        return inapplicable("not installed as a service")
    state = shown.get("ActiveState", "")
    restarts = shown.get("NRestarts", "0")
    seen = f"{state}, {shown.get('UnitFileState')}, {restarts} restarts"
    if state == "failed":
        return fault(
            seen, "journalctl -u bin-daemon -n 50 shows why; sudo systemctl restart bin-daemon"
        )
    if state not in ("active", "activating", "reloading"):
        return warning(seen, "sudo systemctl enable --now bin-daemon")
    if shown.get("UnitFileState") != "enabled":
        return warning(
            f"{seen}: it will not start with the machine", "sudo systemctl enable bin-daemon"
        )
    if shown.get("WatchdogUSec") in ("0", "infinity", None):
        return warning(
            f"{seen}, no watchdog",
            "use the shipped unit, or write WatchdogSec=30 in: sudo systemctl edit bin-daemon",
        )
    if restarts != "0":
        return warning(seen, "journalctl -u bin-daemon -p warning shows why")
    return good(f"{seen}, watchdog {shown['WatchdogUSec']}")


def board_watchdog(site: Site) -> Finding:
    """Whether the machine restarts by itself when all of it hangs."""
    if not site.board:
        return inapplicable("no Raspberry Pi")
    if (shown := _systemd(site, None)) is None:
        return inapplicable(_NO_SYSTEMD)
    remedy = (
        "install the package, or write RuntimeWatchdogSec=14 under [Manager] in "
        "/etc/systemd/system.conf.d/watchdog.conf, then restart the machine"
    )
    if shown.get("RuntimeWatchdogUSec", "0") in ("0", "infinity"):
        return warning("off: a machine that hangs is not restarted", remedy)
    return good(f"after {shown['RuntimeWatchdogUSec']}")


def _systemd(site: Site, unit: str | None) -> dict[str, str] | None:
    """The properties of a unit, or of systemd itself for None; None where it does not run."""
    if not site.at("/run/systemd/system").is_dir():
        return None
    command = ["systemctl", "show", *filter(None, [unit])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=8, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return _pairs(done.stdout)


def _pairs(text: str) -> dict[str, str]:
    """Lines of the form key=value."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


@configured
def runtime_folder(site: Site, config: Config) -> Finding:
    """Whether lgpio has a folder for its FIFO; else it fails or litters the working directory."""
    if config.chute.pins == "mock":
        return inapplicable("only lgpio, which drives real pins, needs one")
    if own := os.environ.get("LG_WD"):
        if not os.access(own, os.W_OK):
            return fault(f"LG_WD names {own}, which cannot be written", "unset LG_WD")
        return good(f"{own} (LG_WD)")
    folder = site.at("/run/bin-daemon")
    if not site.running:
        return good(f"{folder} is made when the service starts")
    if not folder.is_dir():
        return fault(
            f"{folder} does not exist although the daemon runs",
            "write RuntimeDirectory=bin-daemon in: sudo systemctl edit bin-daemon",
        )
    return good(str(folder))
