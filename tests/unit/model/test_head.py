"""The value of a taught head, its file, which one is in use, and the shipped one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bin_daemon.config.load import load_config
from bin_daemon.core import paths
from bin_daemon.core.errors import ConfigError, ModelError, UsageError
from bin_daemon.core.softmax import softmax
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.head import Base, Head
from bin_daemon.model.package import GOLDEN, open_package
from bin_daemon.model.runtime import RUNTIMES, installed_runtimes
from bin_daemon.sorting.policy import policy_of
from bin_daemon.teaching.activation import activate, head_for, undo

DAY = 1_795_219_200.0  # 2026-11-21


@pytest.fixture
def package():
    return open_package("waste6")


def taught(package, seed=0, labels=("metal", "plastic"), **changes) -> Head:
    rng = np.random.default_rng(seed)
    head = Head(
        labels=labels,
        kernel=rng.normal(size=(1280, len(labels))).astype(np.float32),
        bias=rng.normal(size=len(labels)).astype(np.float32),
        temperature=0.8,
        thresholds=dict.fromkeys(labels, 0.7),
        base=Base.of(package),
        taught_at=DAY,
        figures={"after": {"accuracy": 0.9}},
    )
    return dataclasses.replace(head, **changes)


def same(one: Head | None, other: Head) -> bool:
    return one is not None and one.id == other.id and np.array_equal(one.kernel, other.kernel)


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def test_a_head_that_was_saved_is_loaded_as_it_was(tmp_path, package):
    head = taught(package)
    head.save(tmp_path / "head.npz")
    found = Head.load(tmp_path / "head.npz")
    assert same(found, head)
    for field in ("labels", "temperature", "thresholds", "base", "taught_at", "figures"):
        assert getattr(found, field) == getattr(head, field)
    assert np.array_equal(found.bias, head.bias)


def test_no_file_is_no_head(tmp_path):
    assert Head.load(tmp_path / "head.npz") is None


@pytest.mark.parametrize("damage", [lambda d: d[:200], lambda d: b"x" * 300, lambda d: d[:-40]])
def test_a_damaged_file_is_refused_with_the_cure(tmp_path, package, damage):
    path = tmp_path / "head.npz"
    taught(package).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=r"head\.npz.*damaged.*teach --undo"):
        Head.load(path)


def test_a_changed_byte_is_refused_or_changes_nothing(tmp_path, package):
    path, head = tmp_path / "head.npz", taught(package)
    head.save(path)
    whole = path.read_bytes()
    refused = 0
    for at in (*range(200), *range(len(whole) - 400, len(whole))):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            found = Head.load(path)
        except ModelError:
            refused += 1
        else:  # the date of a zip member, say
            assert same(found, head), at
    assert refused > 300


def test_its_id_tells_network_and_day(package):
    assert taught(package).id == f"{package.id}+taught-20261121"


def test_logits_do_not_depend_on_how_strongly_a_crop_excites_the_network(package):
    head, embedding = taught(package), np.random.default_rng(1).random((3, 1280), np.float32)
    assert head.logits(embedding) == pytest.approx(head.logits(5 * embedding), abs=1e-4)
    assert head.logits(embedding)[1] == pytest.approx(head.logits(embedding[1]), abs=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_shipped_head_is_what_the_network_applies_to_its_embedding(package, runtime):
    if runtime not in installed_runtimes():
        pytest.skip(f"{runtime} is not installed")
    kernel, bias = Classifier(package, runtime).shipped_head()
    with np.load(package.folder / GOLDEN) as golden:
        found = golden["embedding"] @ kernel + bias
        assert np.abs(found - golden["logits"]).max() <= 1.5 * float(golden["logit_step"])


def test_a_classifier_with_a_head_says_the_classes_of_the_head(package):
    head = taught(package)
    plain, other = Classifier(package), Classifier(package, head=head)
    before, after = plain.classify(picture()), other.classify(picture())
    assert after.labels == other.labels == head.labels
    assert np.array_equal(before.embedding, after.embedding)
    expected = softmax(head.logits(after.embedding), head.temperature)
    assert after.probabilities == pytest.approx(expected)
    assert (plain.id, other.id) == (package.id, head.id)


def test_the_policy_takes_labels_and_thresholds_from_the_head(package):
    policy = policy_of(load_config("simulator"), taught(package))
    assert policy.labels == ("metal", "plastic")
    assert policy.thresholds == pytest.approx([0.7, 0.7])


def test_a_class_of_the_head_without_a_route_is_reported_with_the_key(package):
    head = taught(package, labels=("metal", "metal_can"))
    with pytest.raises(
        ConfigError, match=r"routes: no route takes 'metal_can', a class of .*\+taught"
    ):
        policy_of(load_config("simulator"), head)


def test_undo_goes_back_to_the_head_before_then_to_the_package_and_no_further(tmp_path, package):
    first, second = taught(package, 1), taught(package, 2)
    activate_in(tmp_path, taught(package), first, second)
    assert same(undo(tmp_path, Base.of(package)), first)
    assert same(Head.load(paths.taught_head(tmp_path)), first)
    assert undo(tmp_path, Base.of(package)) is None
    assert not paths.taught_head(tmp_path).exists()
    with pytest.raises(UsageError, match="nothing to undo"):
        undo(tmp_path, Base.of(package))


def test_undo_of_the_first_head_goes_back_to_the_package(tmp_path, package):
    activate_in(tmp_path, taught(package))
    assert undo(tmp_path, Base.of(package)) is None
    assert not paths.taught_head(tmp_path).exists()


def test_undo_takes_a_damaged_head_away(tmp_path, package):
    activate_in(tmp_path, taught(package, 1), taught(package, 2))
    paths.taught_head(tmp_path).write_bytes(b"torn")
    assert same(undo(tmp_path, Base.of(package)), taught(package, 1))


def test_undo_does_not_go_back_to_a_damaged_head(tmp_path, package):
    activate_in(tmp_path, taught(package, 1), taught(package, 2))
    (paths.teaching(tmp_path) / "head.previous.npz").write_bytes(b"torn")
    assert undo(tmp_path, Base.of(package)) is None
    assert list(paths.teaching(tmp_path).iterdir()) == []


def test_undo_takes_a_damaged_head_away_that_has_none_before_it(tmp_path, package):
    activate_in(tmp_path, taught(package))
    undo(tmp_path, Base.of(package))
    paths.taught_head(tmp_path).write_bytes(b"torn")
    assert undo(tmp_path, Base.of(package)) is None
    assert Head.load(paths.taught_head(tmp_path)) is None


def test_undo_does_not_go_back_to_a_head_of_another_network(tmp_path, package):
    older = taught(package, 1, base=Base("waste6@0", "0" * 64))
    activate_in(tmp_path, older, taught(package, 2))
    assert undo(tmp_path, Base.of(package)) is None
    assert list(paths.teaching(tmp_path).iterdir()) == []


def activate_in(state, *heads):
    paths.teaching(state).mkdir()
    for head in heads:
        activate(state, head)


@pytest.mark.parametrize("step", range(2))
def test_a_kill_between_the_steps_leaves_a_whole_head_in_force(
    tmp_path, package, monkeypatch, step
):
    former, new = taught(package, 1), taught(package, 2)
    activate_in(tmp_path, former)
    from bin_daemon.model import head
    from bin_daemon.teaching import activation

    class KilledError(BaseException):
        pass

    def killed(*_, **__):
        raise KilledError

    monkeypatch.setattr((activation, head)[step], "write_whole", killed)
    with pytest.raises(KilledError):
        activate(tmp_path, new)
    monkeypatch.undo()
    assert same(Head.load(paths.taught_head(tmp_path)), former)
    activate(tmp_path, new)
    assert same(Head.load(paths.taught_head(tmp_path)), new)
    assert same(undo(tmp_path, Base.of(package)), former)


def test_the_head_of_this_network_is_the_one_to_use(tmp_path, package):
    head = taught(package)
    activate_in(tmp_path, head)
    found, words = head_for(Classifier(package), load_config("simulator"), tmp_path, keep=True)
    assert same(found, head)
    assert not words


def test_a_damaged_head_leaves_the_package_with_words_on_what_to_do(tmp_path, package):
    activate_in(tmp_path, taught(package))
    paths.taught_head(tmp_path).write_bytes(b"torn")
    found, words = head_for(Classifier(package), load_config("simulator"), tmp_path, keep=True)
    assert found is None
    assert "teach --undo" in words


def test_a_head_of_another_network_without_pictures_is_not_used_and_not_lost(tmp_path, package):
    activate_in(tmp_path, taught(package, base=Base("waste6@0", "0" * 64)))
    before = paths.taught_head(tmp_path).read_bytes()
    found, words = head_for(Classifier(package), load_config("simulator"), tmp_path, keep=True)
    assert found is None
    assert "taught on waste6@0" in words
    assert "bin-daemon teach" in words
    assert paths.taught_head(tmp_path).read_bytes() == before
