"""The samples of a bin as a folder that other bins are taught and the workshop trains on.

Samples flow in; `<class>/<id>.png` flow out, with the tables `groups.csv` (file, group: pictures
of one thing share a group) and `sessions.csv` (file, session, cropped: `yes` where the bin has cut
the item out and normalised it, which then needs no empty view). It never changes the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from bin_daemon.core.errors import PictureError, StoreError, UsageError
from bin_daemon.core.files import READABLE, table_bytes, write_whole
from bin_daemon.teaching.sample import UNLABELLED, Sample, png_of
from bin_daemon.teaching.sample_store import Samples

GROUPS, SESSIONS = "groups.csv", "sessions.csv"
CROPPED = "yes"  # in the column `cropped`


class Export:
    """Writes samples into `folder`, which is new or empty; iterate over it to do so.

    Each step gives the file that was written, relative to the folder, or None where the picture of
    a sample is lost; `skipped` then says why. The tables are written last.
    Raises UsageError where the folder holds something, StoreError where it cannot be written.
    """

    def __init__(self, samples: Samples, folder: Path) -> None:
        self._samples, self._folder = samples, folder
        self._listed: Sequence[Sample] = samples.list()
        self.counts: Counter[str] = Counter()
        self.skipped: list[str] = []

    def __len__(self) -> int:
        return len(self._listed)

    def __iter__(self) -> Iterator[str | None]:
        try:
            yield from self._write()
        except (StoreError, UsageError):
            raise
        except OSError as error:
            where = error.filename or self._folder
            raise StoreError(f"{where}: cannot write it: {error.strerror}") from error

    def _write(self) -> Iterator[str | None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        if any(self._folder.iterdir()):
            raise UsageError(
                f"{self._folder}: is not empty; give a new folder, so that no picture stays under "
                f"a class that it has no more"
            )
        groups, sessions = [], []
        for sample in self._listed:
            label = sample.label or UNLABELLED
            try:
                picture = png_of(self._samples.crop(sample.id))
            except PictureError as error:
                self.skipped.append(str(error))
                yield None
                continue
            path = self._folder / label / f"{sample.id}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(picture)
            file = path.relative_to(self._folder).as_posix()
            self.counts[label] += 1
            groups.append((file, sample.item))
            sessions.append((file, sample.session, CROPPED if sample.cropped else ""))
            yield file
        for name, columns, rows in (
            (GROUPS, ("file", "group"), groups),
            (SESSIONS, ("file", "session", "cropped"), sessions),
        ):
            write_whole(self._folder / name, table_bytes(columns, rows), mode=READABLE)
