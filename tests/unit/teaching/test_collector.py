"""What the daemon keeps of items, on a real store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import wait_until

from bin_daemon.config.sections import KeepSection
from bin_daemon.core.clock import SimulatedClock
from bin_daemon.core.errors import StoreError, UsageError
from bin_daemon.core.messages import Decision, Item, Prediction, SortEvent
from bin_daemon.model.head import Base
from bin_daemon.teaching import collector as module
from bin_daemon.teaching.collector import QUEUED, RECENT, Collector
from bin_daemon.teaching.sample import Sample
from bin_daemon.teaching.sample_store import Samples

NOW = 1_800_000_000.0
LABELS = ("metal", "paper")
NETWORK = Base("waste6@1", "a" * 64)
Make = Callable[..., Collector]


def notice(collector: Collector, event_id: str, side: int = 40, **decided: Any) -> None:
    """Let it notice one item; sure of itself by default."""
    shares = np.array([0.3, 0.7], np.float32)
    said = {"label": "paper", "confidence": 0.7, **decided}
    decision = Decision(
        route="left", labels=LABELS, probabilities=shares, reason="", **said
    )  # fmt: skip
    event = SortEvent(
        id=event_id, session=3, seq=1, decided_at=NOW, label=decision.label,
        confidence=decision.confidence, top_k=decision.top(2), route="left", reason="",
        model="waste6@1+taught-20270101", looks=3, item={}, timings_ms={}, boot_id="",
        monotonic_s=1.0, clock_synced=True,
    )  # fmt: skip
    picture = np.full((side, side, 3), len(event_id), np.uint8)
    item = Item(picture, (0, 0, 4, 4), np.ones((4, 4), bool), 0.1, (0.5, 0.5))
    collector.on_decision(event, decision, item, Prediction(LABELS, shares, shares * 2, {}))


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes one that keeps as it is told; all are closed at the end, however long that takes."""
    monkeypatch.setattr(module, "CLOSE_S", 60.0)
    made: list[Collector] = []

    def make(synced: bool = True, **keep: Any) -> Collector:
        clock = SimulatedClock(wall=NOW)
        made.append(Collector(tmp_path, KeepSection(**keep), NETWORK, clock, lambda: synced))
        return made[-1]

    yield make
    for collector in made:
        collector.close()


def kept(collector: Collector, folder: Path) -> list[Sample]:
    """What is on disk once it has written what waited."""
    collector.close()
    with Samples(folder) as samples:
        return samples.list()


def test_an_item_it_was_not_sure_of_is_kept_whole(new, tmp_path):
    collector = new(unsure=True)
    notice(collector, "e1", unsure=True, rejected=True, confidence=0.4)
    (sample,) = kept(collector, tmp_path)
    assert (sample.label, sample.source, sample.item) == (None, "unsure", "e1")
    assert (sample.predicted, sample.confidence) == ("paper", pytest.approx(0.4))
    assert (sample.model, sample.session, sample.taken_at) == ("waste6@1", "run-3", NOW)
    assert sample.network == NETWORK.sha256
    assert sample.cropped
    np.testing.assert_array_equal(sample.embedding, np.array([0.6, 1.4], np.float32))
    with Samples(tmp_path) as samples:
        np.testing.assert_array_equal(samples.crop(sample.id), np.full((40, 40, 3), 2, np.uint8))


def test_only_what_was_opted_for_is_kept(new, tmp_path):
    collector = new(unsure=True, below=0.6)
    notice(collector, "sure", confidence=0.61)
    notice(collector, "full compartment", confidence=0.9, rejected=True)
    notice(collector, "hardly sure", confidence=0.59)
    assert [s.item for s in kept(collector, tmp_path)] == ["hardly sure"]


def test_what_is_only_corrected_is_kept_with_its_true_class(new, tmp_path):
    collector = new(corrected=True)
    notice(collector, "e1", unsure=True)
    notice(collector, "e2")
    collector.correct("e2", "metal")
    (sample,) = kept(collector, tmp_path)
    assert (sample.item, sample.label, sample.source) == ("e2", "metal", "corrected")
    assert sample.predicted == "paper"


def test_a_correction_labels_what_is_kept_already(new, tmp_path):
    collector = new(unsure=True, corrected=True)
    notice(collector, "e1", unsure=True)
    collector.correct("e1", "metal")
    collector.correct("e1", "paper")
    (sample,) = kept(collector, tmp_path)
    assert (sample.label, sample.source) == ("paper", "unsure")


def test_corrections_are_refused_where_they_are_not_kept(new):
    collector = new(unsure=True)
    notice(collector, "e1", unsure=True)
    with pytest.raises(UsageError, match=r"set teaching\.keep\.corrected"):
        collector.correct("e1", "metal")


def test_the_picture_of_an_item_is_held_for_a_while_only(new, tmp_path):
    collector = new(corrected=True)
    for number in range(RECENT + 1):
        notice(collector, f"e{number}")
    with pytest.raises(UsageError, match="'e0' is gone"):
        collector.correct("e0", "metal")
    collector.correct("e1", "metal")
    assert [s.item for s in kept(collector, tmp_path)] == ["e1"]


