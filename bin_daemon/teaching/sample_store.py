"""The pictures that a bin learns from: crops as lossless PNG files, all else of them in SQLite.

Crops with their embeddings flow in from the daemon and from teaching; samples flow out by
label, session and source. It stays within its bounds, counts what it drops for them, and never
drops what a person taught. Two processes may use one folder; within one, a thread at a time.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from bin_daemon.config.sections import KeepSection
from bin_daemon.core.errors import PictureError, StoreError, UsageError
from bin_daemon.core.files import write_whole
from bin_daemon.core.messages import Image, Vector
from bin_daemon.model.head import Base
from bin_daemon.store.database import Database, StoreDamagedError, connect, translated_errors
from bin_daemon.teaching.sample import Sample, SampleStats, Source, check_label

_LAYOUT = 2
_SCHEMA = """
CREATE TABLE samples (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    taken_at REAL NOT NULL,
    label TEXT,
    source TEXT NOT NULL,
    predicted TEXT NOT NULL,
    confidence REAL NOT NULL,
    session TEXT NOT NULL,
    item TEXT NOT NULL,
    model TEXT NOT NULL,
    network TEXT NOT NULL,
    embedding BLOB NOT NULL,
    cropped INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL
);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID
"""
# Layout 1 said neither of which network an embedding is nor which pictures are whole frames, and
# called the model of what the daemon kept by the id of its taught head.
_UPGRADES = {
    1: """
ALTER TABLE samples ADD COLUMN network TEXT NOT NULL DEFAULT '';
ALTER TABLE samples ADD COLUMN cropped INTEGER NOT NULL DEFAULT 1;
UPDATE samples SET model = substr(model, 1, instr(model, '+taught-') - 1)
    WHERE instr(model, '+taught-')
