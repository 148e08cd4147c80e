"""Which pictures show one object: near-duplicates share a group, so that no split parts them.

Perceptual hashes and, where somebody has them, embeddings flow in; pairs and groups flow out. What
is found is a guess of looks alone: a `groups.csv` by somebody who was there is worth more, and two
things of one design are one object here. `python -m export.data.groups FOLDER` measures it against
such a table.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from bin_daemon.core.errors import BinDaemonError
from bin_daemon.core.messages import Array

HASH_SIDE = 16
HASH_BITS = HASH_SIDE * HASH_SIDE - 1
"""Signs of the low frequencies but the mean. With the usual 63 bits, things that lie alone on a
bare board are as near to each other as to their own duplicates (TrashNet: a quarter of the pairs
within 8 bits are strangers)."""

HASH_DISTANCE = 50
"""Bits. JPEG at quality 20, half the size, other exposure and noise change fewer than 30 of 255 in
nine of ten pictures, cutting 2 % off each border up to 46; on TrashNet 24 of the 25 pairs within 50
share a group, and of those within 70 only three in four."""

COSINE = 0.70
"""Least cosine of two centred embeddings. In groups found so, 85 % of TrashNet's pairs share one of
its table, and most of those that do not show one bottle, lid, box or leaflet when looked at."""

LEAST_FOR_EMBEDDING = 100
"""Pictures from which on embeddings are asked. The mean of fewer says more about their classes than
about the ground behind them, and a whole class would look alike."""

_ROWS = 1024  # of the similarity matrix at a time

Embed = Callable[[Array], Array]
"""uint8 (n, 224, 224, 3) RGB to float32 (n, d): what a network makes of prepared pictures."""


def perceptual_hash(picture: Array) -> Array:
    """The DCT hash (pHash) of a uint8 (h, w, 3) RGB picture: bool (`HASH_BITS`,).

    The picture is shrunk to 64 x 64 grey levels; a bit says whether a coefficient of the cosine
    transform's low corner is above their median (Zauner 2010, with a larger corner).
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    corner = cv2.dct(small)[:HASH_SIDE, :HASH_SIDE].ravel()[1:]
    return corner > np.median(corner)


def alike(hashes: Array, embeddings: Array | None = None) -> Array:
    """Pairs of pictures that are near-duplicates, by hash or by embedding.

    Embeddings are centred on their mean: what all pictures share (a chamber, a board) then says
    nothing, and the same threshold serves pictures of one chamber and of many places.

    Args:
        hashes: bool (n, `HASH_BITS`).
        embeddings: float (n, d), or None.

    Returns:
        int64 (m, 2), the first index of a pair below the second.
    """
    if len(hashes) < 2:
        return np.empty((0, 2), np.int64)
    signs = hashes.astype(np.float32) * 2 - 1
    vectors = None
    if embeddings is not None and len(embeddings) >= LEAST_FOR_EMBEDDING:
        vectors = embeddings.astype(np.float32) - embeddings.mean(axis=0, dtype=np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    pairs = []
    for start in range(0, len(signs), _ROWS):
        rows = slice(start, start + _ROWS)
        # Two hashes at distance k have the scalar product bits - 2 k.
        near = signs[rows] @ signs[start:].T >= HASH_BITS - 2 * HASH_DISTANCE
        if vectors is not None:
            near |= vectors[rows] @ vectors[start:].T >= COSINE
        pairs.append(np.argwhere(np.triu(near, 1)) + start)
    return np.concatenate(pairs)


def join(count: int, pairs: Array) -> Array:
    """The connected sets of 0 to count - 1 under `pairs` (m, 2), by union-find.

    Returns:
        int64 (count,): for each the least member of its set.
    """
    parent = list(range(count))

    def root(member: int) -> int:
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    for a, b in pairs.tolist():
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return np.array([root(member) for member in range(count)], np.int64)


def name_groups(files: Sequence[str], pairs: Array) -> dict[str, str]:
    """The group of each file, named after its first file, so that a name outlives new pictures."""
    return {file: files[i] for file, i in zip(files, join(len(files), pairs), strict=True)}


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
    home = join(len(ids), np.array(linked, np.int64).reshape(-1, 2))
    return {file: ids[home[index[groups[file]]]] for file in files}


def agreement(found: Sequence[object], known: Sequence[object]) -> dict[str, float]:
    """How well one grouping recovers another: of pairs within a group, and corrected for chance.

    Returns:
        `precision` and `recall` of pairs that share a group, and the adjusted Rand `index`
        (Hubert and Arabie 1985): 1 for the same grouping, 0 for one by chance.
    """

    def pairs(sizes: Counter) -> int:
        return sum(size * (size - 1) // 2 for size in sizes.values())

    both = pairs(Counter(zip(found, known, strict=True)))
    ours, theirs = pairs(Counter(found)), pairs(Counter(known))
    chance = ours * theirs / max(1, len(found) * (len(found) - 1) // 2)
    most = (ours + theirs) / 2
    return {
        "precision": both / ours if ours else 1.0,
        "recall": both / theirs if theirs else 1.0,
        "index": (both - chance) / (most - chance) if most != chance else 1.0,
    }


def backbone_embedding(backbone: Path) -> Embed:
    """The embedding of the untouched backbone, on TensorFlow.

    Raises:
        ExportError: the file is missing or is no backbone.
    """
    import tensorflow as tf

    from export.networks.mobilenet import blank_head, make_network, normalise, read_weights

    network = make_network({**read_weights(backbone), **blank_head()})

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
    def forward(squares):
        return network.embed(normalise(tf.cast(squares, tf.float32)))

    return lambda squares: forward(squares).numpy()


def embedding_at_hand(backbone: Path) -> Embed | None:
    """`backbone_embedding` where TensorFlow and the file are here, else None: hashes must do."""
    if backbone.is_file() and importlib.util.find_spec("tensorflow"):
        return backbone_embedding(backbone)
    return None


def main(arguments: list[str] | None = None) -> int:
    """Print how well hash alone, and hash and embedding, recover the `groups.csv` of a folder."""
    from export.data.pictures import GROUPS, label_of, read_groups
    from export.data.survey import survey
    from export.run import DEFAULT_BACKBONE

    command = argparse.ArgumentParser(prog="python -m export.data.groups", description=main.__doc__)
    command.add_argument("folder", type=Path, help="folder of <class>/<picture> with groups.csv")
    command.add_argument("--backbone", type=Path, default=DEFAULT_BACKBONE, help="folded weights")
    options = command.parse_args(arguments)
    try:
        known = read_groups(options.folder / GROUPS)
        seen = survey(options.folder, sorted(known), backbone_embedding(options.backbone))
    except BinDaemonError as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    files = [look.file for look in seen.looks]
    for name, embeddings in (("hash", None), ("hash and embedding", seen.embeddings)):
        found = name_groups(files, alike(seen.hashes, embeddings))
        figures = agreement([found[file] for file in files], [known[file] for file in files])
        classes = Counter(group for group, _ in {(found[file], label_of(file)) for file in files})
        print(
            f"{name}: {len(classes)} groups for {len(set(known.values()))}; pairs "
            f"{figures['precision']:.3f} right, {figures['recall']:.3f} found; adjusted Rand "
            f"index {figures['index']:.3f}; {sum(n > 1 for n in classes.values())} span classes"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
