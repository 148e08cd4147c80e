"""Which pictures show one object: near-duplicates share a group, so that no split parts them.

What is found is a guess of looks alone: a `groups.csv` by somebody who was there is worth more, and
two things of one design are one object here. `agreement_of` measures it against such a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bin_daemon.core.messages import Array
from bin_daemon.teaching.folds import joined
from export.data.hashing import alike
from export.data.pictures import GROUPS, label_of, read_groups
from export.data.survey import survey
from export.networks.mobilenet import backbone_embedding


def name_groups(files: Sequence[str], pairs: Array) -> dict[str, str]:
    """The group of each file, named after its first file, so that a name outlives new pictures."""
    first: dict[int, str] = {}
    sets = joined(len(files), pairs.tolist())
    return {file: first.setdefault(one, file) for file, one in zip(files, sets, strict=True)}


def copies(contents: Sequence[str]) -> Array:
    """Pairs of equal `contents`, each with the first of its kind: int64 (m, 2)."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(content, i), i) for i, content in enumerate(contents)]
    return np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)


def merge_groups(groups: Mapping[str, str], files: Sequence[str], pairs: Array) -> dict[str, str]:
    """`groups` of `files`, with the groups of each pair (m, 2) of files made one."""
    ids = sorted({groups[file] for file in files})
    index = {group: i for i, group in enumerate(ids)}
    linked = [(index[groups[files[a]]], index[groups[files[b]]]) for a, b in pairs.tolist()]
    home = name_groups(ids, np.array(linked, np.int64).reshape(-1, 2))
    return {file: home[groups[file]] for file in files}


def agreement(found: Sequence[object], known: Sequence[object]) -> dict[str, float]:
    """How well one grouping recovers another.

    Returns `precision` and `recall` of pairs that share a group, and the adjusted Rand `index`
    (Hubert and Arabie 1985): 1 for the same grouping, 0 for one by chance.
    """

    def pairs(members: Sequence[object]) -> int:
        return sum(size * (size - 1) // 2 for size in Counter(members).values())

    both = pairs(list(zip(found, known, strict=True)))
    ours, theirs = pairs(found), pairs(known)
    chance = ours * theirs / max(1, len(found) * (len(found) - 1) // 2)
    most = (ours + theirs) / 2
    return {
        "precision": both / ours if ours else 1.0,
        "recall": both / theirs if theirs else 1.0,
        "index": (both - chance) / (most - chance) if most != chance else 1.0,
    }


def agreement_of(folder: Path, backbone: Path) -> str:
    """How well hash alone, and hash and embedding, recover the `groups.csv` of a folder.

    Returns a line for each, for a person; embeddings are of the folded weights in `backbone`.
    Raises ExportError where the table or the backbone is missing or damaged.
    """
    known = read_groups(folder / GROUPS)
    seen = survey(folder, sorted(known), backbone_embedding(backbone))
    files = [one.file for one in seen.pictures]
    lines = []
    for name, embeddings in (("hash", None), ("hash and embedding", seen.embeddings)):
        found = name_groups(files, alike(seen.hashes, embeddings))
        figures = agreement([found[file] for file in files], [known[file] for file in files])
        classes = Counter(group for group, _ in {(found[file], label_of(file)) for file in files})
        lines.append(
            f"{name}: {len(classes)} groups for {len(set(known.values()))}; pairs "
            f"{figures['precision']:.3f} right, {figures['recall']:.3f} found; adjusted Rand "
            f"index {figures['index']:.3f}; {sum(n > 1 for n in classes.values())} span classes"
        )
    return "\n".join(lines)
