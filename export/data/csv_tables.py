"""CSV tables of the workshop: rows flow in and bytes out, and back again with line numbers.

What stands in a table, and where it is kept, is the business of whoever asks.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bin_daemon.core.files import READABLE, table_bytes, write_whole
from export.errors import ExportError


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table in one step; raises OSError where the disk does not let it."""
    write_whole(path, table_bytes(columns, rows), synced=False, mode=READABLE)


def read_table(table: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file in UTF-8 with their line numbers; other columns are let be.

    Raises ExportError where the file cannot be read, or lacks a column or a value.
    """
    wanted = " and ".join(f"'{column}'" for column in columns)
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if not set(columns) <= set(reader.fieldnames or ()):
                raise ExportError(f"{table}: needs the columns {wanted}")
            for row in reader:
                if not all(row[column] for column in columns):
                    raise ExportError(f"{table}:{reader.line_num}: needs a value in {wanted}")
                yield reader.line_num, row
    except OSError as error:
        raise ExportError(f"{table}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ExportError(f"{table}: is no CSV file in UTF-8: {error}") from error
