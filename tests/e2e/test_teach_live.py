"""Teaching by hand: items of a drawn scene, keys in a real pseudo-terminal or lines from a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from scenes import EMPTY, hold, raw_config, write_script
from terminal import Terminal

from bin_daemon.core import paths
from bin_daemon.daemon import lock
from bin_daemon.teaching.sample import Sample
from bin_daemon.teaching.sample_store import Samples

START_S = 120.0  # a busy machine takes its time to load a network


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state folder of the bin."""
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def write_config(tmp_path: Path, *stills: str) -> Path:
    """A bin that looks at these items one after the other, each until it is taken out."""
    steps = [step for still in stills for step in (hold(still), EMPTY)]
    path = tmp_path / "bin.yaml"
    path.write_text(yaml.safe_dump(raw_config(write_script(tmp_path, *steps))))
    return path


def stored(state: Path) -> list[Sample]:
    with Samples(paths.teaching(state)) as samples:
        return samples.list()


def by_lines(config: Path, state: Path, lines: str) -> subprocess.CompletedProcess[str]:
    """Teach from a pipe."""
    return subprocess.run(
        [
            sys.executable, "-m", "bin_daemon", "teach",
            "--config", str(config), "--state", str(state),
        ],
        input=lines, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


# Two kinds of things that the package tells apart well, under names that it would never give them.
HOLLOW = (
    "plastic_bottle", "glass_jar", "metal_can", "plastic_tub", "glass_bottle", "metal_crushed",
)  # fmt: skip
FLAT = ("cardboard_sheet", "paper_flat", "cardboard_box", "paper_crumpled", "cardboard_sleeve")


def write_reel(tmp_path: Path) -> Path:
    """A bin that looks at items of the shipped reel."""
    reel = paths.reel()
    steps: list[dict[str, object]] = [{"empty": f"{reel}/empty.jpg", "frames": 15}]
    for name in (*HOLLOW, *FLAT):
        steps.append({"hold": f"{reel}/items/{name}.jpg", "frames": 12})
        steps.append({"empty": f"{reel}/empty.jpg", "frames": 8})
    script = {"fps": 10, "size": [640, 480], "noise": 2.0, "seed": 1, "steps": steps}
    (tmp_path / "reel.yaml").write_text(yaml.safe_dump(script))
    config = tmp_path / "bin.yaml"
    config.write_text(yaml.safe_dump(raw_config(tmp_path / "reel.yaml")))
    return config


def test_items_are_taught_line_by_line_and_learnt_at_the_end(tmp_path, state):
    lines = ["paper"] * len(HOLLOW) + ["metal"] * len(FLAT) + ["f"]
    done = by_lines(write_reel(tmp_path), state, "\n".join(lines))
    assert done.returncode == 0, done.stderr
    samples = stored(state)
    assert Counter(s.label for s in samples) == {"paper": 18, "metal": 15}
    assert len({s.item for s in samples}) == 11
    assert len({s.session for s in samples}) == 1
    assert {s.source for s in samples} == {"taught"}
    assert len({s.embedding.tobytes() for s in samples}) > 20  # fresh looks, not one thrice
    assert "33 pictures" in done.stdout
    assert "item taken out" in done.stdout  # the control
    assert "in use: waste6@" in done.stdout
    assert paths.taught_head(state).exists()


def test_what_is_not_enough_to_learn_from_stays_for_the_next_session(tmp_path, state):
    config = write_config(tmp_path, "red")
    done = by_lines(config, state, "nosuch\nn box\nf\n")
    assert done.returncode == 1
    assert "no class 'nosuch'; 'n nosuch' makes one" in done.stdout
    assert "no route takes 'box' yet" in done.stdout
    assert "nothing is learnt yet: teaching needs pictures of two classes or more" in done.stderr
    assert [s.label for s in stored(state)] == ["box"] * 3
    assert not paths.taught_head(state).exists()


def test_nobody_teaches_beside_the_daemon(tmp_path, state):
    with lock.hold(state):
        done = by_lines(write_config(tmp_path, "red"), state, "metal\n")
    assert done.returncode == 1
    assert "the daemon is running" in done.stderr
    assert stored(state) == []


@pytest.fixture
def terminal(tmp_path: Path, state: Path) -> Iterator[Terminal]:
    """`bin-daemon teach` with two items to come."""
    config = write_config(tmp_path, "red", "blue", "red")
    made = Terminal("teach", "--config", str(config), state=state)
    yield made
    made.close()


def test_keys_name_skip_and_undo_and_ctrl_c_keeps_what_was_taught(terminal, state):
    terminal.wait_for("what is it?", START_S)
    terminal.press("3")
    terminal.wait_for("kept as metal", START_S)
    assert [s.label for s in stored(state)] == ["metal"] * 3  # at once, not at the end
    terminal.wait_for("what is it?", START_S)
    terminal.press("nlid\r")
    terminal.wait_for("kept as lid", START_S)
    assert Counter(s.label for s in stored(state)) == {"metal": 3, "lid": 3}
    terminal.press("u")
    terminal.wait_for("undone: the last lid", START_S)
    assert Counter(s.label for s in stored(state)) == {"metal": 3}
    terminal.wait_for("what is it?", START_S)
    terminal.press("s")
    terminal.wait_for("skipped", START_S)
    terminal.press("\x03")
    assert terminal.end() == 130
    assert "is stored (items: 1)" in terminal.said
    assert terminal.settings == terminal.before
    samples = stored(state)
    assert Counter(s.label for s in samples) == {"metal": 3}
    crops = paths.teaching(state) / "crops"
    assert {name.removesuffix(".png") for name in os.listdir(crops)} == {s.id for s in samples}