"""
}
_COLUMNS = ", ".join(field.name for field in fields(Sample))
# What goes first where the bounds are reached: 0 before 1; what is of rank 2 never goes.
_RANK = "CASE WHEN label IS NULL THEN 0 WHEN source != 'taught' THEN 1 ELSE 2 END"
_TAUGHT_RANK = 2
_DAY_S = 86_400.0
_ID_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: none looks like another
_ID_LENGTH = 8
_PNG_COMPRESSION = 3  # of 9: more takes a Pi several times as long for a few percent


class Samples(Database):
    """The sample store of one bin; a context manager.

    folder: `samples.db` and `crops/` are made in it where they are missing; only their owner may
    look at them. What a crash has left half done there is swept away.
    keep: the bounds. They hold for what the daemon keeps; samples that a person taught count
    towards them, and are neither dropped for them nor too old.
    Raises StoreError where the folder cannot be used, StoreDamagedError where the index is damaged.
    """

    store = "sample store"
    cure = "`bin-daemon samples delete --all` begins anew"
    version = _LAYOUT

    def __init__(self, folder: Path, keep: KeepSection | None = None) -> None:
        self._crops = folder / "crops"
        self._keep = keep or KeepSection()
        super().__init__(folder / "samples.db")
        try:
            self._rows("PRAGMA secure_delete = ON")
            self._sweep()
        except BaseException:
            self.close()
            raise

    def _open(self) -> sqlite3.Connection:
        """Make what is missing, for its owner alone; made by root it is of the parent's owner."""
        folder = self.path.parent
        folder.parent.mkdir(parents=True, exist_ok=True)
        owner = folder.parent.stat()
        for path in (folder, self._crops, self.path):
            with contextlib.suppress(FileExistsError):
                if path is self.path:
                    path.touch(0o600, exist_ok=False)
                else:
                    path.mkdir(0o700)
                if os.geteuid() == 0 and owner.st_uid != 0:
                    os.chown(path, owner.st_uid, owner.st_gid)
        self._inode = self.path.stat().st_ino
        return connect(self.path, _SCHEMA, _LAYOUT, _UPGRADES)

    def replaced(self) -> bool:
        """Whether its index is no longer the file at its path: the store was begun anew."""
        try:
            return self.path.stat().st_ino != self._inode
        except OSError:
            return True

    def _sweep(self) -> None:
        """Remove the pictures that are not in the index.

        Files are written within the transaction that lists them, so none is being written here.
        """
        with self.transaction() as db:
            known = {f"{row[0]}.png" for row in db.execute("SELECT id FROM samples")}
            for file in self._crops.iterdir():
                if file.name not in known:
                    with contextlib.suppress(OSError):  # gone meanwhile, or a folder
                        file.unlink()

    def add(
        self,
        crop: Image,
        embedding: Vector,
        label: str | None,
        source: Source,
        *,
        base: Base,
        taken_at: float,
        session: str,
        predicted: str,
        confidence: float,
        item: str = "",
        cropped: bool = True,
    ) -> str:
        """Keep a crop (uint8 (h, w, 3) RGB) and its embedding (float32 (d,)); returns its id.

        See `Sample` for the rest; without `item` it is the only picture of its item. Older samples
        are dropped for it where the bounds are reached, those without a label first.
        Raises StoreError where it cannot be written or no room can be made, UsageError for a label
        that cannot be one, PictureError for what is no picture.
        """
        check_label(label)
        picture, blob = png_of(crop), _blob(embedding)
        size = len(picture) + len(blob)
        sample_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
        rank = 0 if label is None else _TAUGHT_RANK if source == "taught" else 1
        values = (
            sample_id, taken_at, label, source, predicted, float(confidence), session,
            item or sample_id, base.id, base.sha256, blob, cropped, size,
        )  # fmt: skip
        marks = ", ".join("?" * len(values))
        try:
            with self.transaction() as db:
                gone = self._make_room(db, size, rank)
                write_whole(self._file(sample_id), picture, like=self.path.stat())
                db.execute(f"INSERT INTO samples ({_COLUMNS}) VALUES ({marks})", values)
        except BaseException:
            self._unlink([sample_id])
            raise
        self._unlink(gone)
        return sample_id

    def _make_room(self, db: sqlite3.Connection, size: int, rank: int) -> Sequence[str]:
        """Drop the oldest samples of at most `rank` until one of `size` bytes fits in."""
        count, used = db.execute("SELECT COUNT(*), TOTAL(size_bytes) FROM samples").fetchone()
        limit, gone = self._keep.max_mb * 1e6, []
        rows = db.execute(
            f"SELECT id, size_bytes FROM samples WHERE {_RANK} <= ? ORDER BY {_RANK}, n",
            (min(rank, _TAUGHT_RANK - 1),),
        )
        while count >= self._keep.max_samples or used + size > limit:
            if (row := rows.fetchone()) is None:
                raise StoreError(
                    f"{self.store} {self.path}: full with {count} samples ({used / 1e6:.0f} MB); "
                    f"export and delete some, or raise teaching.keep.max_samples and max_mb"
                )
            gone.append(str(row[0]))
            count, used = count - 1, used - row[1]
        self._drop(db, gone)
        return gone

    def prune(self, now: float) -> None:
        """Drop what is older than the bound of days at wall-clock time `now`.

        The owner of a clock that is not set yet does not call it.
        """
        with self.transaction() as db:
            old = db.execute(
                f"SELECT id FROM samples WHERE taken_at < ? AND {_RANK} < {_TAUGHT_RANK}",
                (now - self._keep.max_days * _DAY_S,),
            )
            gone = [str(row[0]) for row in old]
            self._drop(db, gone)
        self._unlink(gone)

    def _drop(self, db: sqlite3.Connection, ids: Sequence[str]) -> None:
        if ids:
            db.executemany("DELETE FROM samples WHERE id = ?", [(i,) for i in ids])
            self.drop_counted(len(ids))

    def list(self, *, labelled: bool | None = None, item: str | None = None) -> list[Sample]:
        """The samples that fit, in the order in which they came."""
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM samples WHERE (?1 IS NULL OR (label IS NOT NULL) = ?1)"
            " AND (?2 IS NULL OR item = ?2) ORDER BY n",
            (labelled, item),
        )
        found = []
        for values in map(dict, rows):
            values["embedding"] = np.frombuffer(values["embedding"], np.float32)
            found.append(Sample(**{**values, "cropped": bool(values["cropped"])}))
        return found

    def crop(self, sample_id: str) -> Image:
        """The picture of a sample, uint8 (h, w, 3) RGB.

        Raises PictureError where its file is missing or damaged; the sample itself is sound then.
        """
        from bin_daemon.core.images import read_picture

        return read_picture(self._file(sample_id))

    def find(self, prefix: str) -> str:
        """The id that begins with `prefix`. Raises UsageError where none or several do."""
        rows = self._rows(
            "SELECT id FROM samples WHERE substr(id, 1, ?) = ? LIMIT 5",
            (len(prefix), prefix.lower()),
        )
        found = [str(row[0]) for row in rows]
        if len(found) == 1:
            return found[0]
        if not found or not prefix:
            raise UsageError(f"no sample '{prefix}'; `bin-daemon samples list` shows them")
        raise UsageError(f"'{prefix}' is not one sample but {', '.join(found)}; type more of it")

    def label(self, sample_id: str, label: str | None) -> None:
        """Say what a sample is; None takes that back.

        Raises UsageError where there is no such sample or the label cannot be one.
        """
        check_label(label)
        if not self._change("UPDATE samples SET label = ? WHERE id = ?", (label, sample_id)):
            raise UsageError(f"no sample '{sample_id}'; `bin-daemon samples list` shows them")

    def renew(self, network: str, embeddings: Mapping[str, Vector]) -> None:
        """Put embeddings of another network, by id of the sample, in place of those kept."""
        blobs = [(_blob(one), network, sample_id) for sample_id, one in embeddings.items()]
        with self.transaction() as db:
            db.executemany(
                "UPDATE samples SET size_bytes = size_bytes - LENGTH(embedding) + LENGTH(?1),"
                " embedding = ?1, network = ?2 WHERE id = ?3",
                blobs,
            )

    def delete(self, ids: Sequence[str]) -> int:
        """Delete samples and their pictures; returns how many there were."""
        statement, values = "DELETE FROM samples WHERE id = ?", [(i,) for i in ids]
        with self.transaction() as db:
            count = db.executemany(statement, values).rowcount
        self._unlink(ids)
        return max(0, count)

    def forget(self) -> int:
        """Delete everything, the count of what was dropped included; returns how many there were.

        Nothing of it stays in the free pages of the index or in its log.
        """
        with self.transaction() as db:
            ids = [str(row[0]) for row in db.execute("SELECT id FROM samples")]
            db.execute("DELETE FROM samples")
            db.execute("DELETE FROM counters")
        self._unlink(ids)
        self._rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return len(ids)

    def stats(self) -> SampleStats:
        """The store in figures."""
        count, labelled, size = self._rows(
            "SELECT COUNT(*), COUNT(label), TOTAL(size_bytes) FROM samples"
        )[0]
        return SampleStats(count, labelled, int(size), self.dropped())

    def _file(self, sample_id: str) -> Path:
        return self._crops / f"{sample_id}.png"

    def _unlink(self, ids: Iterable[str]) -> None:
        """Remove pictures that the index no longer lists; what stays is swept next time."""
        for sample_id in ids:
            with contextlib.suppress(OSError):
                self._file(sample_id).unlink()


def _blob(embedding: Vector) -> bytes:
    return np.ascontiguousarray(embedding, np.float32).tobytes()


def png_of(crop: Image) -> bytes:
    """`crop` as PNG. Raises PictureError where it is no picture."""
    import cv2

    from bin_daemon.core.images import check_image

    bgr = cv2.cvtColor(check_image(crop, "crop"), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION])
    if not done:
        raise PictureError(f"crop: OpenCV makes no PNG of {crop.shape}")
    return bytes(data)


def forget(folder: Path) -> int:
    """Delete every sample of a folder, also of one whose index is damaged; returns how many.

    Raises StoreError where that cannot be done.
    """
    path = folder / "samples.db"
    if not path.exists():
        return 0
    try:
        with Samples(folder) as samples:
            return samples.forget()
    except StoreDamagedError:
        with translated_errors(Samples.store, path, ""):
            crops = list((folder / "crops").glob("*.png"))
            for file in (*crops, *(Path(f"{path}{suffix}") for suffix in ("-wal", "-shm", ""))):
                file.unlink(missing_ok=True)
        return len(crops)
