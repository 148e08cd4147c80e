"""The report on a data folder: what is wrong with it, how bad that is, and what to do about it.

Errors stop a training before it begins, warnings are kept with the run. No picture is changed or
deleted: suspects are listed for a person to look at.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bin_daemon.core.messages import Array
from export.data.csv_tables import write_table
from export.data.groups import copies, merge_groups, name_groups
from export.data.hashing import LEAST_FOR_EMBEDDING, alike
from export.data.pictures import (
    GROUPS,
    PARTS,
    Picture,
    dealing_order,
    find_files,
    find_pictures,
    label_of,
    list_pictures,
    read_groups,
    write_groups,
)
from export.data.survey import COLOUR, Survey, survey
from export.errors import ExportError
from export.networks.mobilenet import Embed
from export.run import Run

REPORT = "data.json"
SUSPECTS = "suspects.csv"
SMALL_SIDE = 64
"""Pixels: a picture whose shorter side is below is mostly made up when it is enlarged to 224."""
FEW_PICTURES = 50
"""Of a class: with fewer, a fifth held out is ten pictures, and each of them ten points."""
BROKEN_SHARE = 0.05
"""Of the pictures: more that cannot be read than this is a broken copy, not a few bad files."""

_SHOWN = 3  # files that a message names
_PARTS_OF_A_SPLIT = {"train", "training", "test", "testing", "val", "valid", "validation"}


@dataclass(frozen=True, slots=True)
class DataFinding:
    """One thing that is wrong: `severity` is "error" or "warning", `files` are the suspects."""

    severity: str
    kind: str
    message: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What there is of each class, how the groups were got, and what is wrong, errors first."""

    pictures: dict[str, int]
    groups: dict[str, int]
    grouped_by: str
    findings: tuple[DataFinding, ...]

    @property
    def errors(self) -> list[DataFinding]:
        """What stops a training."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def text(self) -> str:
        """For a person: a line for each class, and one for each finding."""
        width = max((len(label) for label in self.pictures), default=0)
        lines = [
            f"{label:{width}}  {count} pictures in {self.groups[label]} groups"
            for label, count in self.pictures.items()
        ]
        lines += [f"{finding.severity}: {finding.message}" for finding in self.findings]
        return "\n".join(lines)


def check_data(
    run: Run,
    folder: Path,
    labels: Sequence[str] | None = None,
    *,
    parts: int = len(PARTS),
    embed: Embed | None = None,
) -> list[Picture]:
    """List the pictures that can be used; keep report, suspects and groups in the run folder.

    labels: the classes there must be, or None for those of the folder. parts: how many parts (or
    folds) every class must be dealt into. embed: a network to find near-duplicates with, or None
    for hashes alone.

    Raises ExportError where the report has errors; the message names each with its cure.
    """
    report, groups = examine(folder, labels, parts=parts, embed=embed, progress=run.log)
    run.write_json(REPORT, asdict(report))
    suspects = sorted((file, finding.kind) for finding in report.findings for file in finding.files)
    write_table(run.path(SUSPECTS), ("file", "why"), suspects)
    run.log("\n".join(f"data: {line}" for line in report.text().splitlines()))
    if report.errors:
        told = "\n".join(f"- {finding.message}" for finding in report.errors)
        raise ExportError(f"{folder}: cannot be trained on ({run.path(REPORT)}):\n{told}")
    write_groups(run.folder, groups)
    return list_pictures(groups)


def examine(
    folder: Path,
    labels: Sequence[str] | None = None,
    *,
    parts: int = len(PARTS),
    embed: Embed | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[Report, dict[str, str]]:
    """The report on a data folder, and the group of each picture that can be used.

    Arguments are those of `check_data`; `progress` hears how far it is. Raises ExportError where
    there is no such folder, no picture in it, or its `groups.csv` is no table.
    """
    files = find_pictures(folder)
    ordered = sorted({label_of(file) for file in files})
    others = sorted({*find_files(folder)}.difference(files))
    no_picture = "{n} no pictures, left out; convert what shows something"
    findings = [*_about_labels(ordered, labels), *_warning("no picture", no_picture, others)]
    given = read_groups(folder / GROUPS) if (folder / GROUPS).is_file() else None
    if given is not None:
        findings += _about_table(files, given)
        files = [file for file in files if file in given]
    seen = survey(folder, files, embed if len(files) >= LEAST_FOR_EMBEDDING else None, progress)
    pairs = alike(seen.hashes, seen.embeddings)
    names = [one.file for one in seen.pictures]
    same = copies([one.copy_of for one in seen.pictures])
    grouped_by = GROUPS
    if given is not None:
        groups = merge_groups(given, names, same)
    else:
        groups = name_groups(names, np.concatenate([pairs, same]))
        grouped_by = "hash" if seen.embeddings is None else "hash and embedding"
    pictures = Counter(map(label_of, names))
    members = [(group, label_of(file)) for file, group in groups.items()]
    of_label = Counter(label for _, label, _ in dealing_order(members))
    findings += _about_files(seen, len(files))
    findings += _about_pairs(names, same, pairs, groups)
    findings += _about_counts(ordered, pictures, of_label, parts)
    report = Report(
        {label: pictures[label] for label in ordered},
        {label: of_label[label] for label in ordered},
        grouped_by,
        tuple(sorted(findings, key=lambda finding: finding.severity)),
    )
    return report, groups


def _about_labels(found: Sequence[str], labels: Sequence[str] | None) -> Iterable[DataFinding]:
    spellings = defaultdict(list)
    for label in found:
        spellings[re.sub(r"[\s_-]+", "", label.casefold())].append(f"'{label}'")
    for same in spellings.values():
        if len(same) > 1:
            told = f"classes {' and '.join(same)} differ only in spelling; merge them"
            yield _error("label spelt twice", told)
    if {label.casefold() for label in found} <= _PARTS_OF_A_SPLIT:
        yield _error(
            "a split, not classes",
            f"the folders {', '.join(found)} are parts of a split, not classes; name one of them "
            f"with --data",
        )
    elif labels is None and len(found) < 2:
        yield _error("one class", "there is one class; a classifier needs two or more")
    known = found if labels is None else labels
    for label in [label for label in known if label not in found]:
        yield _error("class missing", f"no pictures of '{label}', which the recipe names")
    for label in [label for label in found if label not in known]:
        told = f"the recipe knows no class '{label}'; move the folder away or add the class"
        yield _error("class unknown", told)


def _about_table(files: Sequence[str], given: Mapping[str, str]) -> Iterable[DataFinding]:
    there = set(files)
    if missing := [file for file in given if file not in there]:
        told = f"listed in {GROUPS} but missing; mend the table or the folder"
        yield _error("missing", f"{_named(missing)} {told}", missing)
    unlisted = [file for file in files if file not in given]
    yield from _warning("not in the table", f"{{n}} not in {GROUPS}, left out; add rows", unlisted)


def _about_files(seen: Survey, count: int) -> Iterable[DataFinding]:
    if broken := list(seen.broken):
        first = f"{broken[0]}: {seen.broken[broken[0]]}"
        if len(broken) > BROKEN_SHARE * count:
            told = f"{_named(broken)} unreadable, of {count} ({first}); copy the folder again"
            yield _error("unreadable", told, broken)
        else:
            yield from _warning("unreadable", f"{{n}} unreadable, left out ({first})", broken)
    small = [one.file for one in seen.pictures if one.side < SMALL_SIDE]
    cure = "too small to learn from; take larger ones"
    yield from _warning("tiny", f"{{n}} below {SMALL_SIDE} pixels, {cure}", small)
    for mode in sorted({one.mode for one in seen.pictures} - {COLOUR}):
        files = [one.file for one in seen.pictures if one.mode == mode]
        cure = "laid on white" if mode == "transparent" else "read as colour"
        told = f"{{n}} {mode}: {cure}; replace them if the bin sees others"
        yield from _warning(mode, told, files)


def _about_pairs(
    names: Sequence[str], same: Array, pairs: Array, groups: Mapping[str, str]
) -> Iterable[DataFinding]:
    """Copies, and near-duplicates that a split or a class boundary comes between."""
    exact = [(a, b) for a, b in same.tolist()]
    near = sorted({(a, b) for a, b in pairs.tolist()}.difference(exact))

    def parted(of: list[tuple[int, int]], home: Callable[[str], str]) -> list[str]:
        apart = [pair for pair in of if len({home(names[i]) for i in pair}) > 1]
        return sorted({names[i] for pair in apart for i in pair})

    told = "{n} copies of each other; one of each is enough"
    yield from _warning("copy", told, parted(exact, str))
    told = "{n} the same picture in two classes; keep the right one"
    yield from _warning("copy in another class", told, parted(exact, label_of))
    told = "{n} alike across classes; look"
    yield from _warning("near-duplicate in another class", told, parted(near, label_of))
    told = f"{{n}} alike across groups of {GROUPS}, so the held-out figure may flatter; join them"
    yield from _warning("near-duplicate in another group", told, parted(near, groups.__getitem__))


def _about_counts(
    labels: Sequence[str], pictures: Mapping[str, int], groups: Mapping[str, int], parts: int
) -> Iterable[DataFinding]:
    for label in labels:
        count = pictures[label]
        if groups[label] < parts:
            yield _error(
                "too few groups",
                f"'{label}' shows {groups[label]} different things in {count} pictures, fewer than "
                f"the {parts} parts of the split; add pictures of others",
            )
        elif count < FEW_PICTURES:
            told = f"'{label}' has {count} pictures; below {FEW_PICTURES} its figures say little"
            yield DataFinding("warning", "few pictures", told)


def _named(files: Sequence[str]) -> str:
    """How many files, the first of them, and the verb."""
    shown = ", ".join(files[:_SHOWN]) + (", ..." if len(files) > _SHOWN else "")
    return f"1 file ({shown}) is" if len(files) == 1 else f"{len(files)} files ({shown}) are"


def _error(kind: str, message: str, files: Sequence[str] = ()) -> DataFinding:
    return DataFinding("error", kind, message, tuple(files))


def _warning(kind: str, message: str, files: Sequence[str]) -> Iterable[DataFinding]:
    """A warning in whose message `{n}` stands for the files; none where there are none."""
    if files:
        yield DataFinding("warning", kind, message.replace("{n}", _named(files)), tuple(files))
