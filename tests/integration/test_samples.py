"""Kept pictures: by the daemon over drawn scenes, by the command line, and through a kill."""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scenes import EMPTY, config, hold, write_script

from bin_daemon.cli import main
from bin_daemon.core import paths
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.errors import CameraFinishedError, StoreError, UsageError
from bin_daemon.core.messages import Alert, SortEvent
from bin_daemon.daemon.app import App
from bin_daemon.daemon.bin import Bin, Files
from bin_daemon.daemon.verbs import VerbQueue
from bin_daemon.model.head import Base
from bin_daemon.store.history import History
from bin_daemon.teaching.sample import Sample
from bin_daemon.teaching.sample_store import Samples

LABELS = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
NEVER_SURE = {"thresholds": dict.fromkeys(LABELS, 1.0)}
NOW = 1_800_000_000.0


class Events:
    """A recorder that keeps the ids of what was decided."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def decided(self, event: SortEvent) -> None:
        self.ids.append(event.id)

    def completed(self, *outcome: object) -> None:
        pass

    def raise_alert(self, alert: Alert) -> None:
        pass

    def resolve_alert(self, kind: str) -> None:
        pass


def stored(folder: Path) -> list[Sample]:
    with Samples(folder) as samples:
        return samples.list()


def add(samples: Samples, label: str | None = None, **more: object) -> str:
    """A picture of noise."""
    said = {"base": Base("m@1", ""), "taken_at": NOW, "session": "s1", "predicted": "paper"}
    picture = np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    source = "unsure" if label is None else "taught"
    return samples.add(
        picture, np.ones(4, np.float32), label, source, confidence=0.4, **{**said, **more}
    )


def test_a_bin_keeps_no_picture_unless_its_owner_says_so(tmp_path):
    script = write_script(tmp_path, hold("red"), EMPTY)
    App(config(script, decision=NEVER_SURE), tmp_path / "state", SimulatedClock()).run()
    assert not paths.teaching(tmp_path / "state").exists()


def test_items_that_it_was_not_sure_of_are_kept_under_the_ids_of_their_events(tmp_path):
    script = write_script(tmp_path, hold("red"), EMPTY, hold("two"), EMPTY, hold("blue"), EMPTY)
    state = tmp_path / "state"
    keep = {"keep": {"unsure": True}}
    App(config(script, decision=NEVER_SURE, teaching=keep), state, SimulatedClock()).run()
    with History(state / "events.db") as history:
        red, two, blue = history.recent(10)[::-1]
    assert "two or more" in two.reason  # whose picture shows no single class
    samples = stored(paths.teaching(state))
    assert [(s.item, s.predicted, s.label) for s in samples] == [
        (red.id, red.label, None), (blue.id, blue.label, None),
    ]  # fmt: skip
    with Samples(paths.teaching(state)) as store:
        crop = store.crop(samples[0].id)
    strongest = np.median(crop[crop.shape[0] // 3 : -crop.shape[0] // 3].reshape(-1, 3), axis=0)
    assert strongest.argmax() == 0  # red, in RGB
    assert samples[0].embedding.shape == (1280,)


def test_an_order_corrects_the_class_of_a_recent_item(tmp_path):
    script = write_script(tmp_path, hold("red"), EMPTY)
    events, folder = Events(), tmp_path / "teaching"
    settings = config(script, teaching={"keep": {"corrected": True}})
    with Bin(settings, SimulatedClock(), events, files=Files(samples=folder)) as parts:
        correct = VerbQueue(lambda: parts).verbs["correct"]
        with pytest.raises(CameraFinishedError):
            while True:
                parts.step()
        for args in ({}, {"event": events.ids[0]}, {"event": 3, "label": "glass"}):
            with pytest.raises(UsageError, match='takes {"event"'):
                correct(args)
        with pytest.raises(UsageError, match="no route takes 'glas'"):
            correct({"event": events.ids[0], "label": "glas"})
        with pytest.raises(UsageError, match="'nobody' is gone"):
            correct({"event": "nobody", "label": "glass"})
        correct({"event": events.ids[0], "label": "glass"})
    (sample,) = stored(folder)
    assert (sample.item, sample.label, sample.source) == (events.ids[0], "glass", "corrected")


def test_a_bin_that_keeps_nothing_refuses_corrections(tmp_path):
    script = write_script(tmp_path, EMPTY)
    with (
        Bin(config(script), SimulatedClock(), Events(), files=Files(samples=tmp_path)) as parts,
        pytest.raises(UsageError, match=r"see teaching\.keep"),
    ):
        VerbQueue(lambda: parts).verbs["correct"]({"event": "e", "label": "glass"})


_ADDING = """
import sys
from pathlib import Path
import numpy as np
from bin_daemon.config.sections import KeepSection
from bin_daemon.model.head import Base
from bin_daemon.teaching.sample_store import Samples
picture = np.random.default_rng(1).integers(0, 256, (200, 200, 3), dtype=np.uint8)
with Samples(Path(sys.argv[1]), KeepSection(max_samples=10)) as samples:
    while True:
        print(samples.add(
            picture, np.ones(4, np.float32), None, "unsure",
            base=Base("m", ""), taken_at=1.0, session="s", predicted="", confidence=0.0,
        ), flush=True)
