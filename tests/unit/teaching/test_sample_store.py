"""The sample store, on real files."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bin_daemon.config.sections import KeepSection
from bin_daemon.core.errors import PictureError, StoreError, UsageError
from bin_daemon.model.head import Base
from bin_daemon.store.database import StoreDamagedError
from bin_daemon.teaching.sample_store import Samples, forget

NOW = 1_800_000_000.0
DAY_S = 86_400.0


def crop(seed: int = 0, side: int = 40) -> np.ndarray:
    """A picture like no other, uint8 (side, side, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def embedding(seed: int = 0) -> np.ndarray:
    """float32 (8,)."""
    return np.random.default_rng(seed).normal(size=8).astype(np.float32)


def add(samples: Samples, label: str | None = None, source: Any = "unsure", **more: Any) -> str:
    """Add one picture, taken at NOW."""
    base = Base("waste6@1", more.pop("network", ""))
    said = {
        "base": base, "taken_at": NOW, "session": "s1", "predicted": "paper",
        "confidence": 0.4,
    }  # fmt: skip
    seed = more.pop("seed", 0)
    return samples.add(crop(seed), embedding(seed), label, source, **{**said, **more})


def ids(samples: Samples, **wanted: Any) -> list[str]:
    """What the store holds, in order."""
    return [sample.id for sample in samples.list(**wanted)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the store of the test lies."""
    return tmp_path / "teaching"


@pytest.fixture
def samples(folder: Path) -> Iterator[Samples]:
    """An empty store with room."""
    with Samples(folder) as made:
        yield made


def test_a_sample_comes_back_as_it_was_given_from_another_process(samples, folder):
    added = add(samples, "paper", "taught", seed=5, item="can-1")
    with Samples(folder) as other:
        (found,) = other.list()
        assert (found.id, found.label, found.source, found.item) == (
            added, "paper", "taught", "can-1",
        )  # fmt: skip
        assert (found.predicted, found.confidence, found.model) == ("paper", 0.4, "waste6@1")
        assert (found.taken_at, found.session) == (NOW, "s1")
        np.testing.assert_array_equal(found.embedding, embedding(5))
        np.testing.assert_array_equal(other.crop(added), crop(5))


def test_embeddings_of_another_network_take_the_place_of_those_kept(samples):
    first, second = add(samples, network="old"), add(samples, network="old", cropped=False)
    before = samples.stats().size_bytes
    samples.renew("new", {second: np.ones(10, np.float32)})
    one, other = samples.list()
    assert [(s.id, s.network, s.cropped) for s in (one, other)] == [
        (first, "old", True), (second, "new", False),
    ]  # fmt: skip
    np.testing.assert_array_equal(other.embedding, np.ones(10, np.float32))
    assert samples.stats().size_bytes == before + 4 * 2


def test_a_sample_without_an_item_is_an_item_of_its_own(samples):
    added = add(samples)
    assert samples.list()[0].item == added


def test_samples_are_listed_in_the_order_they_came_by_what_is_asked(samples):
    first = add(samples, "paper", "taught", taken_at=NOW + 5)
    second = add(samples, None, "unsure", item="e2")
    third = add(samples, "glass", "corrected")
    assert ids(samples) == [first, second, third]
    assert ids(samples, labelled=True) == [first, third]
    assert ids(samples, labelled=False) == [second]
    assert ids(samples, item="e2") == [second]
    assert ids(samples, item="e2", labelled=True) == []


def test_a_label_can_be_given_changed_and_taken_back(samples):
    added = add(samples)
    for label in ("metal", "glass bottle", None):
        samples.label(added, label)
        assert samples.list()[0].label == label


@pytest.mark.parametrize("label", ["", "../etc", "a/b", ".hidden", "a\nb", "unlabelled", "x" * 65])
def test_a_label_that_cannot_be_a_folder_is_refused(samples, label):
    added = add(samples)
    with pytest.raises(UsageError, match="cannot name a class"):
        samples.label(added, label)
    with pytest.raises(UsageError, match="cannot name a class"):
        add(samples, label, "taught")
    assert [s.label for s in samples.list()] == [None]


def test_a_sample_is_found_by_the_beginning_of_its_id(samples):
    added = {add(samples) for _ in range(40)}
    one = min(added)
    assert samples.find(one.upper()) == one
    assert samples.find(one) == one
    shared = next(a[:1] for a in added if sum(b[:1] == a[:1] for b in added) > 1)
    with pytest.raises(UsageError, match="type more of it"):
        samples.find(shared)
    for none in ("uuuu", "%"):
        with pytest.raises(UsageError, match=f"no sample '{none}'"):
            samples.find(none)


def test_what_is_not_there_cannot_be_labelled(samples):
    with pytest.raises(UsageError, match="no sample 'abc'"):
        samples.label("abc", "metal")


def test_deleting_removes_pictures_too(samples, folder):
    kept, gone = add(samples), add(samples)
    assert samples.delete([gone, "nosuchid"]) == 1
    assert ids(samples) == [kept]
    assert [file.stem for file in (folder / "crops").iterdir()] == [kept]
    assert samples.stats().dropped == 0


def test_forgetting_leaves_no_picture_and_no_trace_in_the_index(samples, folder):
    add(samples, "verysecretlabel", "taught")
    add(samples)
    assert samples.forget() == 2
    samples.close()
    assert list((folder / "crops").iterdir()) == []
    left = b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())
    assert b"verysecretlabel" not in left


def test_the_oldest_without_a_label_goes_when_there_are_too_many(folder):
    with Samples(folder, KeepSection(max_samples=10)) as samples:
        labelled = add(samples, "paper", "corrected")
        others = [add(samples) for _ in range(9)]
        newest = add(samples)
        assert ids(samples) == [labelled, *others[1:], newest]
        assert samples.stats().dropped == 1
        assert len(list((folder / "crops").iterdir())) == 10


def test_what_was_taught_stays_and_the_rest_makes_room_for_it(folder):
    with Samples(folder, KeepSection(max_samples=10)) as samples:
        corrected = add(samples, "paper", "corrected")
        taught = [add(samples, "paper", "taught") for _ in range(9)]
        with pytest.raises(StoreError, match="full with 10 samples"):
            add(samples)  # a picture without a label is not worth one with
        taught.append(add(samples, "glass", "taught"))
        assert ids(samples) == taught
        with pytest.raises(StoreError, match=r"export and delete some, or raise"):
            add(samples, "glass", "taught")
        assert ids(samples) == taught
        assert corrected not in ids(samples)
        assert len(list((folder / "crops").iterdir())) == 10


def test_the_oldest_goes_when_there_are_too_many_bytes(folder):
    with Samples(folder, KeepSection(max_mb=1)) as samples:
        added = [add(samples, seed=n) for n in range(3)]
        size = samples.stats().size_bytes // 3
        assert size == pytest.approx(40 * 40 * 3 + 32, rel=0.05)  # noise is not compressed
        fit = 1_000_000 // size
        added += [add(samples, seed=0) for _ in range(fit)]
        assert samples.stats().size_bytes <= 1_000_000
        assert ids(samples) == added[-samples.stats().count :]
        assert samples.stats().dropped == len(added) - samples.stats().count


def test_what_is_too_old_goes_unless_somebody_taught_it(folder):
    with Samples(folder, KeepSection(max_days=30)) as samples:
        add(samples)
        add(samples, "paper", "corrected")
        taught = add(samples, "paper", "taught")
        fresh = add(samples, taken_at=NOW + 2 * DAY_S)
        samples.prune(NOW + 29 * DAY_S)
        assert samples.stats().dropped == 0
        samples.prune(NOW + 31 * DAY_S)
        assert ids(samples) == [taught, fresh]
        assert samples.stats().dropped == 2


@pytest.mark.parametrize("damage", ["missing", "cut", "text"])
def test_a_picture_that_is_lost_is_reported_and_the_sample_stays(samples, folder, damage):
    added = add(samples)
    file = folder / "crops" / f"{added}.png"
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:200] if damage == "cut" else b"not a picture")
    with pytest.raises(PictureError, match=added):
        samples.crop(added)
    assert ids(samples) == [added]


def test_what_a_crash_left_is_swept_and_nothing_else(samples, folder):
    added = add(samples)
    (folder / "crops" / "orphan12.png").write_bytes(b"whole, but never told of")
    (folder / "crops" / ".halfdone.png.new").write_bytes(b"ha")
    with Samples(folder):
        assert [file.stem for file in (folder / "crops").iterdir()] == [added]


def test_what_cannot_be_swept_is_left(samples, folder):
    added = add(samples)
    (folder / "crops" / "somebody's").mkdir()
    with Samples(folder) as again:
        assert ids(again) == [added]


def test_a_store_that_opens_does_not_sweep_what_another_is_adding(samples, folder):
    """The other waits until the picture is told of, however long writing it takes."""
    from bin_daemon.teaching import sample_store as module

    written, may_go = threading.Event(), threading.Event()
    write_whole = module.write_whole

    def slowly(*args: Any, **more: Any) -> None:
        write_whole(*args, **more)
        written.set()
        may_go.wait(10)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "write_whole", slowly)
        adding = threading.Thread(target=add, args=(samples,))
        adding.start()
        written.wait(10)
        threading.Timer(0.2, may_go.set).start()
        with Samples(folder) as other:
            (added,) = ids(other)
            other.crop(added)
        adding.join()


def test_a_disk_that_takes_nothing_costs_only_the_sample(samples, folder, monkeypatch):
    kept = add(samples)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("bin_daemon.teaching.sample_store.write_whole", full)
        with pytest.raises(StoreError, match="No space left on device"):
            add(samples)
    again = add(samples)
    assert ids(samples) == [kept, again]
    assert len(list((folder / "crops").iterdir())) == 2


def test_an_index_that_takes_nothing_leaves_no_picture(samples, folder):
    kept = add(samples)
    pages = samples._db.execute("PRAGMA page_count").fetchone()[0]
    samples._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="the disk is full"):
        for _ in range(2000):
            kept = add(samples)
    samples._db.execute("PRAGMA max_page_count = 1000000")
    stored = ids(samples)
    assert stored[-1] == kept
    assert {file.stem for file in (folder / "crops").iterdir()} == set(stored)


def test_nobody_else_may_look_at_the_pictures(samples, folder):
    added = add(samples)
    for path in (
        folder,
        folder / "crops",
        folder / "samples.db",
        folder / "crops" / f"{added}.png",
    ):
        assert stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0


def test_a_damaged_index_is_reported_and_deletes_nothing_until_asked_to(samples, folder):
    added = add(samples)
    samples.close()
    (folder / "samples.db").write_bytes(b"this is no database, " * 100)
    with pytest.raises(StoreDamagedError, match="samples delete --all"):
        Samples(folder)
    assert (folder / "crops" / f"{added}.png").exists()
    assert forget(folder) == 1
    with Samples(folder) as anew:
        assert ids(anew) == []
        add(anew)


def test_forgetting_where_nothing_is_makes_nothing(folder):
    assert forget(folder) == 0
    assert not folder.exists()


def test_an_index_of_a_newer_program_is_left_alone(samples, folder):
    samples.close()
    db = sqlite3.connect(folder / "samples.db")
    db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(StoreError, match="layout is version 9"):
        Samples(folder)


# As version 0.2 began: what layout 1 was.
_LAYOUT_1 = """
CREATE TABLE samples (
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, taken_at REAL NOT NULL,
    label TEXT, source TEXT NOT NULL, predicted TEXT NOT NULL, confidence REAL NOT NULL,
    session TEXT NOT NULL, item TEXT NOT NULL, model TEXT NOT NULL, embedding BLOB NOT NULL,
    size_bytes INTEGER NOT NULL
);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO samples VALUES
    (1, 'a', 1, 'metal', 'taught', 'paper', 0.4, 's', 'i', 'waste6@1', x'0000803f', 9),
    (2, 'b', 2, NULL, 'unsure', 'can', 0.4, 's', 'j', 'waste6@1+taught-20261121', x'0000803f', 9);
PRAGMA user_version = 1
"""


def test_an_index_of_the_first_layout_is_brought_to_the_present_one(folder):
    folder.mkdir()
    db = sqlite3.connect(folder / "samples.db")
    db.executescript(_LAYOUT_1)
    db.close()
    with Samples(folder) as samples:
        added = add(samples, network="sha", cropped=False)
    with Samples(folder) as samples:
        assert [(s.id, s.label, s.model, s.network, s.cropped) for s in samples.list()] == [
            ("a", "metal", "waste6@1", "", True),
            ("b", None, "waste6@1", "", True),
            (added, None, "waste6@1", "sha", False),
        ]
        assert samples.list()[0].embedding == [1.0]


def test_two_may_make_a_store_at_once(folder):
    failed: list[BaseException] = []
    ready = threading.Barrier(4)

    def work() -> None:
        try:
            ready.wait()
            with Samples(folder) as own:
                for _ in range(5):
                    add(own)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with Samples(folder) as samples:
        assert samples.stats().count == 20


@pytest.mark.parametrize("wrong", [np.zeros((40, 40), np.uint8), np.zeros((40, 40, 3))])
def test_what_is_no_picture_is_refused(samples, wrong):
    with pytest.raises(PictureError, match="crop"):
        samples.add(
            wrong, embedding(), None, "unsure",
            base=Base("m", ""), taken_at=NOW, session="s", predicted="", confidence=0,
        )  # fmt: skip
    assert ids(samples) == []
