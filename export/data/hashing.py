"""Perceptual hashes of pictures, and the pairs of pictures that are near-duplicates.

A picture flows in and its hash flows out; hashes and embeddings of many flow in and pairs of
indices flow out. It reads no file, and knows neither classes nor groups.
"""

from __future__ import annotations

import cv2
import numpy as np

from bin_daemon.core.messages import Array

HASH_SIDE = 16
HASH_BITS = HASH_SIDE * HASH_SIDE - 1
"""Signs of the low frequencies but the mean. With the usual 63 bits, things that lie alone on a
plain background are as near to each other as to their own duplicates (TrashNet: a quarter of the
pairs within 8 bits are strangers)."""
HASH_DISTANCE = 50
"""Bits. JPEG at quality 20, half the size, other exposure and noise change fewer than 30 of 255 in
nine of ten pictures, cutting 2 % off each border up to 46; on TrashNet 24 of the 25 pairs within 50
share a group, and of those within 70 only three in four."""
COSINE = 0.70
"""Least cosine of two centred embeddings. In groups found so, 85 % of TrashNet's pairs share one of
its table, and most of those that do not show one bottle, lid, box or leaflet when looked at."""
LEAST_FOR_EMBEDDING = 100
"""Pictures from which on embeddings are asked. The mean of fewer says more about their classes than
about the background behind them, and a whole class would look alike."""

_ROWS = 1024  # of the similarity matrix at a time


def perceptual_hash(picture: Array) -> Array:
    """The DCT hash (pHash) of a uint8 (h, w, 3) RGB picture: bool (`HASH_BITS`,).

    The picture is shrunk to 64 x 64 grey levels; a bit says whether a coefficient of the cosine
    transform's low corner is above their median (Zauner 2010, with a larger corner).
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    corner = cv2.dct(small)[:HASH_SIDE, :HASH_SIDE].ravel()[1:]
    return np.asarray(corner > np.median(corner))


def alike(hashes: Array, embeddings: Array | None = None) -> Array:
    """Pairs of pictures that are near-duplicates, by hash or by embedding.

    Embeddings are centred on their mean: what all pictures share (a chamber, a plain background)
    then says nothing, and the same threshold serves pictures of one chamber and of many places.

    Takes bool (n, `HASH_BITS`), and float (n, d) or None; returns int64 (m, 2), the first index of
    a pair below the second.
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