"""


def test_a_kill_at_any_moment_leaves_a_store_that_holds_together(tmp_path):
    for told in (1, 14, 17):  # while it fills, and while it drops the oldest
        writer = subprocess.Popen(
            [sys.executable, "-c", _ADDING, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        ids = [writer.stdout.readline().strip() for _ in range(told)]
        assert all(ids), "the writer ended by itself"
        writer.kill()
        ids += [line.strip() for line in writer.stdout]
        writer.wait()
        with Samples(tmp_path) as samples:
            found = [sample.id for sample in samples.list()]
            assert ids[-1] in found[-2:]  # one more may be stored than it could tell of
            assert {p.stem for p in (tmp_path / "crops").iterdir()} == set(found)
            for sample_id in found:
                samples.crop(sample_id)


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 100 kB, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_costs_the_picture_and_leaves_nothing_of_it(tmp_path, small_files):
    with Samples(tmp_path) as samples:
        with pytest.raises(StoreError, match=str(tmp_path)):
            add(samples)
        assert samples.list() == []
        assert list((tmp_path / "crops").iterdir()) == []


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with three samples."""
    with Samples(paths.teaching(tmp_path)) as samples:
        add(samples)
        add(samples, "paper", item="sheet")
        add(samples, "paper", item="sheet", taken_at=NOW - 100 * 86_400)
    return tmp_path


def samples_command(capsys, state: Path, *arguments: object) -> tuple[int, str, str]:
    """Run `bin-daemon samples`; code, output, errors."""
    code = main(["samples", *map(str, arguments), "--state", str(state)])
    said = capsys.readouterr()
    return code, said.out, said.err


def listed(capsys, state: Path, *arguments: str) -> list[dict]:
    _, out, _ = samples_command(capsys, state, "list", "--json", *arguments)
    return [json.loads(line) for line in out.splitlines()]


