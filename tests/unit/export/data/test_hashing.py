"""Near-duplicates are found by hash or by embedding, strangers are not."""

import cv2
import numpy as np
import pytest
from drawn_pictures import scene

from export.data.hashing import (
    HASH_BITS,
    HASH_DISTANCE,
    LEAST_FOR_EMBEDDING,
    alike,
    perceptual_hash,
)


def distance(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.count_nonzero(perceptual_hash(a) != perceptual_hash(b)))


@pytest.mark.parametrize(
    "change",
    [
        lambda p: cv2.imdecode(cv2.imencode(".jpg", p, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], 1),
        lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        lambda p: (p * 0.6).astype(np.uint8),
        lambda p: p[2:-2, 2:-2],
    ],
    ids=["compressed", "halved", "darkened", "trimmed"],
)
def test_a_copy_that_was_worked_on_is_alike(change) -> None:
    for seed in range(10):
        assert distance(scene(seed), change(scene(seed))) <= HASH_DISTANCE


def test_strangers_are_not_alike() -> None:
    hashes = np.array([perceptual_hash(scene(seed)) for seed in range(60)])

    assert hashes.shape == (60, HASH_BITS)
    assert len(alike(hashes)) == 0


def test_pairs_are_found_across_the_blocks_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.data.hashing._ROWS", 4)
    hashes = np.array([perceptual_hash(scene(seed)) for seed in range(10)])
    hashes[9] = hashes[1]
    hashes[3, :HASH_DISTANCE] = ~hashes[2, :HASH_DISTANCE]
    hashes[3, HASH_DISTANCE:] = hashes[2, HASH_DISTANCE:]
    hashes[5, : HASH_DISTANCE + 1] = ~hashes[4, : HASH_DISTANCE + 1]
    hashes[5, HASH_DISTANCE + 1 :] = hashes[4, HASH_DISTANCE + 1 :]

    assert sorted(map(tuple, alike(hashes).tolist())) == [(1, 9), (2, 3)]


def test_embeddings_find_what_hashes_do_not() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.random((LEAST_FOR_EMBEDDING, HASH_BITS)) < 0.5
    embeddings = rng.normal(0, 1, (LEAST_FOR_EMBEDDING, 64))
    embeddings[7] = embeddings[3] + rng.normal(0, 0.2, 64)

    assert alike(hashes).tolist() == []
    assert alike(hashes, embeddings).tolist() == [[3, 7]]


def test_what_all_pictures_share_makes_none_alike() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.random((LEAST_FOR_EMBEDDING, HASH_BITS)) < 0.5
    chamber = rng.normal(0, 5, 64)

    assert len(alike(hashes, chamber + rng.normal(0, 1, (LEAST_FOR_EMBEDDING, 64)))) == 0


@pytest.mark.parametrize("count", [0, 1])
def test_no_pairs_where_there_are_not_two_pictures(count: int) -> None:
    assert alike(np.zeros((count, HASH_BITS), bool)).shape == (0, 2)
