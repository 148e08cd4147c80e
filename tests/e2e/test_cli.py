"""The commands as a user types them: what they print, how they fail."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from scenes import EMPTY, hold, raw_config, save_stills, write_script


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    save_stills(tmp_path)
    return tmp_path


def test_help_lists_exactly_the_commands(cli):
    listed = re.findall(r"^    ([a-z-]+)", cli("--help").stdout, re.MULTILINE)

    assert set(listed) == {
        "run", "silence", "demo", "classify", "replay", "events", "doctor", "check-config",
        "bench", "calibrate", "servo-test", "sensor-test", "model", "teach", "samples",
    }  # fmt: skip
    assert len(listed) == len(set(listed))


def test_classify_prints_one_object_a_picture(cli, stills):
    done = cli("classify", "--json", stills / "red.png", stills / "blue.png")
    assert done.returncode == 0
    first, second = lines(done.stdout)
    assert list(first) == [
        "file", "label", "confidence", "probabilities", "route", "reason", "timings_ms"
    ]  # fmt: skip
    assert first["file"].endswith("red.png")
    assert second["file"].endswith("blue.png")
    assert first["label"] == max(first["probabilities"], key=first["probabilities"].get)
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert first["route"] in ("paper", "glass", "packaging", "residual")


def test_classify_cuts_the_item_out_when_it_knows_the_empty_chamber(cli, stills):
    whole = lines(cli("classify", "--json", stills / "red.png").stdout)
    done = cli("classify", "--json", "--empty", stills / "empty.png", stills / "red.png")
    assert done.returncode == 0
    assert lines(done.stdout)[0]["probabilities"] != whole[0]["probabilities"]


def test_classify_tells_when_there_is_nothing_but_the_chamber(cli, stills):
    done = cli("classify", "--empty", stills / "empty.png", stills / "empty.png")
    assert done.returncode == 1
    assert "shows nothing but the empty chamber" in done.stderr


def test_a_broken_picture_is_reported_and_the_others_go_on(cli, stills):
    whole = (stills / "red.png").read_bytes()
    (stills / "cut.png").write_bytes(whole[: len(whole) // 3])
    (stills / "text.jpg").write_text("no picture")
    pictures = [stills / name for name in ("cut.png", "text.jpg", "red.png")]
    done = cli("classify", "--json", *pictures)
    assert done.returncode == 1
    assert [Path(line["file"]).name for line in lines(done.stdout)] == ["red.png"]
    assert "cut.png" in done.stderr
    assert "text.jpg" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_picture_is_wrong_usage(cli, tmp_path):
    done = cli("classify", tmp_path / "none.jpg")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no such picture" in done.stderr


@pytest.mark.parametrize("runtime", ["ai-edge-litert", "tflite-runtime"])
def test_both_runtimes_can_be_asked_for(cli, stills, runtime):
    pytest.importorskip(runtime.replace("-", "_"))
    assert cli("classify", "--runtime", runtime, stills / "red.png").returncode == 0


def test_replay_prints_one_event_a_line(cli, tmp_path):
    script = write_script(tmp_path, hold("red"), EMPTY, hold("blue"), EMPTY)
    done = cli("replay", script, "--fast", "--json")
    assert done.returncode == 0
    events = lines(done.stdout)
    assert [event["seq"] for event in events] == [1, 2]
    assert all(event["outcome"] in ("sorted", "rejected") for event in events)
    assert "2 items" in done.stderr


def test_replay_holds_the_pictures_of_a_folder_as_items(cli, tmp_path):
    save_stills(tmp_path)
    for name in ("dark", "arm", "two"):
        (tmp_path / f"{name}.png").unlink()
    done = cli(
        "replay", tmp_path, "--hold", 12, "--empty", tmp_path / "empty.png", "--fast", "--json"
    )
    assert done.returncode == 0
    assert len(lines(done.stdout)) == 2


def test_replay_plays_a_clip(cli, tmp_path):
    save_stills(tmp_path)
    clip = cv2.VideoWriter(
        str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (640, 480)
    )
    for name, frames in (("empty", 15), ("red", 40), ("empty", 30)):
        still = cv2.imread(str(tmp_path / f"{name}.png"))
        for _ in range(frames):
            noisy = still + np.random.default_rng(_).normal(0, 1.5, still.shape)
            clip.write(noisy.clip(0, 255).astype(np.uint8))
    clip.release()
    done = cli("replay", tmp_path / "clip.avi", "--fast", "--json")
    assert done.returncode == 0
    assert len(lines(done.stdout)) == 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "none", "no such folder, clip or script"),
        (lambda folder: folder, "no pictures"),
        (lambda folder: folder / "empty.avi", "no frames"),
        (lambda folder: folder / "bad.yaml", "step 1"),
    ],
)
def test_replay_tells_what_is_wrong_with_its_source(cli, tmp_path, make, words):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "empty.avi").write_bytes(b"")
    (folder / "bad.yaml").write_text("steps: [{hold: none.jpg, frames: 3, colour: red}]")
    done = cli("replay", make(folder), "--fast")
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("profile", ["simulator", "flap", "rotary_trapdoor", "four_stream"])
def test_every_shipped_profile_is_good(cli, profile):
    done = cli("check-config", profile)
    assert done.returncode == 0, done.stderr
    assert "the configuration is good" in done.stdout


def test_a_wrong_configuration_is_reported_line_by_line(cli, tmp_path):
    raw = raw_config(tmp_path)
    raw["camera"]["fsp"] = 10
    del raw["routes"]["recyclables"]
    path = tmp_path / "bin.yaml"
    path.write_text(yaml.safe_dump(raw))
    done = cli("check-config", path)
    assert done.returncode == 2
    assert "did you mean 'fps'" in done.stderr
    del raw["camera"]["fsp"]
    path.write_text(yaml.safe_dump(raw))
    done = cli("run", "--config", path, "--state", tmp_path / "state")
    assert done.returncode == 2
    assert "no route takes 'glass'" in done.stderr


def test_checking_a_configuration_loads_no_heavy_library():
    code = (
        "import sys; from bin_daemon.cli import main; main(['check-config', 'simulator']); "
        "print([m for m in ('cv2', 'ai_edge_litert', 'tflite_runtime', 'picamera2', 'paho',"
        " 'gpiozero') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_shipped_schema_is_that_of_the_code(cli):
    from bin_daemon.core import paths

    shipped = (paths.profiles() / "bin-daemon.schema.json").read_text()
    assert shipped == cli("check-config", "--schema").stdout


def test_events_lists_what_was_sorted(cli, tmp_path):
    raw = raw_config(write_script(tmp_path, hold("red"), EMPTY))
    (tmp_path / "bin.yaml").write_text(yaml.safe_dump(raw))
    state = tmp_path / "state"
    assert cli("run", "--config", tmp_path / "bin.yaml", "--state", state).returncode == 0
    (event,) = lines(cli("events", "--state", state, "--json").stdout)
    assert event["session"] == 1
    assert event["label"] in cli("events", "--state", state).stdout


def test_events_without_a_store_is_reported(cli, tmp_path):
    done = cli("events", "--state", tmp_path)
    assert done.returncode == 2
    assert "no events yet" in done.stderr


def test_the_models_are_listed_and_verified(cli):
    assert "waste6@" in cli("model", "list").stdout
    done = cli("model", "verify", "waste6")
    assert done.returncode == 0
    assert "golden inputs are right" in done.stdout


def test_a_missing_model_is_reported(cli, stills):
    done = cli("classify", "--model", "none", stills / "red.png")
    assert done.returncode == 1
    assert "no model package 'none'" in done.stderr


def test_the_demo_plays_once_and_hears_what_it_sorted(cli):
    pytest.importorskip("paho.mqtt")
    done = cli("demo", "--once", "--fast")
    if "mosquitto is not installed" in done.stderr:
        pytest.skip("needs mosquitto")
    assert done.returncode == 0, done.stderr
    assert "bins/desk/event/item" in done.stdout
    assert "items in" in done.stdout
    assert "did not arrive" not in done.stdout


def test_the_bench_prints_one_object_with_every_promised_figure(cli):
    from bin_daemon.doctor.benchmark import BOUNDS

    done = cli("bench", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert set(BOUNDS) <= set(figures)
    assert {"invoke_ms", "runtime", "threads", "cycle_ms"} <= set(figures)
    assert all(figures[name] > 0 for name in BOUNDS if name != "rss_growth_mb")
