"""Views of every training picture, as a camera might see it many times: made once and kept.

Composing a chamber takes longer than a training step, and all folds share the views. What was
broken off is gone on with; what the same settings made of the same pictures is used as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.images import prepare
from bin_daemon.core.messages import Array
from export.data.pictures import read_rgb
from export.errors import ExportError
from export.run import Run, alone
from export.views.augment import augment, degrade, recolour
from export.views.compose import as_bin_crops, crop_in_drawn_chamber
from export.views.cutouts import cut_out
from export.views.renderings import Rendered
from export.views.unknown import SHOWN
from export.views.workers import in_processes

SIZE = 224
SOURCE_MARGIN = 1.15  # pictures are changed a little larger, so that a moderate crop loses nothing
FORMAT = 2  # rises when views are made in another way, so that old ones are not used

Views = Array  # uint8 (views, 224, 224, 3) RGB of one source
Maker = Callable[[int], Views]  # of source i; picklable, because it runs in other processes


def photograph_views(folder: Path, files: Sequence[str], clean: int, chamber: int, i: int) -> Views:
    """One photograph as it is, `clean` times changed as a whole, `chamber` times in a chamber.

    One whose item cannot be cut out is changed as a whole instead.
    """
    rng = np.random.default_rng((FORMAT, i))
    picture = read_rgb(folder / files[i])
    square = prepare(picture, *[round(SIZE * SOURCE_MARGIN)] * 2)
    item = cut_out(picture) if chamber else None
    views = [prepare(picture, SIZE, SIZE)]
    for k in range(clean + chamber):
        if k < clean or item is None:
            views.append(augment(square, SIZE, rng))
        else:
            views.append(prepare(crop_in_drawn_chamber(item, rng), SIZE, SIZE))
    return np.stack(views)


def rendered_views(folder: Path, items: Sequence[Rendered], count: int, i: int) -> Views:
    """One rendered item, `count` times cropped with other boxes, light and sharpness."""
    rng, item = np.random.default_rng((FORMAT, 2, i)), items[i]
    picture, empty, mask = (read_rgb(folder / f) for f in (item.file, item.empty, item.mask))
    cover = mask[:, :, 0] / np.float32(255.0)
    views = []
    for _ in range(count):
        view = prepare(as_bin_crops(empty, picture, cover, rng), SIZE, SIZE)
        views.append(degrade(recolour(view, rng), rng) if rng.random() < 0.5 else view)
    return np.stack(views)


def unknown_views(i: int) -> Views:
    """One crop in which nothing of any class lies, one view."""
    rng = np.random.default_rng((FORMAT, 1, i))
    draw = tuple(SHOWN.values())[i % len(SHOWN)]
    return prepare(draw(rng), SIZE, SIZE)[None]


def cached_views(run: Run, cache: Path, name: str, facts: Any, count: int, make: Maker) -> Array:
    """Views of `count` sources: made, gone on with, or found made under `cache`.

    `facts` is all that decides what they are, as plain data; `name` is for people. Returns an array
    on disk, uint8 (count, views, 224, 224, 3) RGB. Raises ExportError where the disk is full, or a
    source cannot be read.
    """
    text = json.dumps([FORMAT, SIZE, facts], sort_keys=True)
    folder = cache / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    with alone(folder / "lock"):
        try:
            return _filled(run, name, folder, count, make)
        except OSError as error:
            raise ExportError(f"{folder}: cannot keep the views: {error}") from error


def _filled(run: Run, name: str, folder: Path, count: int, make: Maker) -> Array:
    done_file = folder / "done.npy"
    done = np.load(done_file) if done_file.is_file() else np.zeros(count, bool)
    views = _opened(folder / "views.npy", done, make)
    todo = np.flatnonzero(~done)
    if len(todo):
        run.log(f"views {name}: {len(todo)} of {count} sources to make, in {folder.name}")
    made = in_processes(make, todo.tolist(), chunk=4)
    for n, (i, some) in enumerate(zip(todo, made, strict=True), start=1):
        views[i] = some
        done[i] = True
        if n % 200 == 0 or n == len(todo):
            views.flush()
            np.save(done_file, done)
            run.log(f"views {name}: {n} of {len(todo)}")
    return np.asarray(views)


def _opened(path: Path, done: Array, make: Maker) -> Any:
    """The memory-mapped array; a new one, of which nothing is done, where there is none."""
    open_memmap: Any = np.lib.format.open_memmap  # has no types
    if done.any() and path.is_file():
        return open_memmap(path, "r" if done.all() else "r+")
    first = make(0)
    done[:] = False
    views = open_memmap(path, "w+", first.dtype, (len(done), *first.shape))
    with path.open("r+b") as file:  # where the disk is full a hole in it would end the process
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return views
