"""`teach --from` on a drawn chamber: from folders of pictures to what the bin says of an item."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from scenes import chamber, hold, raw_config, write_script

from bin_daemon.cli import main
from bin_daemon.config.load import validate
from bin_daemon.config.sections import Config
from bin_daemon.core import paths
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.errors import CameraFinishedError
from bin_daemon.daemon.app import App
from bin_daemon.daemon.bin import Bin, Files
from bin_daemon.daemon.watchdog import notify
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.head import Base, Head
from bin_daemon.model.package import open_package
from bin_daemon.teaching import training
from bin_daemon.teaching.activation import head_for
from bin_daemon.teaching.sample_store import Samples

COLOURS = {"glass": (190, 30, 40), "can": (30, 50, 190)}
OF_EACH = 12


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def boxes(label: str, count: int, seed: int = 0) -> list[np.ndarray]:
    """Boxes of about the class's colour, of many shapes, at many places, each printed on."""
    rng = np.random.default_rng([seed, *label.encode()])
    found = []
    for _ in range(count):
        picture, width, height = chamber(), *rng.integers(60, 190, 2).tolist()
        x, y = rng.integers((40, 90), (580 - width, 430 - height)).tolist()
        colour = (np.array(COLOURS[label]) + rng.integers(-30, 31, 3)).clip(0, 255).tolist()
        cv2.rectangle(picture, (x, y), (x + width, y + height), colour, -1)
        for _ in range(int(rng.integers(1, 5))):
            ends = rng.integers((x + 5, y + 5), (x + width - 5, y + height - 5), (2, 2)).tolist()
            shade = rng.integers(0, 256, 3).tolist()
            cv2.line(picture, ends[0], ends[1], shade, int(rng.integers(2, 12)))
        found.append(picture)
    return found


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures of `labelled`, drawn once."""
    folder = tmp_path_factory.mktemp("drawn")
    for label in COLOURS:
        for number, picture in enumerate(boxes(label, OF_EACH)):
            save(folder / label / f"{number}.png", picture)
    return folder


@pytest.fixture
def labelled(tmp_path: Path, drawn: Path) -> Path:
    """A folder of red boxes called glass and blue ones called can, and the empty chamber."""
    save(tmp_path / "empty.png", chamber())
    return shutil.copytree(drawn, tmp_path / "labelled")


@pytest.fixture
def settings(tmp_path: Path) -> dict:
    """A bin with a route for cans."""
    raw = raw_config(write_script(tmp_path, hold("blue", label="can")))
    raw["routes"]["recyclables"]["takes"].append("can")
    return raw


@pytest.fixture
def command(tmp_path: Path, settings: dict, capsys):
    """Runs `bin-daemon` with that bin and its state; gives code, output and errors."""

    def run(name: str, *words: object, config: dict = settings) -> tuple[int, str, str]:
        path = tmp_path / "bin.yaml"
        path.write_text(yaml.safe_dump(config))
        state = ["--config", str(path), "--state", str(tmp_path / "state")]
        code = main([name, *map(str, words), *state])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def teach(command, labelled, tmp_path):
    """Teaches the labelled folder and gives what `--json` says."""

    def run(*words: object) -> dict:
        empty = ("--empty", tmp_path / "empty.png")
        code, out, err = command("teach", "--from", labelled, "--json", *empty, *words)
        assert code == 0, err
        return json.loads(out)

    return run


def test_a_taught_bin_says_its_new_class_and_no_taught_leaves_it_out(teach, command, tmp_path):
    told = teach()
    assert told["activated"]
    assert told["after"]["accuracy"] > told["before"]["accuracy"]
    assert told["labels"][-1] == "can"
    save(tmp_path / "new.png", boxes("can", 1, seed=5)[0])
    ask = ("--json", "--empty", tmp_path / "empty.png", tmp_path / "new.png")
    assert json.loads(command("classify", *ask)[1])["label"] == "can"
    assert "can" not in json.loads(command("classify", "--no-taught", *ask)[1])["probabilities"]


def test_the_figures_are_shown_for_people_too(command, labelled, tmp_path):
    empty = ("--empty", tmp_path / "empty.png")
    code, out, _ = command("teach", "--from", labelled, *empty)
    assert code == 0
    for words in ("before -> after", "can", "macro-F1", "item taken out", "in use: waste6@"):
        assert words in out


def test_teaching_the_same_pictures_again_keeps_them_once(teach, tmp_path):
    assert teach()["pictures"] == teach()["pictures"] == {"can": OF_EACH, "glass": OF_EACH}


def test_the_same_folder_by_another_path_keeps_nothing_twice(teach, command, tmp_path, monkeypatch):
    told = teach()
    monkeypatch.chdir(tmp_path)
    again = json.loads(command("teach", "--from", "labelled", "--json", "--empty", "empty.png")[1])
    assert again["pictures"] == told["pictures"]


def test_what_the_network_has_seen_once_it_does_not_look_at_again(teach, monkeypatch):
    classify, looks = Classifier.classify, []

    def counted(self, image):
        looks.append(image)
        return classify(self, image)

    monkeypatch.setattr(Classifier, "classify", counted)
    first = teach()
    assert len(looks) == 2 * 2 * OF_EACH  # the crop of each picture, and its ground
    assert teach()["after"] == first["after"]
    assert len(looks) == 3 * 2 * OF_EACH  # the backgrounds again, which are not stored


def test_the_same_pictures_are_kept_once_whatever_the_network(teach, tmp_path):
    told = teach()
    of_another_network(tmp_path / "state")
    assert teach()["pictures"] == told["pictures"]


def test_a_picture_whose_class_was_taken_back_is_not_kept_twice(teach, tmp_path):
    teach()
    with Samples(paths.teaching(tmp_path / "state")) as samples:
        samples.label(samples.list()[0].id, None)
    assert teach()["pictures"] == {"can": OF_EACH, "glass": OF_EACH}
    with Samples(paths.teaching(tmp_path / "state")) as samples:
        assert samples.stats().count == 2 * OF_EACH


def test_a_stray_label_does_not_keep_the_bin_from_learning(teach, labelled, tmp_path):
    save(labelled / "paper" / "0.png", boxes("glass", 1, seed=8)[0])
    told = teach()
    assert told["activated"]
    assert told["left_out"] == {"paper": "pictures still needed: 2"}
    assert told["pictures"] == {"can": OF_EACH, "glass": OF_EACH}


def test_undo_does_not_go_back_to_a_head_that_the_bin_could_not_start_with(
    teach, command, settings, tmp_path
):
    teach()
    taught = paths.taught_head(tmp_path / "state")
    before = taught.read_bytes()
    (taught.parent / "head.previous.npz").write_bytes(before)
    settings["routes"]["recyclables"]["takes"].remove("can")
    code, _, err = command("teach", "--undo")
    assert code == 2
    assert "no route takes 'can'" in err
    assert taught.read_bytes() == before


def test_undo_takes_the_head_back_and_keeps_the_pictures(teach, command, tmp_path):
    teach()
    assert command("teach", "--undo")[0] == 0
    assert not paths.taught_head(tmp_path / "state").exists()
    with Samples(paths.teaching(tmp_path / "state")) as samples:
        assert samples.stats().count == 2 * OF_EACH
    assert command("teach", "--undo")[0] == 2


def test_what_is_kept_is_learnt_without_a_picture_more(teach, command, tmp_path):
    told = teach()
    command("teach", "--undo")
    with Samples(paths.teaching(tmp_path / "state")) as samples:
        for sample in samples.list()[:3]:
            samples.label(sample.id, None)
    code, out, err = command("teach", "--kept", "--json")
    assert code == 0, err
    again = json.loads(out)
    assert again["activated"]
    assert sum(again["pictures"].values()) == 2 * OF_EACH - 3
    assert again.keys() == told.keys()
    head = Head.load(paths.taught_head(tmp_path / "state"))
    assert head is not None
    assert head.id == again["model"]


def test_where_nothing_is_kept_nothing_can_be_learnt_from_it(command, tmp_path):
    code, _, err = command("teach", "--kept")
    assert (code, "no samples yet" in err) == (2, True)
    assert not (tmp_path / "state").exists()


def test_forget_deletes_the_pictures_and_keeps_the_head(teach, command, tmp_path):
    teach()
    code, out, _ = command("teach", "--forget", "--json")
    assert (code, json.loads(out)) == (0, {"forgotten": 2 * OF_EACH})
    assert not list((paths.teaching(tmp_path / "state") / "crops").iterdir())
    assert paths.taught_head(tmp_path / "state").exists()


def test_a_class_without_a_route_is_refused_before_anything_is_stored(
    command, labelled, settings, tmp_path
):
    settings["routes"]["recyclables"]["takes"].remove("can")
    code, _, err = command("teach", "--from", labelled, config=settings)
    assert code == 2
    assert "no route takes 'can'" in err
    assert not paths.teaching(tmp_path / "state").exists()


def test_a_route_that_is_added_while_items_are_shown_counts(
    teach, command, settings, tmp_path, monkeypatch
):
    teach()
    command("teach", "--undo")
    settings["routes"]["recyclables"]["takes"].remove("can")

    def person(*_: object) -> None:
        settings["routes"]["recyclables"]["takes"].append("can")
        (tmp_path / "bin.yaml").write_text(yaml.safe_dump(settings))

    monkeypatch.setattr("bin_daemon.cli.teach_live._teach", person)
    code, out, err = command("teach")
    assert code == 0, err
    assert "in use: waste6@" in out
    head = Head.load(paths.taught_head(tmp_path / "state"))
    assert head is not None
    assert "can" in head.labels


def test_a_picture_without_an_item_is_skipped_and_reported(teach, labelled):
    save(labelled / "can" / "nothing.png", chamber())
    told = teach()
    assert [Path(s["file"]).name for s in told["skipped"]] == ["nothing.png"]
    assert told["pictures"]["can"] == OF_EACH


def test_sessions_name_the_empty_view_of_each_picture(command, labelled, tmp_path):
    with (labelled / "sessions.csv").open("w", newline="") as file:
        rows = [(p.relative_to(labelled), "../empty.png") for p in labelled.glob("*/*.png")]
        csv.writer(file).writerows([("file", "empty"), *rows])
    told = json.loads(command("teach", "--from", labelled, "--json")[1])
    assert told["empty_views"] == []
    assert told["control"]["pictures"] == 2 * OF_EACH


@pytest.fixture
def exported(teach, command, tmp_path):
    """What a taught bin exports, with one picture that nobody named; its state is gone then."""
    teach()
    with Samples(paths.teaching(tmp_path / "state")) as samples:
        samples.label(samples.list()[0].id, None)
    code = main(["samples", "export", str(tmp_path / "out"), "--state", str(tmp_path / "state")])
    assert code == 0
    shutil.rmtree(tmp_path / "state")
    return tmp_path / "out"


def test_what_a_bin_exports_teaches_another_the_same(exported, teach, command, tmp_path, capsys):
    capsys.readouterr()
    code, out, err = command("teach", "--from", exported, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["activated"]
    assert sum(told["pictures"].values()) == 2 * OF_EACH - 1
    with Samples(paths.teaching(tmp_path / "state")) as samples:
        stored = {sample.item: samples.crop(sample.id) for sample in samples.list()}
    with (exported / "groups.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if not row["file"].startswith("unlabelled/"):
                written = cv2.imread(str(exported / row["file"]))[..., ::-1]
                assert np.array_equal(stored.pop(row["group"]), written)
    assert not stored


def test_crops_have_no_control_and_that_is_said_in_words_that_fit(exported, command, capsys):
    capsys.readouterr()
    told = json.loads(command("teach", "--from", exported, "--json")[1])
    assert told["control"] is None
    left_out, taken = told["empty_views"]
    assert "unlabelled: 1 pictures left out" in left_out
    assert f"{2 * OF_EACH - 1} pictures are crops that a bin made: taken as they are" in taken
    assert "no control against shortcuts" in taken


def test_teaching_a_bin_its_own_export_keeps_nothing_twice(teach, command, tmp_path, capsys):
    teach()
    main(["samples", "export", str(tmp_path / "out"), "--state", str(tmp_path / "state")])
    capsys.readouterr()
    told = json.loads(command("teach", "--from", tmp_path / "out", "--json")[1])
    assert told["pictures"] == {"can": OF_EACH, "glass": OF_EACH}


def test_whole_frames_are_not_exported_as_crops(command, labelled, tmp_path):
    for label in COLOURS:
        for picture in sorted((labelled / label).iterdir())[3:]:
            picture.unlink()
    told = json.loads(command("teach", "--from", labelled, "--json")[1])
    assert "the whole frame is taught" in told["empty_views"][0]
    main(["samples", "export", str(tmp_path / "out"), "--state", str(tmp_path / "state")])
    with (tmp_path / "out" / "sessions.csv").open(newline="") as file:
        assert [row["cropped"] for row in csv.DictReader(file)] == [""] * 6


def test_an_empty_view_of_crops_is_refused(exported, command, tmp_path):
    empty = ("--empty", tmp_path / "empty.png")
    code, _, err = command("teach", "--from", exported, *empty)
    assert code == 2
    assert "its pictures are crops already; leave --empty out" in err


def test_pictures_of_one_thing_are_never_taught_and_tested_on(labelled, command, tmp_path):
    with (labelled / "groups.csv").open("w", newline="") as file:
        rows = [
            (p.relative_to(labelled), f"{p.parent.name}{int(p.stem) // 3}")
            for p in labelled.glob("*/*.png")
        ]
        csv.writer(file).writerows([("file", "group"), *rows])
    empty = ("--empty", tmp_path / "empty.png")
    told = json.loads(command("teach", "--from", labelled, "--json", *empty)[1])
    assert told["things"] == {"can": OF_EACH // 3, "glass": OF_EACH // 3}


def test_empty_views_that_sessions_name_are_no_class(command, labelled):
    save(labelled / "empty" / "view.png", chamber())
    with (labelled / "sessions.csv").open("w", newline="") as file:
        rows = [(p.relative_to(labelled), "empty/view.png") for p in labelled.glob("[cg]*/*.png")]
        csv.writer(file).writerows([("file", "empty"), *rows])
    told = json.loads(command("teach", "--from", labelled, "--json")[1])
    assert told["pictures"] == {"can": OF_EACH, "glass": OF_EACH}


def test_an_empty_view_within_the_folder_is_no_class(command, labelled):
    save(labelled / "views" / "empty.png", chamber())
    words = ("--from", labelled, "--json", "--empty", labelled / "views" / "empty.png")
    told = json.loads(command("teach", *words)[1])
    assert told["pictures"] == {"can": OF_EACH, "glass": OF_EACH}


def test_without_an_empty_view_the_median_serves_and_that_is_said(command, labelled):
    (labelled / "can" / "bad.jpg").write_bytes(b"no picture")
    told = json.loads(command("teach", "--from", labelled, "--json")[1])
    assert "the median of its 24 pictures" in told["empty_views"][0]
    assert [Path(s["file"]).name for s in told["skipped"]] == ["bad.jpg"]


def test_where_too_few_pictures_are_left_it_says_what_became_of_the_others(
    command, labelled, tmp_path
):
    save(tmp_path / "small.png", chamber()[:240, :320])
    code, _, err = command("teach", "--from", labelled, "--empty", tmp_path / "small.png")
    assert code == 2
    assert "640x480 pixels, its empty view has 320x240" in err
    assert "two classes or more" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file\n", "needs the columns"),
        ("file,empty\ncan/0.png,gone.png\n", "no such picture"),
        ("file,empty\ncan/99.png,\n", "'can/99.png' is no picture"),
        ("file,cropped\ncan/0.png,maybe\n", "cropped: must be 'yes'"),
        ("file,cropped,empty\ncan/0.png,yes,../empty.png\n", "without an empty view"),
    ],
)
def test_a_sessions_file_that_does_not_fit_is_refused(command, labelled, text, words):
    (labelled / "sessions.csv").write_text(text)
    code, _, err = command("teach", "--from", labelled)
    assert code == 2
    assert words in err


class Recorder:
    """Keeps what the bin tells."""

    def __init__(self) -> None:
        self.events, self.alerts = [], []

    def decided(self, event) -> None:
        self.events.append(event)

    def completed(self, *_) -> None:
        pass

    def raise_alert(self, alert) -> None:
        self.alerts.append(alert)

    def resolve_alert(self, kind) -> None:
        pass


def sorted_by(settings: dict, state: Path | None) -> Recorder:
    recorder = Recorder()
    files = Files(taught=state, cache_dir=state)
    bin_ = Bin(validate(Config, settings), SimulatedClock(), recorder, files=files)
    with bin_ as parts, pytest.raises(CameraFinishedError):
        while True:
            parts.step()
    return recorder


def test_the_bin_sorts_by_what_it_was_taught_and_its_events_say_so(teach, settings, tmp_path):
    told = teach()
    settings["camera"]["loop"] = False
    (event,) = sorted_by(settings, tmp_path / "state").events
    assert (event.label, event.model) == ("can", told["model"])
    (event,) = sorted_by(settings, None).events
    assert event.model == open_package("waste6").id


def of_another_network(state: Path) -> Head:
    """Make the head in use, and what is known of the pictures, of an older network."""
    head = Head.load(paths.taught_head(state))
    assert head is not None
    older = dataclasses.replace(head, base=Base("waste6@0", "0" * 64))
    older.save(paths.taught_head(state))
    with Samples(paths.teaching(state)) as samples:
        samples.renew("0" * 64, {s.id: np.ones(7, np.float32) for s in samples.list()})
    return older


def test_another_network_is_taught_again_from_the_kept_pictures(teach, settings, tmp_path):
    teach()
    older = of_another_network(tmp_path / "state")
    settings["camera"]["loop"] = False
    recorder = sorted_by(settings, tmp_path / "state")
    assert [event.label for event in recorder.events] == ["can"]
    assert not recorder.alerts
    now = Head.load(paths.taught_head(tmp_path / "state"))
    assert now is not None
    assert now.base == Base.of(open_package("waste6"))
    assert now.kernel == pytest.approx(older.kernel, abs=1e-3)
    with Samples(paths.teaching(tmp_path / "state")) as samples:
        assert {sample.network for sample in samples.list()} == {now.base.sha256}


def test_what_an_update_made_again_is_undone_to_the_package(teach, command, settings, tmp_path):
    teach()
    teach()
    state = tmp_path / "state"
    previous = paths.teaching(state) / "head.previous.npz"
    of_another_network(state).save(previous)
    before = previous.read_bytes()
    settings["camera"]["loop"] = False
    sorted_by(settings, state)
    assert previous.read_bytes() == before
    assert json.loads(command("teach", "--undo", "--json")[1]) == {"model": None}
    recorder = sorted_by(settings, state)
    assert recorder.events[0].model == open_package("waste6").id
    assert not recorder.alerts


def test_that_nothing_better_comes_of_an_update_is_learnt_once(
    teach, settings, tmp_path, monkeypatch
):
    teach()
    state = tmp_path / "state"
    of_another_network(state)
    settings["camera"]["loop"] = False
    learn, trained = training.train, []

    def no_better(*values, **more):
        trained.append(dataclasses.replace(learn(*values, **more), better=False))
        return trained[-1]

    monkeypatch.setattr(training, "train", no_better)
    for _ in range(2):
        (alert,) = sorted_by(settings, state).alerts
        assert "as good by itself on the kept pictures" in alert.message
    assert len(trained) == 1
    config = validate(Config, settings)
    ask = Classifier(open_package("waste6")), config, state
    assert "as good by itself" in head_for(*ask, keep=False)[1]
    assert len(trained) == 1
    with Samples(paths.teaching(state)) as samples:
        samples.label(samples.list()[0].id, None)
    head_for(*ask, keep=False)
    assert len(trained) == 2


def test_systemd_is_asked_for_time_while_a_bin_learns_again(teach, settings, tmp_path, monkeypatch):
    teach()
    of_another_network(tmp_path / "state")
    settings["camera"]["loop"] = False
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(os.fspath(address))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", os.fspath(address))
        heard = []

        def taken(words: str) -> None:  # at once: no more than a few wait in a socket
            notify(words)
            heard.append(manager.recv(200))

        monkeypatch.setattr("bin_daemon.daemon.app.notify", taken)
        App(validate(Config, settings), tmp_path / "state", SimulatedClock()).run()
    *learning, ready, _ = heard
    assert ready.startswith(b"READY=1")
    assert learning[0] == (
        b"EXTEND_TIMEOUT_USEC=90000000\nSTATUS=learning anew: looking at picture 1 of 24"
    )
    assert learning[-1].endswith(b"STATUS=learning anew: learning from all")


def test_a_kept_class_without_a_route_does_not_keep_an_updated_bin_from_sorting(
    teach, settings, tmp_path
):
    teach()
    with Samples(paths.teaching(tmp_path / "state")) as samples:
        for sample in [s for s in samples.list() if s.label == "glass"][:4]:
            samples.label(sample.id, "lid")
    of_another_network(tmp_path / "state")
    settings["camera"]["loop"] = False
    recorder = sorted_by(settings, tmp_path / "state")
    assert [event.label for event in recorder.events] == ["can"]
    (alert,) = recorder.alerts
    assert alert.kind == "teaching"
    assert "'lid' is left out: no route takes it; add it to one's 'takes'" in alert.message


def test_a_taught_class_whose_pictures_are_gone_is_reported(teach, command, settings, tmp_path):
    teach()
    state = tmp_path / "state"
    with Samples(paths.teaching(state)) as samples:
        for sample in samples.list():
            samples.label(sample.id, "metal" if sample.label == "can" else sample.label)
    words = "'can' is left out: pictures still needed: 3"
    assert words in json.loads(command("teach", "--kept", "--json")[1])["warnings"]
    command("teach", "--undo")
    of_another_network(state)
    settings["camera"]["loop"] = False
    (alert,) = sorted_by(settings, state).alerts
    assert words in alert.message


def test_another_network_whose_pictures_were_forgotten_raises_an_alert(
    teach, command, settings, tmp_path
):
    teach()
    command("teach", "--forget")
    of_another_network(tmp_path / "state")
    settings["camera"]["loop"] = False
    recorder = sorted_by(settings, tmp_path / "state")
    (alert,) = recorder.alerts
    assert alert.kind == "teaching"
    assert "taught on waste6@0" in alert.message
    assert recorder.events[0].model == open_package("waste6").id


def test_classify_with_another_network_learns_again_without_writing(teach, settings, tmp_path):
    teach()
    of_another_network(tmp_path / "state")
    before = paths.taught_head(tmp_path / "state").read_bytes()
    classifier, config = Classifier(open_package("waste6")), validate(Config, settings)
    head, words = head_for(classifier, config, tmp_path / "state", keep=False)
    assert head is not None
    assert not words
    assert paths.taught_head(tmp_path / "state").read_bytes() == before
