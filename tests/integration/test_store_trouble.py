"""What a bin does when its disk is full, its store is damaged, or it is killed while it stores.

The full disk is a real one: a small tmpfs where the test may mount it (root), and in any case a
limit on the size of this process's files, which SQLite meets as a failing write.
"""

from __future__ import annotations

import contextlib
import dataclasses
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mqtt_parts import Broker, Listen, NewBin, bin_config, bin_process, sort_event, sort_items
from waiting import wait_until

from bin_daemon.core.clock import SimulatedClock, SystemClock
from bin_daemon.core.messages import Outcome
from bin_daemon.store import write_buffer
from bin_daemon.store.history import History
from bin_daemon.store.outbox import Outbox
from bin_daemon.store.write_buffer import WriteBuffer
from bin_daemon.telemetry.publisher import STORE_NAME


@dataclasses.dataclass(frozen=True)
class Disk:
    """A disk that can be filled to the last byte and freed again."""

    folder: Path
    fill: Callable[[], None]
    free: Callable[[], None]


@pytest.fixture(params=["tmpfs", "limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A disk with room for a small store."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "limit":
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

        def limit() -> None:
            used = max(p.stat().st_size for p in folder.iterdir())
            resource.setrlimit(resource.RLIMIT_FSIZE, (used, hard))

        def lift() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        yield Disk(folder, limit, lift)
        lift()
        return
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system here")
    ballast = folder / "ballast"

    def fill() -> None:
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

    yield Disk(folder, fill, ballast.unlink)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_sorting_goes_on_while_the_disk_is_full_and_all_is_stored_afterwards(
    disk: Disk, new_bin: NewBin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_buffer, "RETRY_S", 0.1)
    publisher = new_bin(None, state=disk.folder)
    publisher.start()
    ids = sort_items(publisher, 5)
    wait_until(lambda: _rows(disk.folder) == 5, "the first events")

    disk.fill()
    ids += sort_items(publisher, 300, first=6)
    wait_until(lambda: publisher.stats().unwritten > 100, "the buffer to fill")
    (problem,) = publisher.problems()
    told = publisher.stats()
    disk.free()
    wait_until(lambda: publisher.stats().unwritten == 0, "the buffer to be written")
    wait_until(lambda: not publisher.problems(), "the problem to be gone")
    publisher.close()

    assert "events.db: the disk" in problem
    assert f"({told.unwritten} events not written)" in problem
    assert told.dropped == 0
    with History(disk.folder / STORE_NAME) as history:
        stored = history.recent(999)
    assert [event.id for event in stored] == ids[::-1]
    assert {event.outcome for event in stored} == {Outcome.SORTED}


def _rows(folder: Path) -> int:
    with History(folder / STORE_NAME) as history:
        return sum(event.outcome is not None for event in history.recent(99))


@pytest.mark.parametrize("disk", ["tmpfs"], indirect=True)
def test_a_store_with_room_inside_needs_no_room_on_the_disk(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_buffer, "RETRY_S", 0.0)
    section = bin_config(None, keep_items=10).store
    with Outbox(disk.folder / STORE_NAME, section) as outbox:
        with outbox.transaction():
            for seq in range(1000):
                done = {"outcome": Outcome.SORTED, "finished_at": 1.8e9}
                outbox.decide(sort_event(1, seq, reason="x" * 1000, **done))
        outbox.prune(None, queue=False)
    store = WriteBuffer(
        disk.folder / STORE_NAME, section, SystemClock(), queue=True, synced=lambda: True
    )
    for seq in range(20):
        store.decided(sort_event(store.session, seq))
        store.tend()

    disk.fill()
    for seq in range(20, 300):
        store.decided(sort_event(store.session, seq))
        for _ in range(2):
            store.tend()

    assert store.stats().unwritten == 0
    store.close()


def test_events_that_do_not_fit_in_memory_either_are_counted_for_good(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_buffer, "RETRY_S", 0.0)
    monkeypatch.setattr(write_buffer, "BUFFER_LIMIT", 20)
    store = WriteBuffer(
        disk.folder / STORE_NAME, bin_config(None).store, SystemClock(), queue=True,
        synced=lambda: True,
    )  # fmt: skip
    disk.fill()
    count = 0
    while store.stats().dropped < 30:
        count += 1
        store.decided(sort_event(store.session, count, reason="x" * 4000))
        store.tend()
    disk.free()
    store.close()

    with History(disk.folder / STORE_NAME) as history:
        assert history.stats().dropped == 30
        assert len(history.recent(count)) == count - 30


def test_a_bin_starts_on_a_full_disk_with_a_session_of_its_own(
    disk: Disk, new_bin: NewBin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_buffer, "RETRY_S", 0.1)
    # An open reader keeps the WAL from being emptied at close, so the disk has no room to spare.
    first = new_bin(None, state=disk.folder)
    first.start()
    sort_items(first, 3)
    wait_until(lambda: _rows(disk.folder) == 3, "the events of the first session")
    reader = sqlite3.connect(disk.folder / STORE_NAME)
    reader.execute("SELECT COUNT(*) FROM events").fetchone()
    first.close()
    disk.fill()

    second = new_bin(None, state=disk.folder)
    second.start()
    sort_items(second, 100)
    wait_until(lambda: second.stats().unwritten > 0, "the events in memory")
    assert second.session == 2
    reader.close()
    disk.free()
    wait_until(lambda: second.stats().unwritten == 0, "the events on disk")
    second.close()

    with Outbox(disk.folder / STORE_NAME, bin_config(None).store) as outbox:
        assert outbox.last_session() == 2
        assert {event.session for event in outbox.recent(100)} == {2}


def test_what_the_broker_acknowledged_is_not_sent_again_while_that_cannot_be_written_down(
    disk: Disk, broker: Broker, listen: Listen, new_bin: NewBin
) -> None:
    ear = listen(broker)
    first = new_bin(None, state=disk.folder)
    first.start()
    ids = sort_items(first, 30)
    first.close()
    publisher = new_bin(broker, state=disk.folder)

    disk.fill()
    publisher.start()
    wait_until(lambda: len(ear.items()) >= 30, "the stored events")
    publisher.retain(publisher.topics.state, {"state": "waiting"})
    wait_until(lambda: ear.payloads("bins/b1/state"), "some more talk")

    assert [item["id"] for item in ear.items()] == ids


def test_a_store_that_is_damaged_under_the_running_daemon_is_replaced(
    broker: Broker, listen: Listen, new_bin: NewBin, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(write_buffer, "RETRY_S", 0.1)
    path = tmp_path / STORE_NAME
    with Outbox(path, bin_config(None).store) as outbox, outbox.transaction():
        for seq in range(1000):  # more than SQLite keeps in memory
            outbox.decide(sort_event(1, seq, outcome=Outcome.SORTED, reason="x" * 3500))
    publisher = new_bin(broker)
    with path.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(b"\xa5" * 4096 * 200)

    publisher.start()
    wait_until(lambda: "begun anew" in "".join(publisher.problems()), "the damage to be told")
    ear = listen(broker)
    (last,) = sort_items(publisher, 1)
    wait_until(lambda: last in {item["id"] for item in ear.items()}, "the event of the new store")
    publisher.close()

    with Outbox(path, bin_config(None).store) as outbox:
        assert outbox.recent(1)[0].id == last
        assert outbox.open_session() > publisher.session


def test_nothing_that_was_stored_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    stored: list[str] = []
    for _ in range(3):
        with bin_process("store", str(tmp_path)) as process:
            assert process.stdout is not None
            stored += [process.stdout.readline().strip() for _ in range(25)]
            process.kill()
            stored += process.stdout.read().split("\n")[:-1]

    with Outbox(tmp_path / STORE_NAME, bin_config(None).store) as outbox:
        found = outbox.pending(100_000)
        assert outbox.damaged is None
        assert outbox.last_session() == 3
    assert set(stored) <= {event.id for event in found}
    assert len(stored) >= 75


def test_events_stamped_before_the_clock_was_set_are_corrected_afterwards(tmp_path: Path) -> None:
    clock = SimulatedClock(start=100.0, wall=1_000.0)
    synced = False
    path = tmp_path / STORE_NAME
    store = WriteBuffer(path, bin_config(None).store, clock, queue=True, synced=lambda: synced)
    early = sort_event(1, 1, decided_at=1_000.0, monotonic_s=100.0, clock_synced=False)
    store.decided(early)
    store.completed(early.id, Outcome.SORTED, 1_002.0, {})
    store.tend()
    before = store.pending(1, set())[0].decided_at

    clock = SimulatedClock(start=160.0, wall=1_800_000_060.0)
    store._clock, store._stamps_at, synced = clock, 0.0, True
    store.tend()
    after = store.pending(1, set())[0]
    store.close()

    assert before == 1_000.0
    assert (after.decided_at, after.finished_at) == (1_800_000_000.0, 1_800_000_002.0)
    assert after.clock_synced


def test_an_event_that_no_store_can_take_does_not_hold_up_the_others(
    new_bin: NewBin, tmp_path: Path
) -> None:
    publisher = new_bin(None)
    publisher.start()

    publisher.decided(sort_event(1, 1, confidence=float("nan")))
    (good,) = sort_items(publisher, 1, first=2)
    wait_until(lambda: _rows(tmp_path) >= 1, "the good one to be stored")
    publisher.close()

    with History(tmp_path / STORE_NAME) as history:
        assert [event.id for event in history.recent(9)] == [good]
        assert history.stats().dropped == 1
