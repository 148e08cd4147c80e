"""Published picture sets: fetched once, checked against their SHA-256, and unpacked.

Nothing is unpacked that does not have the checksum that was stated, and nothing leaves the folder
it is unpacked into. A download that breaks off goes on where it stopped, which `pooch` cannot do.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO

from export.errors import ExportError
from export.recipes.schema import DataSpec, Relaid
from export.run import REPOSITORY, alone

SETS = Path(__file__).resolve().parents[1] / "sets"  # a folder each; git ignores it
CHUNK = 1 << 20
DEADLINE_S = 60.0  # of each wait for the server, not of the download
TRIES = 3  # of a download, each going on where the one before broke off
MAX_DOWNLOAD = 8 << 30
MAX_UNPACKED = 32 << 30
"""Bytes. The published sets are 40 MB to 3 GB; a hundred times that is a mistake or a bomb."""
MAX_FILES = 1_000_000
_NO_FILE = "the archive holds '{}', which is no plain file"


def locate(
    name: str,
    data: DataSpec,
    folder: Path | None,
    sha256: str | None,
    relay: Callable[[Path, Sequence[Relaid]], Path],
) -> Path:
    """The folder of the class folders of a recipe.

    name: of the recipe. data: what it says of its pictures. folder: the one that the user names;
    taken as it is. sha256: of the published archive, from the user, where the recipe knows none.
    relay: makes a set of folders whose items are laid on drawn backgrounds.

    Raises ExportError where there is no way to the pictures, or the archive is not the one stated.
    """
    if folder is not None:
        return folder
    if data.laid:
        with alone(SETS / f".{name}.lock"):
            return relay(SETS / name, data.laid)
    if data.local and (REPOSITORY / data.local).is_dir():
        return (REPOSITORY / data.local).resolve()
    home = SETS / name
    if (home / data.folder).is_dir():
        return home / data.folder
    if not data.archive or not data.address:
        hint = f" (published at {data.address})" if data.address else ""
        raise ExportError(
            f"recipe {name}: its pictures, {data.title}{hint}, cannot be fetched by a program; "
            f"name a folder with one folder per class with --data"
        )
    wanted = (sha256 or data.sha256 or "").lower()
    if not wanted:
        raise ExportError(
            f"recipe {name}: no published checksum of {data.address} is known; state the one you "
            f"trust with --sha256, or unpack the set yourself and name its folder with --data"
        )
    with alone(SETS / f".{name}.lock"):
        fetch(data.address, wanted, data.archive, home)
    if not (home / data.folder).is_dir():
        raise ExportError(f"{data.address}: holds no folder {data.folder}; see {home}")
    return home / data.folder


def fetch(address: str, sha256: str, archive: str, home: Path) -> None:
    """Fetch an archive and unpack it as the folder `home`, whole or not at all.

    Does nothing where `home` exists. What a broken-off download has brought stays beside it, and
    the next call goes on from there. Raises ExportError where the archive cannot be had, is too
    large, has another checksum, or is not sound.
    """
    if home.exists():
        return
    part = home.with_name(f".{home.name}.archive")
    aside = home.with_name(f".{home.name}.part")
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        _download(address, part)
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            part.unlink()
            raise ExportError(
                f"{address}: has the sha256 {found}, not {sha256}; nothing was unpacked. Look "
                f"whether the set was published anew, or name a folder with --data"
            )
        shutil.rmtree(aside, ignore_errors=True)
        _unpack(part, archive, aside)
        aside.replace(home)
        part.unlink()
    except OSError as error:
        raise ExportError(f"{home}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _download(address: str, to: Path) -> None:
    """Bring what an address gives into a file, going on after what is in it already."""
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise ExportError(f"{address}: is no http or https address; see the recipe")
    for left in reversed(range(TRIES)):
        try:
            _go_on(address, to)
            return
        except (OSError, HTTPException) as error:
            begun = to.exists() and not isinstance(error, urllib.error.HTTPError)
            if not (left and begun):
                raise ExportError(
                    f"{address}: cannot be fetched ({getattr(error, 'reason', error)}); download "
                    f"and unpack it by hand and name the folder with --data"
                    f"{', or run this again to go on' if begun else ''}"
                ) from error


def _go_on(address: str, to: Path) -> None:
    """One try of a download; raises OSError where it breaks off."""
    done = to.stat().st_size if to.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        source = urllib.request.urlopen(request, timeout=DEADLINE_S)
    except urllib.error.HTTPError as error:
        if done and error.code == 416:  # nothing lies behind what is there: let the checksum judge
            return
        raise
    with source:
        if source.status != 206:  # the server knows no ranges and begins anew
            done = 0
        size = source.headers.get("Content-Length")
        total = done + int(size) if size and size.isdigit() else None
        with to.open("ab" if done else "wb") as file:
            told = done
            while chunk := source.read(CHUNK):
                done += len(chunk)
                if max(done, total or 0) > MAX_DOWNLOAD:
                    raise ExportError(
                        f"{address}: is larger than {MAX_DOWNLOAD >> 30} GiB; download and "
                        f"unpack it by hand and name the folder with --data"
                    )
                file.write(chunk)
                if done - told >= 16 * CHUNK:
                    told = done
                    of = f" of {total / 1e6:.0f}" if total else ""
                    print(f"fetch: {done / 1e6:.0f}{of} MB", flush=True)
    if total is not None and done < total:
        raise ConnectionError(f"broke off after {done} of {total} bytes")


def _unpack(path: Path, archive: str, to: Path) -> None:
    """Unpack the plain files of an archive; refuses links, and what would leave the folder."""
    written = 0
    try:
        for number, (name, source) in enumerate(_members(path, archive), start=1):
            inside = PurePosixPath(name.replace("\\", "/"))
            if inside.is_absolute() or ".." in inside.parts or ":" in inside.parts[0]:
                raise ExportError(f"{path.name}: '{name}' would be written outside its folder")
            target = to / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as file:
                # Sizes in an archive's directory are only claims: what comes out is counted.
                while chunk := source.read(CHUNK):
                    written += len(chunk)
                    if written > MAX_UNPACKED or number > MAX_FILES:
                        raise ExportError(
                            f"{path.name}: unpacks to more than {MAX_UNPACKED >> 30} GiB or "
                            f"{MAX_FILES} files; unpack it by hand and name it with --data"
                        )
                    file.write(chunk)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, RuntimeError) as error:
        raise ExportError(f"{path.name}: is no sound {archive} archive: {error}") from error


def _members(path: Path, archive: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and open stream of each plain file; raises ExportError for links and devices."""
    if archive == "zip":
        with zipfile.ZipFile(path) as bundle:
            for entry in bundle.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise ExportError(_NO_FILE.format(entry.filename))
                if not entry.is_dir():
                    yield entry.filename, bundle.open(entry)
        return
    with tarfile.open(path) as tar:
        for member in tar:
            source = tar.extractfile(member) if member.isfile() else None
            if source is not None:
                yield member.name, source
            elif not member.isdir():
                raise ExportError(_NO_FILE.format(member.name))
