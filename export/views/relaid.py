"""Sets whose items are all placed on drawn backgrounds, so that none gives a class away.

Nor must the outline give it away: half of the items keep an outline of a thing (their own, or that
of another picture where they fill theirs), half are rounded patches.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from bin_daemon.core.images import prepare
from bin_daemon.core.messages import Array
from export.data.pictures import (
    GROUPS,
    pictures_below,
    read_groups,
    read_rgb,
    save_picture,
    write_groups,
)
from export.errors import ExportError
from export.recipes.schema import Relaid
from export.run import REPOSITORY
from export.views.compose import crop_in_drawn_chamber
from export.views.cutouts import CutOut, cut_out, rounded, softened
from export.views.workers import in_processes

SIZE = 224
QUALITY = 95
ROUNDED = 0.5  # of the crops
FACTS = "laid.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Source:
    """A photograph with its class, and a name and a group that are its own among all folders."""

    path: Path
    label: str
    name: str
    group: str
    crops: int

    def file(self, k: int) -> str:
        """The file of a crop."""
        return f"{self.label}/{self.name}_{k}.jpg"


def relaid_set(home: Path, parts: Sequence[Relaid]) -> Path:
    """Make the set `home` of these folders, or find it made; one that was broken off is made anew.

    Raises ExportError where a folder has no pictures, or `home` is another set or not writable.
    """
    sources = [source for part in parts for source in _sources(part)]
    facts = [FORMAT, [asdict(part) for part in parts], len(sources)]
    known = home / FACTS
    if known.is_file() and json.loads(known.read_text(encoding="utf-8")) != facts:
        raise ExportError(f"{home}: was made of other folders; delete it, and it is made anew")
    files = {source.file(k): source.group for source in sources for k in range(source.crops)}
    if (home / GROUPS).is_file() and read_groups(home / GROUPS) == files:
        return home
    print(f"laying {len(files)} crops of {len(sources)} photographs in {home}", flush=True)
    try:
        home.mkdir(parents=True, exist_ok=True)
        known.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        relay = functools.partial(_relay_one, home, sources)
        for _ in in_processes(relay, range(len(sources)), chunk=8):
            pass
        write_groups(home, files)
    except OSError as error:
        raise ExportError(f"{home}: cannot keep the crops: {error}") from error
    return home


def _sources(part: Relaid) -> list[Source]:
    folder = REPOSITORY / part.folder
    files = pictures_below(folder)
    if not files:
        raise ExportError(f"{folder}: holds no pictures for the class {part.label}")
    known = read_groups(folder / GROUPS) if (folder / GROUPS).is_file() else {}
    if part.most:
        files = [files[i * len(files) // part.most] for i in range(min(part.most, len(files)))]
    sources = []
    for file in files:
        stem = file.rsplit(".", 1)[0]
        # Where nobody says it, pictures of one thing share the name without its last number.
        group = known.get(file) or re.sub(r"[-_ ]*\d+$", "", stem) or file
        name = f"{folder.name}_{stem.replace('/', '_')}"
        source = Source(folder / file, part.label, name, f"{folder.name}-{group}", part.crops)
        sources.append(source)
    return sources


def _relay_one(home: Path, sources: Sequence[Source], i: int) -> None:
    source = sources[i]
    rng = np.random.default_rng((FORMAT, i))
    picture = read_rgb(source.path)
    item = cut_out(picture)
    for k in range(source.crops):
        patch = rng.random() < ROUNDED
        if patch or item is None:
            shown = _shaped(picture, item, rounded(256, rng))
        elif item.mask.min() > 0.99:
            shown = _shaped(picture, item, _borrowed(sources, rng))
        else:
            shown = item
        view = prepare(crop_in_drawn_chamber(shown, rng), SIZE, SIZE)
        save_picture(home / source.file(k), view, cv2.IMWRITE_JPEG_QUALITY, QUALITY)


def _borrowed(sources: Sequence[Source], rng: np.random.Generator) -> Array:
    """The outline of the first of some random pictures that has one; uint8 (h, w) of 0 and 1."""
    for i in rng.permutation(len(sources))[:20]:
        other = cut_out(read_rgb(sources[i].path))
        if other is not None and other.mask.min() < 0.01:
            mask = (other.mask > 0.5).astype(np.uint8)
            left, top, width, height = cv2.boundingRect(mask)
            return mask[top : top + height, left : left + width]
    return rounded(256, rng)


def _shaped(picture: Array, item: CutOut | None, outline: Array) -> CutOut:
    """A part of the item in another outline; `outline` is uint8 (h, w) of 0 and 1."""
    whole = item or CutOut(picture, np.ones(picture.shape[:2], np.float32))
    left, top, wide, high = cv2.boundingRect((whole.mask > 0.5).astype(np.uint8))
    mask = np.zeros_like(whole.mask)
    soft = np.clip(cv2.resize(softened(outline), (wide, high)), 0.0, 1.0)
    mask[top : top + high, left : left + wide] = soft
    mask *= whole.mask
    if item is not None and not (mask > 0.5).any():  # a thin thing, which the outline misses
        return item
    return replace(whole, mask=mask)
