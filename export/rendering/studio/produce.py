"""The making of a set: which files belong to a thing, and how a process makes them.

A task (folder, item, seed, size, passes) flows in, three files flow out. It never makes a
picture that is there already, as the picture itself is written last.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from export.data import csv_tables
from export.errors import ExportError
from export.rendering.studio.kinds import KINDS, StudioItem, generator

_ATTEMPTS = 6  # an item that is hardly in view gets another pose and another chamber
_COLUMNS = ("file", "label", "kind", "empty", "mask", "group")
_kept: list[Any] = []  # for the life of the process, see `reserved`
Task = tuple[Path, StudioItem, int, int, int]


def files_of(item: StudioItem) -> dict[str, str]:
    """The item's files, relative to the set's folder."""
    return {
        "file": f"{item.stem}.jpg",
        "empty": f"empties/{item.stem}.jpg",
        "mask": f"masks/{item.stem}.png",
    }


def is_made(out: Path, item: StudioItem) -> bool:
    """Whether all of its files are in the folder."""
    return all((out / file).is_file() for file in files_of(item).values())


def make(task: Task) -> StudioItem | None:
    """Render one picture and write its three files; None where no attempt showed the item."""
    out, item, seed, size, passes = task
    from export.rendering.images import save_jpeg, save_mask
    from export.rendering.studio.picture import extent, posed, shot
    from export.rendering.studio.setting import setting

    kind = KINDS[item.kind]
    for attempt in range(1, _ATTEMPTS + 1):
        rng = generator(seed, item.number, attempt)
        parts = posed(kind.build(rng), item.pose, rng)
        where = setting(*extent(parts), rng, against=item.pose == "leaning")
        made = shot(parts, where, size, passes + kind.clear, kind.clear, rng)
        if made is not None:
            files = files_of(item)
            save_mask(made.mask, out / files["mask"])
            save_jpeg(made.empty, out / files["empty"])
            save_jpeg(made.picture, out / files["file"])
            return item
    return None


def start(threads: int) -> None:
    """Prepare a process: Mitsuba's variant, the studio's materials, its share of the cores.

    Raises ExportError where Dr.Jit finds no LLVM, without which a set would take days.
    """
    from export.rendering.images import variant
    from export.rendering.studio.clear import register
    from export.rendering.studio.picture import reserved

    if variant() != "llvm_ad_rgb":
        raise ExportError(
            "Mitsuba finds no LLVM: install libllvm19 (apt), or name the library in "
            "DRJIT_LIBLLVM_PATH, e.g. /usr/lib/x86_64-linux-gnu/libLLVM-19.so"
        )
    import drjit

    drjit.set_thread_count(threads)
    register()
    with tempfile.TemporaryDirectory() as folder:
        _kept.extend(reserved(Path(folder)))


def write_table(out: Path, items: list[StudioItem], seed: int) -> None:
    """Write `items.csv`: those of the items whose files are there, in the order given."""
    rows = []
    for item in items:
        if is_made(out, item):
            group = f"studio-{seed}-{item.number:05d}"
            row = files_of(item) | {"label": item.label, "kind": item.kind, "group": group}
            rows.append([row[column] for column in _COLUMNS])
    csv_tables.write_table(out / "items.csv", _COLUMNS, rows)
