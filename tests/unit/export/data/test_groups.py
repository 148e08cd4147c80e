"""Near-duplicates share a group, strangers do not."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_pictures import scene
from hypothesis import given, settings
from hypothesis import strategies as st

from export.data.groups import (
    HASH_BITS,
    HASH_DISTANCE,
    LEAST_FOR_EMBEDDING,
    agreement,
    alike,
    copies,
    embedding_at_hand,
    join,
    main,
    merge_groups,
    name_groups,
    perceptual_hash,
)

DATA = Path(__file__).resolve().parents[5] / "shared" / "data" / "trashnet"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="skipped: no data")


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
    monkeypatch.setattr("export.data.groups._ROWS", 4)
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


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 30))
def test_joined_sets_are_the_finest_partition_that_keeps_pairs_together(data, count: int) -> None:
    pair = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    pairs = data.draw(st.lists(pair, max_size=40))

    found = join(count, np.array(pairs, np.int64).reshape(-1, 2))

    reach = np.eye(count, dtype=bool)
    for a, b in pairs:
        reach[a, b] = reach[b, a] = True
    for _ in range(count):
        reach = reach @ reach
    assert np.array_equal(found[:, None] == found[None, :], reach)
    assert all(found[i] <= i and found[found[i]] == found[i] for i in range(count))


def test_a_group_is_named_after_its_first_file() -> None:
    groups = name_groups(["a/1", "a/2", "b/1"], np.array([[0, 2]]))

    assert groups == {"a/1": "a/1", "a/2": "a/2", "b/1": "a/1"}


def test_copies_are_paired_with_the_first_of_them() -> None:
    assert copies(["x", "y", "x", "x"]).tolist() == [[0, 2], [0, 3]]
    assert copies(["x", "y"]).shape == (0, 2)


def test_merging_joins_whole_groups() -> None:
    groups = {"a": "1", "b": "1", "c": "2", "d": "3"}

    merged = merge_groups(groups, list(groups), np.array([[1, 2]]))

    assert merged == {"a": "1", "b": "1", "c": "1", "d": "3"}


def test_agreement_counts_pairs_and_takes_off_chance() -> None:
    found, known = [1, 1, 1, 2, 2, 3], ["a", "a", "b", "b", "b", "c"]

    figures = agreement(found, known)

    # Of 15 pairs 4 share a found group, 4 a known one, 2 both; by chance it would be 16 / 15.
    assert figures["precision"] == figures["recall"] == 0.5
    assert figures["index"] == pytest.approx((2 - 16 / 15) / (4 - 16 / 15))
    assert agreement(known, known)["index"] == 1.0
    assert agreement([1, 2], [1, 2]) == {"precision": 1.0, "recall": 1.0, "index": 1.0}


def test_without_a_backbone_hashes_must_do(tmp_path: Path) -> None:
    assert embedding_at_hand(tmp_path / "gone.npz") is None


@pytest.mark.tensorflow
@needs_data
def test_known_groups_are_recovered_better_with_embeddings_than_by_hash(capsys) -> None:
    main([str(DATA)])

    hashed, both = capsys.readouterr().out.splitlines()
    index = [float(line.split("index ")[1].split(";")[0]) for line in (hashed, both)]
    assert index[0] > 0.03
    assert index[1] > 0.6
