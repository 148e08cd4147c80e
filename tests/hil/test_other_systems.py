"""The program on the processor and the Debian of other Pis, without a machine.

64-bit ARM runs by user emulation, Trixie's Python 3.13 in a root of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]

# XNNPACK and cpuinfo look for the cores of a Pi 4 (Cortex-A72) there, not for those of the host.
CPUINFO = (
    "".join(
        f"processor\t: {core}\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
        f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
        for core in range(4)
    )
    + "Hardware\t: BCM2711\nRevision\t: c03115\nModel\t\t: Raspberry Pi 4 Model B Rev 1.5\n"
)

# What the tests read besides the installed program.
READ = ("tests", "firmware_config", "models", "export", "docs", "systemd", "setup.cfg")


def arm(home: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Python on the processor of a Pi 4 with the aarch64 wheels, running the checkout's program."""
    root = home / "arm"
    environment = {
        "LD_LIBRARY_PATH": f"{root}/usr/lib/aarch64-linux-gnu:{root}/lib/aarch64-linux-gnu",
        "PYTHONHOME": f"{root}/usr",
        "PYTHONPATH": f"{root}/opt/site:{TREE}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = ["qemu-aarch64-static", "-cpu", "cortex-a72", "-L", str(root)]
    for name, value in environment.items():
        command += ["-E", f"{name}={value}"]
    (home / "arm.cpuinfo").write_text(CPUINFO)
    script = 'mount --bind "$1" /proc/cpuinfo && shift && exec "$@"'
    within = ["unshare", "-m", "sh", "-c", script, "sh", str(home / "arm.cpuinfo")]
    return subprocess.run(
        [*within, *command, f"{root}/usr/bin/python3.11", *arguments],
        capture_output=True, text=True, timeout=300, check=False, cwd=TREE,
    )  # fmt: skip


def test_the_golden_inputs_give_the_same_on_a_pi_s_processor_with_both_runtimes(
    home: Path,
) -> None:
    if not (home / "arm/opt/site").exists():
        pytest.skip(f"{home} has no arm; `make hil` builds it")
    machine = arm(home, ["-c", "import platform; print(platform.machine())"])
    assert machine.stdout.strip() == "aarch64", machine.stderr
    done = arm(home, ["-m", "bin_daemon", "model", "verify", "waste6"])
    assert done.returncode == 0, done.stdout + done.stderr
    # `verify` compares with the x86 results in the package, within the tolerance that it names.
    for runtime in ("ai-edge-litert", "tflite-runtime"):
        assert f"golden inputs are right on {runtime}" in done.stdout, done.stdout


def test_the_installed_package_passes_the_unit_tests_on_trixie(home: Path) -> None:
    root = home / "trixie"
    if not (root / "opt/bin-daemon/bin/python").exists():
        pytest.skip(f"{home} has no trixie; `make hil` builds it")
    place = root / "srv/tests"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    # Not the package itself: the installed one is to be tested.
    for name in READ:
        source = TREE / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place)
    script = (
        'mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" && exec chroot "$1" '
        "sh -c 'cd /srv/tests && exec /opt/bin-daemon/bin/python -P -m pytest -q tests/unit "
        "-p no:cacheprovider'"
    )
    clean = {"PATH": os.environ["PATH"], "HOME": "/root", "LANG": "C.UTF-8"}
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(root)],
        env=clean, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    where = subprocess.run(
        ["chroot", str(root), "/opt/bin-daemon/bin/python", "-P", "-c",
         "import sys, bin_daemon; print(sys.version_info[:2], bin_daemon.__file__)"],
        env=clean, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.startswith("(3, 13) /opt/bin-daemon/")
