"""The event store, on a real file."""

from __future__ import annotations

import dataclasses
import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bin_daemon.config.sections import StoreSection
from bin_daemon.core.clock import uuid7
from bin_daemon.core.errors import StoreError
from bin_daemon.core.messages import Outcome, SortEvent, to_json
from bin_daemon.store.history import History
from bin_daemon.store.outbox import Outbox

NOW = 1_800_000_000.0
DAY_S = 86_400.0
_numbers = itertools.count(1)


def event(**changes: Any) -> SortEvent:
    """An item decided at NOW, without its outcome."""
    seq = next(_numbers)
    made = SortEvent(
        id=uuid7(NOW), session=1, seq=seq, decided_at=NOW, label="metal", confidence=0.93,
        top_k=(("metal", 0.93), ("glass", 0.04)), route="recycling", reason="clear enough",
        model="waste6-1", looks=3, item={"area": 0.11, "centre": [0.5, 0.48]},
        timings_ms={"settle": 402.0}, boot_id="boot", monotonic_s=100.0, clock_synced=True,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def sorted_event(**changes: Any) -> SortEvent:
    """An item that was sorted a second after NOW."""
    return event(**{"outcome": Outcome.SORTED, "finished_at": NOW + 1, **changes})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store of the test lies."""
    return tmp_path / "events.db"


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    """An empty store with room."""
    with Outbox(path, StoreSection()) as made:
        yield made


def fill(outbox: Outbox, count: int, **changes: Any) -> list[str]:
    """Store sorted events; returns their ids."""
    events = [sorted_event(**changes) for _ in range(count)]
    with outbox.transaction():  # one wait for the disk instead of `count`
        for one in events:
            outbox.decide(one)
    return [one.id for one in events]


def ids(events: list[SortEvent]) -> list[str]:
    """The ids of events."""
    return [one.id for one in events]


def test_an_event_comes_back_as_it_was_stored(outbox: Outbox) -> None:
    stored = sorted_event(clock_synced=False)

    outbox.decide(stored)

    assert outbox.recent(1) == [stored]


def test_an_event_without_outcome_is_history_but_not_to_be_delivered(outbox: Outbox) -> None:
    undecided = event()

    outbox.decide(undecided)

    assert outbox.pending(10) == []
    assert outbox.recent(10) == [undecided]


def test_the_outcome_completes_an_event_and_adds_its_timings(outbox: Outbox) -> None:
    one = event()
    outbox.decide(one)

    outbox.complete(one.id, Outcome.JAMMED, NOW + 4, {"move": 812.0})

    assert outbox.pending(10) == [
        dataclasses.replace(
            one, outcome=Outcome.JAMMED, finished_at=NOW + 4,
            timings_ms={"settle": 402.0, "move": 812.0},
        )
    ]  # fmt: skip


def test_the_first_outcome_is_the_one_that_counts(outbox: Outbox) -> None:
    (one,) = fill(outbox, 1)

    outbox.complete(one, Outcome.JAMMED, NOW + 9, {})
    outbox.complete("no-such-id", Outcome.JAMMED, NOW + 9, {})

    assert outbox.pending(1)[0].outcome is Outcome.SORTED


def test_storing_an_event_twice_keeps_one(outbox: Outbox) -> None:
    one = sorted_event()

    outbox.decide(one)
    outbox.decide(one)

    assert outbox.recent(9) == [one]


def test_delivered_events_leave_the_queue_and_stay_as_history(outbox: Outbox) -> None:
    first, second, third = fill(outbox, 3)

    outbox.delivered({first: NOW, third: NOW})

    assert ids(outbox.pending(10)) == [second]
    assert ids(outbox.recent(10)) == [third, second, first]


def test_refused_events_wait_behind_the_others_and_remember_their_turn(outbox: Outbox) -> None:
    first, second, third = fill(outbox, 3)

    outbox.refused(first, "Not authorized", NOW + 5)
    outbox.refused(second, "Not authorized", NOW + 4)

    assert ids(outbox.pending(10)) == [third]
    assert ids(outbox.pending(10, refused=True)) == [second, first]
    assert outbox.stats().refused == 2
    assert outbox.stats().depth == 3


def test_a_refused_event_that_is_delivered_after_all_is_refused_no_more(outbox: Outbox) -> None:
    (one,) = fill(outbox, 1)
    outbox.refused(one, "Not authorized", NOW)

    outbox.delivered({one: NOW})

    assert outbox.stats().refused == 0
    assert outbox.pending(1, refused=True) == []


def test_what_is_in_flight_is_left_out_without_shortening_the_answer(outbox: Outbox) -> None:
    stored = fill(outbox, 6)

    assert ids(outbox.pending(3, skip=set(stored[:2]))) == stored[2:5]


def test_sessions_are_counted_over_restarts(path: Path) -> None:
    numbers = []
    for _ in range(3):
        with Outbox(path, StoreSection()) as outbox:
            numbers.append(outbox.open_session())
    with Outbox(path, StoreSection()) as outbox:
        numbers.append(outbox.open_session(at_least=70))
        numbers.append(outbox.open_session())

    assert numbers == [1, 2, 3, 70, 71]


def test_open_events_of_earlier_sessions_become_interrupted(outbox: Outbox) -> None:
    earlier, whole, present = event(session=1), sorted_event(session=1), event(session=2)
    for one in (earlier, whole, present):
        outbox.decide(one)

    assert outbox.interrupt_open(before_session=2) == 1

    outcomes = {one.id: one.outcome for one in outbox.recent(3)}
    assert outcomes == {
        earlier.id: Outcome.INTERRUPTED, whole.id: Outcome.SORTED, present.id: None
    }  # fmt: skip


def test_stats_tell_depth_and_age(outbox: Outbox) -> None:
    fill(outbox, 2, decided_at=NOW - 50)
    (done,) = fill(outbox, 1, decided_at=NOW - 90)
    outbox.delivered({done: NOW})
    outbox.decide(event())

    stats = outbox.stats()

    assert (stats.depth, stats.oldest_at, stats.dropped) == (2, NOW - 50, 0)


def test_recent_can_be_asked_for_a_span_of_time(outbox: Outbox) -> None:
    fill(outbox, 2, decided_at=NOW - 100)
    late = fill(outbox, 1, decided_at=NOW)

    assert ids(outbox.recent(10, since=NOW - 10)) == late


def test_history_is_pruned_by_age_and_the_queue_is_not(path: Path) -> None:
    with Outbox(path, StoreSection(keep_days=90)) as outbox:
        old, young, waiting = fill(outbox, 3, decided_at=NOW - 200 * DAY_S)
        outbox.delivered({old: NOW - 91 * DAY_S, young: NOW - 89 * DAY_S})

        assert outbox.prune(NOW) == 0

        assert set(ids(outbox.recent(10))) == {young, waiting}


def test_nothing_is_too_old_while_the_clock_is_not_set(path: Path) -> None:
    with Outbox(path, StoreSection(keep_days=90)) as outbox:
        (old,) = fill(outbox, 1)
        outbox.delivered({old: NOW - 91 * DAY_S})

        outbox.prune(None)

        assert ids(outbox.recent(9)) == [old]


def test_without_a_broker_everything_is_history_and_ages_from_its_decision(path: Path) -> None:
    with Outbox(path, StoreSection(keep_days=90, keep_items=10)) as outbox:
        fill(outbox, 5, decided_at=NOW - 91 * DAY_S)
        kept = fill(outbox, 12, decided_at=NOW)

        assert outbox.prune(NOW, queue=False) == 0

        assert ids(outbox.recent(99)) == kept[:1:-1]
        assert outbox.stats().dropped == 0


def test_too_many_items_cost_history_first_then_refused_then_the_oldest(path: Path) -> None:
    with Outbox(path, StoreSection(keep_items=10)) as outbox:
        stored = fill(outbox, 14)
        outbox.delivered({stored[13]: NOW})
        outbox.refused(stored[5], "Not authorized", NOW)

        dropped = outbox.prune(NOW)

        assert dropped == 3
        assert ids(outbox.pending(99)) == [*stored[2:5], *stored[6:13]]
        assert outbox.stats().dropped == 3
    with Outbox(path, StoreSection()) as outbox:
        assert outbox.stats().dropped == 3


def test_open_events_are_never_pruned(path: Path) -> None:
    with Outbox(path, StoreSection(keep_items=10)) as outbox:
        for _ in range(12):
            outbox.decide(event())

        assert outbox.prune(NOW) == 0
        assert len(outbox.recent(99)) == 12


def test_a_store_that_is_too_big_shrinks_to_its_bound_and_stays_there(path: Path) -> None:
    with Outbox(path, StoreSection(max_mb=1)) as outbox:
        for _ in range(3):
            fill(outbox, 1500, reason="x" * 400)
            outbox.prune(NOW)

        rows = len(outbox.recent(9999))
        assert 800 < rows < 1500
        assert outbox.stats().dropped == 4500 - rows
    # What was deleted made room for what came later: the file holds one filling, not three.
    assert path.stat().st_size < 3_000_000
    with sqlite3.connect(path) as db:
        names = ("page_count", "freelist_count", "page_size")
        pages, free, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
    assert (pages - free) * size <= 1_000_000


def test_wrong_stamps_of_this_boot_are_corrected_once_the_clock_is_set(outbox: Outbox) -> None:
    wrong = {"clock_synced": False, "decided_at": 1000.0, "monotonic_s": 50.0}
    ours = sorted_event(**wrong, finished_at=1003.0)
    set_between = sorted_event(**wrong, finished_at=NOW + 53)
    unfinished = event(**wrong)
    other_boot = sorted_event(**wrong, boot_id="another", finished_at=1003.0)
    for one in (ours, set_between, unfinished, other_boot):
        outbox.decide(one)

    assert outbox.correct_stamps("boot", NOW, now=NOW + 200) == 3
    assert outbox.correct_stamps("boot", NOW, now=NOW + 200) == 0

    found = {one.id: one for one in outbox.recent(9)}
    assert found[ours.id] == dataclasses.replace(
        ours, clock_synced=True, decided_at=NOW + 50, finished_at=NOW + 53
    )
    assert found[set_between.id].finished_at == NOW + 53
    assert found[unfinished.id].decided_at == NOW + 50
    assert found[unfinished.id].finished_at is None
    assert found[other_boot.id] == other_boot


def test_a_reader_sees_the_events_while_the_daemon_writes(outbox: Outbox, path: Path) -> None:
    with History(path) as history:
        stored = fill(outbox, 2)

        assert ids(history.recent(5)) == stored[::-1]
        assert history.stats().depth == 2
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            history._db.execute("DELETE FROM events")


def test_a_reader_is_told_where_there_is_no_store(path: Path) -> None:
    with pytest.raises(StoreError, match=r"events\.db: there is none yet"):
        History(path)

    assert not path.exists()


def damage_middle(path: Path) -> None:
    """Overwrite a part of the file beyond its first pages, as a failing card does."""
    with path.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(b"\xa5" * (path.stat().st_size - 25 * 4096))


def damage_all(path: Path) -> None:
    """Leave nothing that looks like a database."""
    path.write_bytes(b"no database " * 4000)


@pytest.mark.parametrize(("damage", "session"), [(damage_middle, 2), (damage_all, 1)])
def test_a_damaged_store_is_moved_aside_and_a_new_one_begun(
    path: Path, damage: Any, session: int
) -> None:
    with Outbox(path, StoreSection()) as outbox:
        outbox.open_session()
        fill(outbox, 500)
    damage(path)

    with Outbox(path, StoreSection()) as outbox:
        aside = outbox.damaged
        assert aside is not None
        assert aside.is_file()
        assert aside.name.startswith("events.db.damaged-")
        assert outbox.recent(1) == []
        fill(outbox, 1)
        # The counter is saved where its page can still be read: numbers should not come twice.
        assert outbox.open_session() == session


def test_only_the_latest_damaged_stores_are_kept(path: Path) -> None:
    for year in (2001, 2002, 2003):
        path.with_name(f"events.db.damaged-{year}0101T000000Z").write_bytes(b"x")
    path.with_name("events.db.damaged-20010101T000000Z-wal").write_bytes(b"x")
    damage_all(path)

    with Outbox(path, StoreSection()) as outbox:
        assert outbox.damaged is not None
        kept = {"events.db.damaged-20030101T000000Z", outbox.damaged.name}
    assert {p.name for p in path.parent.glob("*damaged*")} == kept


def test_a_store_of_a_newer_version_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")

    with pytest.raises(StoreError, match="version 99, this program knows 1"):
        Outbox(path, StoreSection())

    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (99,)


def test_a_store_that_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "events.db").mkdir()

    with pytest.raises(StoreError, match=r"events\.db: it cannot be opened: check"):
        Outbox(tmp_path / "events.db", StoreSection())


def test_commits_reach_the_disk_before_they_count(outbox: Outbox) -> None:
    assert outbox._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert outbox._db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


def test_alerts_are_remembered_until_they_are_forgotten(path: Path) -> None:
    with Outbox(path, StoreSection()) as outbox:
        for kind in ("jam", "blocked", "jam"):
            outbox.remember_alert(kind)
    with Outbox(path, StoreSection()) as outbox:
        outbox.forget_alert("jam")

        assert outbox.alerts() == ["blocked"]


def steps_of_daily_work(path: Path, rows: int) -> int:
    """SQLite's steps for twenty deliveries, a listing and a pruning, in a store of so many rows."""
    steps = itertools.count()
    with Outbox(path, StoreSection()) as outbox:
        stored = fill(outbox, rows)
        outbox._db.execute("UPDATE events SET refused_at = n WHERE n % 2")
        outbox._db.set_progress_handler(lambda: next(steps) < 0, 1)

        for one in stored[1:40:2]:
            assert ids(outbox.pending(1)) == [one]
            outbox.delivered({one: NOW})
            outbox.pending(20, refused=True)
        outbox.recent(50)
        outbox.prune(NOW)
    return next(steps)


def test_a_long_queue_does_not_slow_the_daemon_down(tmp_path: Path) -> None:
    short, long = (steps_of_daily_work(tmp_path / f"{n}.db", n) for n in (500, 10_000))

    assert short > 1000
    assert long < 1.1 * short


OUTCOMES = st.sampled_from([None, *Outcome])
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBER = st.floats(-1e6, 1e6).map(lambda x: round(x, 6) + 0.0)  # SQLite has no -0.0


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    label=TEXT,
    reason=TEXT,
    confidence=NUMBER,
    outcome=OUTCOMES,
    top_k=st.lists(st.tuples(TEXT, NUMBER), max_size=3).map(tuple),
    item=st.dictionaries(TEXT.filter(lambda key: not key.endswith("_at") and key != "since"),
                         st.one_of(NUMBER, TEXT, st.none(), st.booleans())),
)  # fmt: skip
def test_any_event_reads_the_same_before_and_after_the_store(outbox: Outbox, **fields: Any) -> None:
    one = event(**fields)

    outbox.decide(one)

    assert to_json(outbox.recent(1)[0]) == to_json(one)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.tuples(st.sampled_from("dcarp"), st.integers(0, 30)), max_size=60))
