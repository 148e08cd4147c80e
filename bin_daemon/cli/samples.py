"""`samples`: the stored pictures of items, for people to label, take away and delete."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bin_daemon.cli import common
from bin_daemon.core import paths
from bin_daemon.core.errors import UsageError
from bin_daemon.core.messages import stamp, to_json

if TYPE_CHECKING:
    from bin_daemon.teaching.sample import Sample
    from bin_daemon.teaching.sample_store import Samples

_DAY_S = 86_400.0


def add_commands(commands: common.Commands) -> None:
    """Add this family to the command line."""
    family = commands.add_parser("samples", help="the stored pictures of items")
    verbs = family.add_subparsers(metavar="VERB", required=True)

    listing = verbs.add_parser("list", help="what is stored, oldest first")
    which = listing.add_mutually_exclusive_group()
    which.add_argument("--unlabelled", action="store_true", help="only what has no label yet")
    which.add_argument("--label", metavar="CLASS", help="only what is labelled so")
    common.set_up(listing, run_list, "--state", json="one object a line")

    label = verbs.add_parser("label", help="say what is on pictures")
    label.add_argument("ids", nargs="+", metavar="ID", help="or the beginning of one")
    label.add_argument("label", metavar="CLASS", help="what it is; '' takes the label away")
    common.set_up(label, run_label, "--state", json="one object")

    export = verbs.add_parser("export", help="write them as a folder for each class")
    export.add_argument("folder", type=Path, metavar="DIR", help="a new or empty folder")
    common.set_up(export, run_export, "--state", json="one object")

    delete = verbs.add_parser("delete", help="delete pictures for good")
    delete.add_argument("ids", nargs="*", metavar="ID", help="or the beginning of one")
    delete.add_argument("--all", action="store_true", help="every one, the taught ones too")
    words = "those taken so long ago, taught or not"
    delete.add_argument("--older-than", type=float, metavar="DAYS", help=words)
    common.set_up(delete, run_delete, "--state", json="one object")


def opened(options: argparse.Namespace) -> Samples:
    """The store that the options mean; it is not made where there is none."""
    from bin_daemon.teaching.sample_store import Samples

    folder = paths.teaching(common.looked_into(options))
    if not (folder / "samples.db").is_file():
        raise UsageError(f"{folder}: no samples yet; is --state the folder of the daemon?")
    return Samples(folder)


def run_list(options: argparse.Namespace) -> None:
    """One line a sample, or one object."""
    with opened(options) as samples:
        listed = samples.list(labelled=False if options.unlabelled else None)
        stats = samples.stats()
    for sample in listed:
        if options.label in (None, sample.label):
            print(to_json(_plain(sample)) if options.json else _line(sample))
    if not options.json:
        words = f"{stats.count} samples, {stats.labelled} with a label, {_size(stats.size_bytes)}"
        print(f"{words}; {stats.dropped} dropped so far", file=sys.stderr)


def _plain(sample: Sample) -> dict[str, Any]:
    names = (
        "id", "taken_at", "label", "predicted", "confidence", "source", "session", "item", "model"
    )  # fmt: skip
    return {**{name: getattr(sample, name) for name in names}, "bytes": sample.size_bytes}


def _line(sample: Sample) -> str:
    return (
        f"{sample.id}  {stamp(sample.taken_at)}  {sample.label or '-':<12} "
        f"seen as {sample.predicted or '-':<12} {sample.confidence:4.2f}  {sample.source:<9} "
        f"{_size(sample.size_bytes):>9}"
    )


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"


def run_label(options: argparse.Namespace) -> None:
    """Label samples; all ids are looked up before the first is changed."""
    with opened(options) as samples:
        found = [samples.find(prefix) for prefix in options.ids]
        for sample_id in found:
            samples.label(sample_id, options.label or None)
    words = f"{', '.join(found)}: now {options.label or 'without a label'}"
    common.answer(options, {"label": options.label or None, "ids": found}, words)


def run_export(options: argparse.Namespace) -> int:
    """Write the folder; 1 where pictures were lost, which are reported and left out."""
    from bin_daemon.teaching.folder import export

    with opened(options) as samples, common.progress("exporting") as progress:
        counts, lost = export(samples, options.folder, progress)
    for words in lost:
        print(f"bin-daemon: left out: {words}", file=sys.stderr)
    written = ", ".join(f"{count} {label}" for label, count in sorted(counts.items()))
    data = {"written": dict(counts), "skipped": len(lost)}
    common.answer(options, data, f"{options.folder}: {written or 'nothing to write'}")
    return int(bool(lost))


def run_delete(options: argparse.Namespace) -> None:
    """Delete by id, by age, or all."""
    from bin_daemon.teaching.sample_store import forget

    if [bool(options.ids), options.all, options.older_than is not None].count(True) != 1:
        raise UsageError("samples delete: give ids, or --older-than, or --all")
    if options.older_than is not None and options.older_than < 0:
        raise UsageError("--older-than: give days, 0 or more")
    if options.all:
        count = forget(paths.teaching(common.looked_into(options)))
    else:
        with opened(options) as samples:
            if options.ids:
                ids = [samples.find(prefix) for prefix in options.ids]
            else:
                before = time.time() - options.older_than * _DAY_S
                ids = [sample.id for sample in samples.list() if sample.taken_at < before]
            count = samples.delete(ids)
    common.answer(options, {"deleted": count}, f"{count} deleted")
