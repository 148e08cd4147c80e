"""The samples of a bin as a folder that other bins are taught and the workshop trains on.

Samples flow in; `<class>/<id>.png` flow out, with the tables `groups.csv` (file, group: pictures
of one thing share a group) and `sessions.csv` (file, session, cropped: `yes` where the bin has cut
the item out and normalised it, which then needs no empty view). It never changes the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bin_daemon.core.errors import PictureError, StoreError, UsageError
from bin_daemon.core.files import READABLE, table_bytes, write_whole
from bin_daemon.teaching.sample import UNLABELLED, png_of
from bin_daemon.teaching.sample_store import Samples

GROUPS, SESSIONS = "groups.csv", "sessions.csv"
CROPPED = "yes"  # in the column `cropped`


def export(
    samples: Samples, folder: Path, progress: Callable[[str], None]
) -> tuple[Counter[str], list[str]]:
    """Write all samples into `folder`, which is new or empty; the tables come last.

    Returns how many were written of each class, and for each lost picture why it is left out.
    Raises UsageError where the folder holds something, StoreError where it cannot be written.
    """
    try:
        return _write(samples, folder, progress)
    except (StoreError, UsageError):
        raise
    except OSError as error:
        where = error.filename or folder
        raise StoreError(f"{where}: cannot write it: {error.strerror}") from error


def _write(
    samples: Samples, folder: Path, progress: Callable[[str], None]
) -> tuple[Counter[str], list[str]]:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(
            f"{folder}: is not empty; give a new folder, so that no picture stays under a class "
            f"that it has no more"
        )
    counts: Counter[str] = Counter()
    lost, groups, sessions = [], [], []
    listed = samples.list()
    for number, sample in enumerate(listed, start=1):
        progress(f"picture {number} of {len(listed)}")
        try:
            picture = png_of(samples.crop(sample.id))
        except PictureError as error:
            lost.append(str(error))
            continue
        label = sample.label or UNLABELLED
        path = folder / label / f"{sample.id}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture)
        counts[label] += 1
        file = path.relative_to(folder).as_posix()
        groups.append((file, sample.item))
        sessions.append((file, sample.session, CROPPED if sample.cropped else ""))
    for name, columns, rows in (
        (GROUPS, ("file", "group"), groups),
        (SESSIONS, ("file", "session", "cropped"), sessions),
    ):
        write_whole(folder / name, table_bytes(columns, rows), mode=READABLE)
    return counts, lost
