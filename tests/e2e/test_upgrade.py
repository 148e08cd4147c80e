"""A bin of version 0.2 with a taught head and a queue is killed, upgraded and started again.

Both versions are installed from their wheels, one after the other into the same environment, as
`pip install --upgrade` does on a bin; configuration and state directory stay.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import site
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from blackbox import (
    FORMER,
    MOSQUITTO,
    REPOSITORY,
    Broker,
    NoHistoryError,
    Program,
    check_out,
    draw_pictures,
    free_port,
    wait_until,
    write_config,
    write_script,
)

PARTS = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
FOLDERS = ("bin_daemon", "models", "firmware_config")
ITEM, STATUS, INFO = "bins/b1/event/item", "bins/b1/status", "bins/b1/info"


def build_wheel(source: Path, folder: Path) -> Path:
    """The wheel of a checkout, built from a copy."""
    copy = folder / "source"
    copy.mkdir(parents=True)
    for name in PARTS:
        shutil.copy(source / name, copy)
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source / name, copy / name, ignore=ignored)
    pip(["wheel", "--no-deps", "-w", folder, copy])
    (wheel,) = folder.glob("*.whl")
    return wheel


def pip(arguments: list[Any], python: Path | None = None) -> None:
    """Run pip; python: the interpreter of the environment to change."""
    where = ["--python", python] if python else []
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *where, *arguments]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300, check=False
    )
    if "Could not find a version that satisfies the requirement setuptools" in done.stderr:
        pytest.skip("building a wheel needs PyPI")
    assert done.returncode == 0, done.stderr[-3000:]


class Environment:
    """A virtual environment with `bin-daemon` in it, and the libraries of this interpreter."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.python = folder / "bin" / "python"
        self.bin_daemon = folder / "bin" / "bin-daemon"
        (packages,) = folder.glob("lib/python*/site-packages")
        self._libraries = packages / "libraries.pth"

    def install(self, wheel: Path) -> None:
        """Put a wheel in place of what is installed."""
        # pip is not to see that the libraries come with a bin-daemon of their own.
        self._libraries.unlink(missing_ok=True)
        pip(["install", "--no-deps", "--no-index", "--force-reinstall", wheel], self.python)
        self._libraries.write_text("\n".join(site.getsitepackages()) + "\n")


@dataclasses.dataclass
class Upgrade:
    """What was seen of the bin, before and after."""

    program: Program
    environment: Environment
    words: tuple[object, ...]
    """The options that name its configuration and its state directory."""
    state: Path
    taught: dict[str, Any]
    queue: list[dict[str, Any]]
    silenced: tuple[list[str], list[str]]
    heard: list[dict[str, Any]]
    statuses: list[dict[str, Any]]
    info: dict[str, Any]
    code: int
    log: str


