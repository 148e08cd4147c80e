"""One look at every picture of a data folder: can it be read, how large is it, what is it like.

Files flow in, each decoded once; what checks and groups need flows out. It judges nothing and keeps
no pixels.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bin_daemon.core.errors import PictureError
from bin_daemon.core.images import prepare, read_with_mode
from bin_daemon.core.messages import Array
from export.data.hashing import HASH_BITS, perceptual_hash
from export.networks.mobilenet import Embed

COLOUR = "colour"

_BATCH = 64
_TOLD_EVERY = 32 * _BATCH
_EMBEDDED_SIDE = 224
_MODES = {"RGBA": "transparent", "CMYK": "four inks"}


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What one readable picture is like."""

    file: str
    side: int  # the shorter one, pixels
    mode: str
    """`COLOUR`, "grey" (three equal channels too), "transparent" (laid on white where it is read),
    or "four inks" (a CMYK JPEG)."""
    copy_of: str
    """SHA-256 of shape and pixels: equal for copies, whatever file they are kept in."""


@dataclass(frozen=True, slots=True)
class Survey:
    """All pictures of a folder: `pictures`, `hashes` and `embeddings` go in step."""

    pictures: list[Surveyed]
    hashes: Array  # bool (n, `HASH_BITS`)
    embeddings: Array | None  # float32 (n, d)
    broken: dict[str, str]  # why a file cannot be read


def survey(
    folder: Path,
    files: Sequence[str],
    embed: Embed | None = None,
    progress: Callable[[str], None] | None = None,
) -> Survey:
    """Decode each of `files` (relative to `folder`) once, and embed it where a network is given.

    `progress` hears how far it is, now and then.
    """
    pictures: list[Surveyed] = []
    hashes: list[Array] = []
    embeddings: list[Array] = []
    broken: dict[str, str] = {}
    read = partial(_read, folder, with_square=embed is not None)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(files), _BATCH):
            if progress and start and start % _TOLD_EVERY == 0:
                progress(f"data: {start} of {len(files)} pictures looked at")
            batch = files[start : start + _BATCH]
            squares = []
            for file, seen in zip(batch, pool.map(read, batch), strict=True):
                if isinstance(seen, str):
                    broken[file] = seen
                    continue
                about, bits, square = seen
                pictures.append(about)
                hashes.append(bits)
                if square is not None:
                    squares.append(square)
            if embed is not None and squares:
                embeddings.append(np.asarray(embed(np.stack(squares)), np.float32))
    return Survey(
        pictures,
        np.array(hashes, bool).reshape(-1, HASH_BITS),
        np.concatenate(embeddings) if embeddings else None,
        broken,
    )


def _read(
    folder: Path, file: str, *, with_square: bool
) -> tuple[Surveyed, Array, Array | None] | str:
    """What a picture is like, its hash, and its square if wanted; or why it cannot be read."""
    path = folder / file
    try:
        pixels, mode = read_with_mode(path)
    except PictureError as error:
        return str(error).removeprefix(f"{path}: ")
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{width}x{height}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    is_grey = (pixels == pixels[..., :1]).all()
    colours = _MODES.get(mode, "grey" if is_grey else COLOUR)
    square = prepare(pixels, _EMBEDDED_SIDE, _EMBEDDED_SIDE) if with_square else None
    about = Surveyed(file, min(width, height), colours, digest.hexdigest())
    return about, perceptual_hash(pixels), square