def test_the_list_shows_what_is_known_of_each(capsys, state):
    first, *papers = listed(capsys, state)
    assert first["label"] is None
    assert (first["predicted"], first["confidence"], first["source"]) == ("paper", 0.4, "unsure")
    assert first["taken_at"] == "2027-01-15T08:00:00.000Z"
    assert first["bytes"] > 200_000
    assert listed(capsys, state, "--unlabelled") == [first]
    assert listed(capsys, state, "--label", "paper") == papers
    code, out, err = samples_command(capsys, state, "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [s["id"] for s in [first, *papers]]
    assert "3 samples, 2 with a label" in err


def test_labels_are_given_by_the_beginning_of_an_id_and_all_or_none(capsys, state):
    ids = [sample["id"] for sample in listed(capsys, state)]
    code, _, err = samples_command(capsys, state, "label", ids[0], "nosuch", "metal")
    assert (code, "no sample 'nosuch'" in err) == (2, True)
    assert listed(capsys, state)[0]["label"] is None
    code, out, _ = samples_command(capsys, state, "label", ids[0][:6], ids[1][:6], "metal")
    assert (code, out) == (0, f"{ids[0]}, {ids[1]}: now metal\n")
    assert [s["label"] for s in listed(capsys, state)] == ["metal", "metal", "paper"]
    samples_command(capsys, state, "label", ids[0], "")
    assert listed(capsys, state)[0]["label"] is None


def test_an_export_has_a_folder_a_class_and_keeps_things_together(capsys, state, tmp_path):
    loose, first, second = (sample["id"] for sample in listed(capsys, state))
    folder = tmp_path / "taken" / "home"
    code, out, _ = samples_command(capsys, state, "export", folder)
    assert (code, out) == (0, f"{folder}: 2 paper, 1 unlabelled\n")
    with (folder / "groups.csv").open(newline="") as file:
        groups = {row["file"]: row["group"] for row in csv.DictReader(file)}
    assert groups == {
        f"unlabelled/{loose}.png": loose,
        f"paper/{first}.png": "sheet",
        f"paper/{second}.png": "sheet",
    }
    assert {p.relative_to(folder).as_posix() for p in folder.glob("*/*.png")} == set(groups)
    with (folder / "sessions.csv").open(newline="") as file:
        assert {
            row["file"]: (row["session"], row["cropped"]) for row in csv.DictReader(file)
        } == dict.fromkeys(groups, ("s1", "yes"))
    code, _, err = samples_command(capsys, state, "export", folder)
    assert (code, "is not empty" in err) == (2, True)


def test_a_lost_picture_is_reported_and_left_out_of_the_export(capsys, state, tmp_path):
    loose = listed(capsys, state)[0]["id"]
    (paths.teaching(state) / "crops" / f"{loose}.png").unlink()
    code, out, err = samples_command(capsys, state, "export", tmp_path / "out", "--json")
    assert code == 1
    assert json.loads(out) == {"written": {"paper": 2}, "skipped": 1}
    assert loose in err


def test_samples_are_deleted_by_id_and_all(capsys, state):
    loose = listed(capsys, state)[0]["id"]
    assert samples_command(capsys, state, "delete", loose[:6])[1] == "1 deleted\n"
    assert len(listed(capsys, state)) == 2
    assert samples_command(capsys, state, "delete", "--all", "--json")[1] == '{"deleted":2}\n'
    assert listed(capsys, state) == []


def test_age_counts_from_today(capsys, tmp_path, monkeypatch):
    with Samples(paths.teaching(tmp_path)) as samples:
        for days in (1, 10, 100):
            add(samples, taken_at=NOW - days * 86_400, item=str(days))
    monkeypatch.setattr("time.time", lambda: NOW)
    assert samples_command(capsys, tmp_path, "delete", "--older-than", "30")[1] == "1 deleted\n"
    assert [s["item"] for s in listed(capsys, tmp_path)] == ["1", "10"]


@pytest.mark.parametrize("arguments", [(), ("--all", "x"), ("--older-than", "-1")])
def test_deleting_wants_one_way_of_choosing(capsys, state, arguments):
    code, _, err = samples_command(capsys, state, "delete", *arguments)
    assert (code, "give" in err) == (2, True)
    assert len(listed(capsys, state)) == 3


def test_a_damaged_store_can_be_replaced(capsys, state):
    (paths.teaching(state) / "samples.db").write_bytes(b"no database " * 99)
    code, _, err = samples_command(capsys, state, "list")
    assert (code, "samples delete --all" in err) == (1, True)
    assert samples_command(capsys, state, "delete", "--all")[1] == "3 deleted\n"
    assert listed(capsys, state) == []


def test_where_nothing_was_kept_that_is_said_and_nothing_is_made(capsys, tmp_path):
    code, _, err = samples_command(capsys, tmp_path, "list")
    assert (code, "no samples yet" in err) == (2, True)
    assert list(tmp_path.iterdir()) == []
