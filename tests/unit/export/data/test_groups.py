"""What belongs together shares a group, and groups are measured against known ones."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.data.groups import agreement, agreement_of, copies, merge_groups, name_groups
from export.networks.mobilenet import embedding_at_hand
from export.run import DEFAULT_BACKBONE

DATA = Path(__file__).resolve().parents[5] / "shared" / "data" / "trashnet"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="skipped: no data")


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 30))
def test_joined_sets_are_the_finest_partition_that_keeps_pairs_together(data, count: int) -> None:
    pair = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    pairs = data.draw(st.lists(pair, max_size=40))

    groups = name_groups([f"{i:02}" for i in range(count)], np.array(pairs).reshape(-1, 2))

    reach = np.eye(count, dtype=bool)
    for a, b in pairs:
        reach[a, b] = reach[b, a] = True
    for _ in range(count):
        reach = reach @ reach
    found = np.array([int(group) for group in groups.values()])
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
def test_known_groups_are_recovered_better_with_embeddings_than_by_hash() -> None:
    hashed, both = agreement_of(DATA, DEFAULT_BACKBONE).splitlines()

    index = [float(line.split("index ")[1].split(";")[0]) for line in (hashed, both)]
    assert index[0] > 0.03
    assert index[1] > 0.6