def as_json(program: Program, *words: object) -> list[dict[str, Any]]:
    """What a command prints."""
    done = program.run(*words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def silence(program: Program) -> list[str]:
    """What is said as a bin with real pins is silenced whose configuration is broken by now."""
    done = program.run("silence", "--config", "real.yaml", "--state", "real")
    assert done.returncode == 0
    return [line for line in done.stderr.splitlines() if line.startswith("bin-daemon: silence:")]


@pytest.fixture(scope="module")
def upgrade(tmp_path_factory) -> Upgrade:
    """The whole story, once."""
    if MOSQUITTO is None:
        pytest.skip("needs mosquitto")
    folder = tmp_path_factory.mktemp("upgrade")
    try:
        former = check_out(FORMER, folder / "former")
    except NoHistoryError as error:
        pytest.skip(str(error))
    with ThreadPoolExecutor(2) as pool:
        environment = pool.submit(Environment, folder / "venv")
        wheels = pool.map(build_wheel, (former, REPOSITORY), (folder / "0.2", folder / "now"))
        old, new = wheels
        environment = environment.result()
    environment.install(old)

    home = folder / "home"
    program = Program([str(environment.bin_daemon)], home)
    draw_pictures(home)
    script = write_script(
        home / "scene.yaml",
        {"hold": "can.png", "frames": 12},
        {"empty": "empty.png", "frames": 8},
        {"hold": "lesson/glass/0.png", "frames": 12},
        {"empty": "empty.png", "frames": 8},
    )
    port, state = free_port(), home / "state"
    words = ("--config", write_config(home / "bin.yaml", script, port), "--state", state)
    lesson = ("--from", home / "lesson", "--empty", home / "empty.png")
    (taught,) = as_json(program, "teach", *lesson, "--json", *words)
    with program.running("run", *words) as process:
        wait_until(lambda: len(sorted_in(program, state)) >= 3, "three items", 60)
        process.kill()
    queue = as_json(program, "events", "--json", "--state", state)

    (home / "real.yaml").write_text((home / "bin.yaml").read_text().replace("mock", "lgpio"))
    program.run("silence", "--config", "real.yaml", "--state", "real")
    (home / "real.yaml").write_text("version: 2\nbin: {id: b1\n")
    before = silence(program)
    environment.install(new)
    after = silence(program)

    (home / "daemon.log").unlink()
    known = {event["id"] for event in queue}
    with Broker(home / "broker", port) as broker:
        with program.running("run", *words) as process:
            wait_until(
                lambda: known <= {event["id"] for event in broker.values(ITEM)}, "the queue", 60
            )
            wait_until(
                lambda: [e for e in broker.values(ITEM) if e["id"] not in known], "a new item", 60
            )
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
        with program.running("run", *words) as process:  # nothing is delivered twice
            wait_until(lambda: states(broker)[-2:] == ["stopped", "online"], "the next start", 60)
            process.send_signal(signal.SIGTERM)
            code = code or process.wait(60)
        wait_until(lambda: states(broker)[-2:] == ["online", "stopped"], "the goodbye")
        return Upgrade(
            program=program,
            environment=environment,
            words=words,
            state=state,
            taught=taught,
            queue=queue,
            silenced=(before, after),
            heard=broker.values(ITEM),
            statuses=broker.values(STATUS),
            info=broker.values(INFO)[0],
            code=code,
            log=(home / "daemon.log").read_text(),
        )


def states(broker: Broker) -> list[str]:
    """What the bin said of itself, in order."""
    return [status["state"] for status in broker.values(STATUS)]


def sorted_in(program: Program, state: Path) -> list[dict[str, Any]]:
    """The events in the store with their outcome, however far the daemon has come."""
    done = program.run("events", "--json", "--state", state)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return [event for event in events if event["outcome"]]


def test_the_upgraded_bin_starts_and_counts_its_sessions_on(upgrade):
    assert {event["session"] for event in upgrade.queue} == {1}
    told = [(status["session"], status["state"]) for status in upgrade.statuses]
    assert told == [(2, "online"), (2, "stopped"), (3, "online"), (3, "stopped")]
    assert upgrade.code == 0
    assert "Traceback" not in upgrade.log
    assert upgrade.info["failures"] == 1  # it was killed


def test_every_queued_event_is_delivered_once_as_it_was_stored(upgrade):
    assert len(upgrade.queue) >= 3
    counts = Counter(event["id"] for event in upgrade.heard)
    assert set(counts.values()) == {1}
    heard = {event["id"]: event for event in upgrade.heard}
    for stored in upgrade.queue:
        expected = {**stored, "historical": True}  # of an earlier session
        if stored["outcome"] is None:  # it was being sorted when the daemon was killed
            expected["outcome"] = "interrupted"
        assert heard[stored["id"]] == expected


def test_new_items_follow_in_the_new_session(upgrade):
    new = [event for event in upgrade.heard if event["session"] == 2]
    assert sorted(event["seq"] for event in new) == list(range(1, len(new) + 1))
    assert new


def test_the_taught_head_stays_in_force(upgrade):
    taught = upgrade.taught
    assert taught["activated"]
    assert upgrade.info["taught"]["model"] == taught["model"]
    assert upgrade.info["labels"] == taught["labels"]
    assert {event["model"] for event in upgrade.heard} == {taught["model"]}
    empty, can = (upgrade.program.home / name for name in ("empty.png", "can.png"))
    (seen,) = as_json(upgrade.program, "classify", "--json", "--empty", empty, can, *upgrade.words)
    assert seen["label"] == "can"


def test_what_was_checked_by_the_former_version_does_no_harm(upgrade):
    found = {path.name for path in upgrade.state.glob("*.checked")}
    assert len(found) >= 2
    assert upgrade.program.run("check-config", upgrade.words[1]).returncode == 0


def test_a_bin_whose_configuration_broke_is_silenced_by_what_the_former_version_knew(upgrade):
    before, after = upgrade.silenced
    assert len(before) > 1  # the file, and the pins that are not there
    assert len(after) == len(before)


def test_the_kept_pictures_still_teach_and_undo_goes_back(upgrade, tmp_path):
    state = shutil.copytree(upgrade.state, tmp_path / "state")
    words = (*upgrade.words[:2], "--state", state)
    listed = as_json(upgrade.program, "samples", "list", "--json", "--state", state)
    assert len(listed) == 24
    (again,) = as_json(upgrade.program, "teach", "--kept", "--json", *words)
    assert again["labels"] == upgrade.taught["labels"]
    (undone,) = as_json(upgrade.program, "teach", "--undo", "--json", *words)
    assert undone["model"] == upgrade.taught["model"]


def test_the_installed_program_is_the_new_one(upgrade):
    version = {}
    exec((REPOSITORY / "bin_daemon" / "__init__.py").read_text(encoding="utf-8"), version)
    assert upgrade.info["version"] == version["__version__"]
    shown = upgrade.program.run("--version").stdout
    assert shown.strip() == f"bin-daemon {version['__version__']}"


@pytest.mark.parametrize(
    ("group", "name"), [("console_scripts", "bin-daemon"), ("gpiozero_pin_factories", "bindaemon")]
)
def test_the_entry_points_of_the_wheel_resolve(upgrade, group, name):
    code = (
        "import sys; from importlib.metadata import entry_points; "
        "(found,) = entry_points(group=sys.argv[1], name=sys.argv[2]); "
        "assert callable(found.load()); print(sys.modules[found.module].__file__)"
    )
    python = str(upgrade.environment.python)
    done = upgrade.program.run(group, name, command=[python, "-c", code])
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(upgrade.environment.python.parents[1])
