"""Collects pictures of what the network was not sure of, or was wrong about, while the bin sorts.

Decided items flow in from the sorting thread and corrections from others; a thread of its own
writes those that the owner has opted for to `Samples`. Nobody ever waits for it: what does not fit
into its short queue, or onto the disk, is lost and counted.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bin_daemon.config.sections import KeepSection
from bin_daemon.core import clock as clock_module
from bin_daemon.core.clock import Clock
from bin_daemon.core.closing import Closing
from bin_daemon.core.errors import BinDaemonError, StoreError, UsageError
from bin_daemon.core.messages import Decision, Image, Item, Prediction, SortEvent, Vector
from bin_daemon.core.worker import Worker
from bin_daemon.model.head import Base
from bin_daemon.teaching.sample_store import Samples

log = logging.getLogger(__name__)

QUEUED = 16  # pictures that wait for the disk
RECENT = 50  # items whose picture is still at hand when they are corrected
RECENT_BYTES = 32_000_000
STORED = 1000  # items whose picture is on disk, and that can be corrected as well
PRUNE_S = 3600.0
CLOSE_S = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class _Seen:
    """An item as it was decided; embedding: float32 (d,)."""

    event: SortEvent
    crop: Image
    embedding: Vector


# Id of an event, the item to keep (None where it is kept already), and the label that it gets.
_Task = tuple[str, _Seen | None, str | None]


class Collector(Closing):
    """Puts pictures of items into the sample store, by the owner's choice; a context manager.

    folder: of the samples. base: the network that looks at the items. synced: whether the wall
    clock is set; before that nothing is too old. lost: pictures that should have been kept and were
    not, since the start.
    A store that cannot be used is reported by `problems`, and tried again with the next picture.
    """

    def __init__(
        self,
        folder: Path,
        keep: KeepSection,
        base: Base,
        clock: Clock,
        synced: Callable[[], bool] = clock_module.clock_synced,
    ) -> None:
        self._folder, self._keep, self._base = folder, keep, base
        self._clock, self._synced = clock, synced
        self._tasks: queue.Queue[_Task | None] = queue.Queue(QUEUED)
        self._lock = threading.Lock()  # held for a few operations in memory only
        self._recent: collections.OrderedDict[str, _Seen] = collections.OrderedDict()
        self._recent_bytes = 0
        self._stored: collections.deque[str] = collections.deque(maxlen=STORED)
        self._samples: Samples | None = None
        self.lost = self._uncounted = 0
        self._fault = ""
        self._prune_at = 0.0
        self._worker = Worker("collector", self._work)
        self._worker.start()

    def on_decision(
        self, event: SortEvent, decision: Decision, item: Item, prediction: Prediction
    ) -> None:
        """An item was decided; for the sorting thread, returns at once."""
        seen = _Seen(event, item.crop, prediction.embedding)
        if self._keep.corrected:
            with self._lock:
                self._recent[event.id] = seen
                self._recent_bytes += seen.crop.nbytes
                while len(self._recent) > RECENT or self._recent_bytes > RECENT_BYTES:
                    _, oldest = self._recent.popitem(last=False)
                    self._recent_bytes -= oldest.crop.nbytes
        if self._keep.unsure and (decision.unsure or decision.confidence < self._keep.below):
            self._order((event.id, seen, None))

    def correct(self, event_id: str, label: str) -> None:
        """Keep the picture of an item, with what it truly is; from any thread, returns at once.

        Raises UsageError where such pictures are not kept, or its picture is gone.
        """
        if not self._keep.corrected:
            raise UsageError(
                "this bin keeps no pictures of corrected items; set teaching.keep.corrected"
            )
        with self._lock:
            seen = self._recent.get(event_id)
            known = seen is not None or event_id in self._stored
        if not known:
            raise UsageError(
                f"the picture of item '{event_id}' is gone: the bin holds those of the latest "
                f"{RECENT} items since it started"
            )
        if not self._order((event_id, seen, label)):
            raise UsageError("too many pictures wait for the disk; try again in a moment")

    def _order(self, task: _Task) -> bool:
        try:
            self._tasks.put_nowait(task)
        except queue.Full:
            self._lose("the disk is too slow for them")
            return False
        return True

    def _lose(self, why: str) -> None:
        with self._lock:
            self.lost += 1
            self._uncounted += 1
            self._fault = why

    def problems(self) -> tuple[str, ...]:
        """What the operator should know."""
        with self._lock:
            if not self._fault:
                return ()
            lost = f" ({self.lost} lost since the start)" if self.lost else ""
            return (f"pictures of items are not kept: {self._fault}{lost}",)

    def _work(self) -> None:
        """The writing thread: ends with the first None, and survives whatever a picture does."""
        while True:
            self._prune()
            try:
                task = self._tasks.get(timeout=PRUNE_S)
                if task is None:
                    break
                self._store(*task)
            except queue.Empty:
                pass
            except BinDaemonError as error:
                if isinstance(error, StoreError):
                    self._let_go()
                if str(error) != self._fault:
                    log.error("%s", error)
                self._lose(str(error))
            except Exception as error:
                log.exception("a picture of an item could not be kept")
                self._lose(f"{type(error).__name__}; the log says more")
        self._let_go()

    def _let_go(self) -> None:
        """Close the store; the next picture opens it again."""
        if self._samples is not None:
            self._samples.close()
            self._samples = None

    def _store(self, event_id: str, seen: _Seen | None, label: str | None) -> None:
        samples = self._opened()
        kept = samples.list(item=event_id)
        if kept and label is not None:
            for sample in kept:
                samples.label(sample.id, label)
        elif not kept and seen is not None:
            event = seen.event
            samples.add(
                seen.crop,
                seen.embedding,
                label,
                "unsure" if label is None else "corrected",
                base=self._base,
                taken_at=event.decided_at,
                session=f"run-{event.session}",
                predicted=event.label,
                confidence=event.confidence,
                item=event.id,
            )
        elif not kept:
            raise UsageError(f"the picture of item '{event_id}' was deleted meanwhile")
        with self._lock:
            uncounted, self._uncounted = self._uncounted, 0
            self._fault = ""
            if event_id not in self._stored:
                self._stored.append(event_id)
        if uncounted:
            samples.drop_counted(uncounted)

    def _opened(self) -> Samples:
        if self._samples is not None and self._samples.replaced():
            self._let_go()
        if self._samples is None:
            self._samples = Samples(self._folder, self._keep)
        return self._samples

    def _prune(self) -> None:
        """Drop what is too old, at the start and hourly."""
        if time.monotonic() < self._prune_at:
            return
        self._prune_at = time.monotonic() + PRUNE_S
        try:
            if self._synced():
                self._opened().prune(self._clock.time())
        except BinDaemonError as error:
            self._let_go()
            log.error("%s", error)
            with self._lock:
                self._fault = str(error)

    def close(self) -> None:
        """Write what waits, within a second, and let go of the store."""
        until = time.monotonic() + CLOSE_S
        with contextlib.suppress(queue.Full):
            self._tasks.put(None, timeout=CLOSE_S)
        if not self._worker.stop(until - time.monotonic()):
            log.error("pictures of items still wait for the disk and are lost")
