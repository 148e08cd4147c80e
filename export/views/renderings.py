"""Rendered items in rendered chambers, as `make studio` leaves them: to train on only.

A folder flows in, a list of what it holds flows out; no item of them is ever measured on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from export.data.csv_tables import read_table
from export.errors import ExportError
from export.run import REPOSITORY

TABLE = "items.csv"
EMPTIES = "empties"
STUDIO = REPOSITORY / "export/sets/studio"  # where `make studio` leaves its set


@dataclass(frozen=True, slots=True)
class Rendered:
    """One rendered item; files relative to the set's folder."""

    file: str
    label: str
    empty: str  # the same chamber without the item
    mask: str  # grey, white where the item lies


def read_renderings(folder: Path, labels: Sequence[str]) -> list[Rendered]:
    """The items of a set whose class is one of `labels`, in the order of its table.

    Raises ExportError where there is no such set, it is damaged, or none of its classes is wanted.
    """
    table = folder / TABLE
    if not table.is_file():
        raise ExportError(
            f"{table}: no such file; `make studio` renders the set, or train without rendered "
            f"items: --set training.rendered=null"
        )
    columns = ("file", "label", "empty", "mask")
    rows = [row for _, row in read_table(table, columns) if row["label"] in labels]
    items = [Rendered(*(row[column] for column in columns)) for row in rows]
    if not items:
        raise ExportError(f"{table}: holds no item of the classes {', '.join(labels)}")
    return items