def test_no_event_vanishes_uncounted(tmp_path: Path, steps: list[tuple[str, int]]) -> None:
    # Whatever the order of calls: what was stored is kept or counted as dropped, and what was
    # acknowledged is not offered again.
    keep = StoreSection(keep_items=10)
    stored: list[str] = []
    acknowledged: set[str] = set()
    path = tmp_path / f"{next(_numbers)}.db"
    with Outbox(path, keep) as outbox:
        outbox._db.execute("PRAGMA synchronous = OFF")
        for step, which in steps:
            known = stored[which % len(stored)] if stored else ""
            if step == "d":
                one = event()
                outbox.decide(one)
                stored.append(one.id)
            elif step == "c":
                outbox.complete(known, Outcome.SORTED, NOW, {})
            elif step == "r":
                outbox.refused(known, "no", NOW)
            elif step == "a":
                offered = ids(outbox.pending(3))
                outbox.delivered(dict.fromkeys(offered, NOW))
                acknowledged.update(offered)
            else:
                outbox.prune(NOW)
        offered_now = {*ids(outbox.pending(999)), *ids(outbox.pending(999, refused=True))}
        kept = set(ids(outbox.recent(999)))

        assert not offered_now & acknowledged
        assert len(set(stored) - kept - acknowledged) == outbox.stats().dropped
