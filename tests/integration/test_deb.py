"""The Debian package and install.sh: what is in them, and what they say they would do.

Real: the build from this checkout, dpkg-deb, sh. Not here: an installation, which tests/hil does.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
FIRMWARE = CHECKOUT / "firmware_config"
INSTALL = FIRMWARE / "install.sh"
SCRIPTS = [
    INSTALL,
    *(FIRMWARE / "debian" / name for name in ("build", "postinst", "prerm", "postrm")),
]
STOCK_CONFIG_TXT = "dtparam=audio=on\n[cm5]\ndtoverlay=dwc2,dr_mode=host\n"

pytestmark = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not here")


def build(folder):
    """The package, built in a copy of what it is made of, so that the checkout stays as it is."""
    copy = folder / "checkout"
    copy.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("bin_daemon", "models", "firmware_config", "systemd"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(CHECKOUT / name, copy)
    command = [copy / "firmware_config" / "debian" / "build", copy / "out", sys.executable]
    done = subprocess.run(
        command,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1750000000"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "Could not find a version that satisfies the requirement setuptools" in done.stderr:
        pytest.skip("building a wheel needs PyPI")
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return build(tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="module")
def members(package):
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True, check=True)
    unpacked = package.with_suffix(".tar")
    unpacked.write_bytes(tar.stdout)
    with tarfile.open(unpacked) as archive:
        return {member.name.removeprefix("./"): member for member in archive}


def field(package, name):
    command = ["dpkg-deb", "--field", package, name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_package_is_for_every_architecture_and_has_the_version_of_the_program(package):
    from bin_daemon import __version__

    assert package.name == f"bin-daemon_{__version__}_all.deb"
    assert field(package, "Architecture") == "all"
    assert field(package, "Version") == __version__


def test_it_depends_on_the_distributions_numpy_and_a_python_that_the_wheel_takes(package):
    depends = field(package, "Depends")

    assert "python3-numpy" in depends
    assert "python3-venv" in depends
    assert "python3 (>= 3.11)" in depends


def test_it_carries_wheel_unit_account_rules_profiles_and_installer(members):
    from bin_daemon import __version__

    assert {
        f"usr/share/bin-daemon/wheels/bin_daemon-{__version__}-py3-none-any.whl",
        "usr/share/bin-daemon/install.sh",
        "usr/share/bin-daemon/boot/pwm.txt",
        "usr/share/doc/bin-daemon/copyright",
        "usr/share/doc/bin-daemon/examples/flap.yaml",
    } <= set(members)
    assert members["usr/bin/bin-daemon"].linkname == "/opt/bin-daemon/bin/bin-daemon"


def test_every_file_for_systemd_and_udev_lies_where_they_look(members):
    places = {
        ".service": "usr/lib/systemd/system",
        "sysusers.d": "usr/lib/sysusers.d",
        "tmpfiles.d": "usr/lib/tmpfiles.d",
        ".rules": "usr/lib/udev/rules.d",
        "journald.conf.d": "usr/lib/systemd/journald.conf.d",
        "system.conf.d": "usr/lib/systemd/system.conf.d",
    }
    shipped = [path for path in (CHECKOUT / "systemd").rglob("*") if path.is_file()]

    assert {path.name for path in shipped if path.suffix == ".service"} >= {"bin-daemon.service"}
    for path in shipped:
        kind = path.suffix if path.suffix in places else path.parent.name
        assert f"{places[kind]}/{path.name}" in members


def test_it_puts_no_configuration_into_place_and_owns_nothing_that_it_writes(members):
    assert not [name for name in members if name.startswith(("etc", "var", "opt", "run"))]


def test_all_of_it_belongs_to_root_and_nobody_else_may_write_it(members):
    for member in members.values():
        assert (member.uid, member.gid) == (0, 0)
        assert member.issym() or not member.mode & 0o022


def test_the_same_checkout_gives_the_same_bytes(package, tmp_path):
    assert build(tmp_path).read_bytes() == package.read_bytes()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_are_posix_shell_without_complaints(script):
    assert os.access(script, os.X_OK) or script.parent.name == "debian"
    subprocess.run(["sh", "-n", script], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "-s", "sh", script], check=True)


class System:
    """The files of a system that install.sh is asked about; nothing on it is changed."""

    def __init__(self, root, board):
        self.root = root
        self.config_txt = root / "boot" / "firmware" / "config.txt"
        for path, text in {
            root / "etc" / "os-release": 'ID=debian\nVERSION_ID="12"\n',
            root / "proc" / "device-tree" / "model": f"{board}\0",
            self.config_txt: STOCK_CONFIG_TXT,
        }.items():
            path.parent.mkdir(parents=True)
            path.write_text(text)

    def install(self, *options):
        """What `install.sh --dry-run` prints; raises CalledProcessError where it fails."""
        command = ["sh", INSTALL, "--dry-run", "--root", self.root, *options]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        )
        return done.stdout

    def configure(self, text):
        path = self.root / "etc" / "bin-daemon" / "config.yaml"
        path.parent.mkdir()
        path.write_text(text)


@pytest.fixture
def pi(tmp_path):
    return lambda board: System(tmp_path, f"Raspberry Pi {board}")


def added(said):
    return [line[1:] for line in said.splitlines() if line.startswith("+") and line[1] != "+"]


@pytest.mark.parametrize(
    ("board", "profile", "overlay"),
    [
        ("4 Model B Rev 1.5", "flap", "dtoverlay=pwm,pin=12,func=4"),
        (
            "Zero 2 W Rev 1.0",
            "rotary_trapdoor",
            "dtoverlay=pwm-2chan,pin=12,func=4,pin2=13,func2=4",
        ),
        ("4 Model B Rev 1.5", "four_stream", "dtoverlay=pwm-2chan,pin=12,func=4,pin2=13,func2=4"),
        (
            "5 Model B Rev 1.0",
            "rotary_trapdoor",
            "dtoverlay=pwm-2chan,pin=12,func=4,pin2=13,func2=4",
        ),
        ("5 Model B Rev 1.0", "four_stream", "dtoverlay=bin-daemon-pwm"),
    ],
)
def test_the_boot_settings_fit_the_servos_of_the_profile_and_the_board(pi, board, profile, overlay):
    said = pi(board).install("--profile", profile)

    assert overlay in added(said)
    assert "dtparam=watchdog=on" in added(said)
    assert "camera_auto_detect=1" in added(said)


def test_the_block_does_not_stand_under_a_filter_that_happens_to_be_last(pi):
    lines = added(pi("4 Model B Rev 1.5").install("--profile", "flap"))

    assert lines[1] == "[all]"
    assert lines[-2] == "[all]"


def test_no_line_is_longer_than_the_firmware_reads(pi):
    # The documentation of config.txt: what is beyond 98 characters is ignored.
    assert max(map(len, added(pi("5 Model B Rev 1.0").install("--profile", "four_stream")))) <= 98


def test_the_overlay_for_a_pi_5_has_each_servo_pin_with_its_function(pi):
    said = pi("5 Model B Rev 1.0").install("--profile", "four_stream")

    assert "bin-daemon-pwm.dtbo" in said
    assert "brcm,pins = <12 13 18>;" in said
    assert "brcm,function = <4 4 2>;" in said


def test_the_overlay_is_there_before_config_txt_names_it(pi):
    said = pi("5 Model B Rev 1.0").install("--profile", "four_stream")

    assert said.index("would compile") < said.index("would run: mv")


def test_a_servo_board_needs_i2c_and_no_pwm(pi):
    system = pi("4 Model B Rev 1.5")
    profile = (FIRMWARE / "four_stream.yaml").read_text()
    system.configure(profile.replace("pins: auto", "pins: pca9685"))

    said = system.install()

    assert "dtparam=i2c_arm=on" in added(said)
    assert not [line for line in added(said) if "pwm" in line]
    assert "modules-load.d/bin-daemon-i2c.conf" in said


def test_a_configuration_that_exists_stays_and_says_which_pins_are_meant(pi):
    system = pi("4 Model B Rev 1.5")
    system.configure("chute:\n  pins: pwm\n  servos: {a: {pin: 18}, b: {pin: 19}}\n  poses: {}\n")

    said = system.install("--profile", "flap")

    assert "config.yaml stays as it is" in said
    assert "dtoverlay=pwm-2chan,pin=18,func=2,pin2=19,func2=2" in added(said)


def test_settings_that_are_there_already_are_not_shown_again_and_go_with_uninstall(pi):
    system = pi("4 Model B Rev 1.5")
    block = added(system.install("--profile", "flap"))
    system.config_txt.write_text(STOCK_CONFIG_TXT + "\n".join(block) + "\n")

    assert "are right already" in system.install("--profile", "flap")
    gone = system.install("--uninstall")
    removed = [line[1:] for line in gone.splitlines() if line[:1] == "-" and line[1] != "-"]
    assert removed == block


def test_boot_settings_that_stay_after_uninstall_are_shown_line_by_line(pi):
    system = pi("5 Model B Rev 1.0")
    block = added(system.install("--profile", "four_stream"))
    system.config_txt.write_text(STOCK_CONFIG_TXT + "\n".join(block) + "\n")
    overlay = system.config_txt.parent / "overlays" / "bin-daemon-pwm.dtbo"
    overlay.parent.mkdir()
    overlay.touch()

    said = system.install("--uninstall", "--no-boot")

    assert f"delete these lines of {system.config_txt}:\n" + "\n".join(block) + "\n" in said
    assert f"delete this file: {overlay}" in said
    assert "would run: rm" not in said


def test_boot_settings_that_go_with_uninstall_want_a_restart(pi):
    system = pi("4 Model B Rev 1.5")
    block = added(system.install("--profile", "flap"))
    system.config_txt.write_text(STOCK_CONFIG_TXT + "\n".join(block) + "\n")

    assert "restart the Pi" in system.install("--uninstall")
    system.config_txt.write_text(STOCK_CONFIG_TXT)
    assert "restart the Pi" not in system.install("--uninstall")


def test_a_block_that_lost_its_end_stops_the_installer_instead_of_the_rest_of_the_file(pi):
    system = pi("4 Model B Rev 1.5")
    block = added(system.install("--profile", "flap"))
    system.config_txt.write_text(block[0] + "\n" + STOCK_CONFIG_TXT)

    with pytest.raises(subprocess.CalledProcessError) as failure:
        system.install("--profile", "flap")

    assert "do not pair" in failure.value.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "give --profile"),
        (["--profile", "nonsense"], "no profile 'nonsense'"),
        (["--profile", "flap", "--id", "a/b"], "--id takes letters"),
        (["--purge"], "--purge goes with --uninstall"),
        (["missing.deb"], "no such package"),
    ],
)
def test_what_is_wrong_is_said_before_anything_happens(pi, options, words):
    with pytest.raises(subprocess.CalledProcessError) as failure:
        pi("4 Model B Rev 1.5").install(*options)

    assert words in failure.value.stderr


def test_an_older_debian_is_refused(pi):
    system = pi("4 Model B Rev 1.5")
    (system.root / "etc" / "os-release").write_text('VERSION_ID="11"\n')

    with pytest.raises(subprocess.CalledProcessError) as failure:
        system.install("--profile", "flap")

    assert "Debian 12 or newer is needed" in failure.value.stderr