def test_large_pictures_are_held_for_less_long(new, monkeypatch):
    monkeypatch.setattr(module, "RECENT_BYTES", 2 * 100 * 100 * 3)
    collector = new(corrected=True)
    for number in range(3):
        notice(collector, f"e{number}", side=100)
    with pytest.raises(UsageError, match="'e0' is gone"):
        collector.correct("e0", "metal")
    collector.correct("e1", "metal")


def test_what_is_on_disk_can_be_corrected_long_after(new, tmp_path):
    collector = new(unsure=True, corrected=True)
    notice(collector, "first", unsure=True)
    for number in range(RECENT):
        notice(collector, f"e{number}")
    await_count(tmp_path, 1)
    collector.correct("first", "metal")
    assert [s.label for s in kept(collector, tmp_path)] == ["metal"]


def await_count(folder: Path, count: int) -> None:
    """Until so many samples are on disk."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with Samples(folder) as samples:
            if samples.stats().count == count:
                return
        time.sleep(0.02)
    pytest.fail(f"there were never {count} samples")


class SlowDisk:
    """A disk that writes nothing until it is let go, or that fails while it is to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.reached = threading.Event(), threading.Event()
        self.error: Exception | None = None
        add = Samples.add

        def slow(samples: Samples, *values: Any, **more: Any) -> str:
            self.reached.set()
            self.go.wait(20)
            if self.error:
                raise self.error
            return add(samples, *values, **more)

        monkeypatch.setattr(Samples, "add", slow)


def test_sorting_never_waits_and_what_a_slow_disk_loses_is_counted(new, tmp_path, monkeypatch):
    disk = SlowDisk(monkeypatch)
    collector = new(unsure=True, corrected=True)
    notice(collector, "e0", unsure=True)
    assert disk.reached.wait(30)
    for number in range(1, QUEUED + 4):  # would hang here if it waited for the disk
        notice(collector, f"e{number}", unsure=True)
    assert collector.lost == 3
    assert "the disk is too slow" in collector.problems()[0]
    assert "(3 lost since the start)" in collector.problems()[0]
    with pytest.raises(UsageError, match="try again in a moment"):
        collector.correct("e1", "metal")
    disk.go.set()
    assert len(kept(collector, tmp_path)) == QUEUED + 1
    assert collector.problems() == ()
    with Samples(tmp_path) as samples:
        assert samples.stats().dropped == 4


def test_a_disk_that_hangs_does_not_hold_up_the_end(new, monkeypatch, caplog):
    disk = SlowDisk(monkeypatch)
    collector = new(unsure=True)
    notice(collector, "stuck", unsure=True)
    assert disk.reached.wait(30)
    with monkeypatch.context() as patch:
        patch.setattr(module, "CLOSE_S", 0.05)
        collector.close()  # would hang here if it waited for the disk
    assert "still wait for the disk and are lost" in caplog.text
    disk.go.set()


@pytest.mark.parametrize("error", [StoreError("the disk is full"), ZeroDivisionError()])
def test_a_picture_that_cannot_be_written_costs_only_itself(new, tmp_path, monkeypatch, error):
    disk = SlowDisk(monkeypatch)
    disk.error = error
    collector = new(unsure=True)
    notice(collector, "lost", unsure=True)
    assert disk.reached.wait(30)
    disk.reached.clear()
    disk.go.set()
    notice(collector, "lost too", unsure=True)
    assert disk.reached.wait(30)
    wait_until(lambda: collector.lost == 2, "both to be lost")
    assert ("the disk is full" if isinstance(error, StoreError) else "ZeroDivisionError") in (
        collector.problems()[0]
    )
    disk.error = None
    notice(collector, "kept", unsure=True)
    assert [s.item for s in kept(collector, tmp_path)] == ["kept"]
    assert collector.problems() == ()


def test_a_store_that_cannot_be_opened_is_reported_and_tried_again(new, tmp_path):
    (tmp_path / "samples.db").write_bytes(b"this is no database, " * 100)
    collector = new(unsure=True)
    notice(collector, "lost", unsure=True)
    wait_until(lambda: collector.lost, "the picture to be lost")
    assert "samples delete --all" in collector.problems()[0]
    (tmp_path / "samples.db").unlink()
    notice(collector, "kept", unsure=True)
    assert [s.item for s in kept(collector, tmp_path)] == ["kept"]


def test_pictures_go_to_the_store_that_replaced_the_former(new, tmp_path):
    collector = new(unsure=True)
    notice(collector, "before", unsure=True)
    await_count(tmp_path, 1)
    for path in [*tmp_path.glob("samples.db*"), *(tmp_path / "crops").iterdir()]:
        path.unlink()
    Samples(tmp_path).close()
    notice(collector, "after", unsure=True)
    assert [s.item for s in kept(collector, tmp_path)] == ["after"]


@pytest.mark.parametrize(("synced", "left"), [(True, 0), (False, 1)])
def test_old_pictures_go_at_the_start_once_the_clock_is_set(new, tmp_path, synced, left):
    with Samples(tmp_path) as samples:
        samples.add(
            np.zeros((40, 40, 3), np.uint8), np.zeros(4, np.float32), None, "unsure", base=NETWORK,
            taken_at=NOW - 100 * 86_400, session="s", predicted="", confidence=0.0,
        )  # fmt: skip
    collector = new(synced=synced, unsure=True)
    assert len(kept(collector, tmp_path)) == left
