"""What a lesson makes of labelled embeddings: head, figures, verdict, warnings.

The embeddings are made up, so that each test decides what can be told from what.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from bin_daemon.core.errors import UsageError
from bin_daemon.model.calibration import GRID
from bin_daemon.model.head import unit
from bin_daemon.model.package import open_package
from bin_daemon.teaching.folds import FOLDS, by_session, folds_of, things
from bin_daemon.teaching.training import TrainingExample, train

LENGTH = 400
DAY = 1_795_219_200.0


class Network:
    """One that has seen the pictures. head: the one in use."""

    package = open_package("waste6")

    def __init__(self, head=None) -> None:
        self.head = head


@pytest.fixture(autouse=True)
def _shipped(monkeypatch):
    rng = np.random.default_rng(9)
    kernel = rng.normal(0, 0.001, (LENGTH, 6)).astype(np.float32)
    shipped = kernel, np.zeros(6, np.float32)
    monkeypatch.setattr(Network, "shipped_head", lambda _: shipped, raising=False)


def looks_of(name: str) -> np.ndarray:
    """What things of that name have in common, float (LENGTH,), 60 to 120."""
    return np.random.default_rng(list(name.encode())).uniform(60, 120, LENGTH)


def sight_of(*names: str, rng: np.random.Generator, noise: float = 25.0) -> np.ndarray:
    """The mean of what those names look like, with noise."""
    seen = np.mean([looks_of(name) for name in names], axis=0) + rng.normal(0, noise, LENGTH)
    return seen.clip(0, 255).astype(np.float32)


def pictures(
    counts: dict[str, int], sessions: int = 1, seed: int = 0, ground: str | None = None
) -> list[TrainingExample]:
    """Pictures that look like their class; ground: what is seen without the item, "label" or ""."""
    rng = np.random.default_rng(seed)
    found = []
    for label, count in counts.items():
        for at in range(count):
            left = None if ground is None else sight_of(label if ground else "", rng=rng)
            session = f"s{at % sessions}"
            found.append(
                TrainingExample(sight_of(label, rng=rng), label, session, f"{label}{at}", left)
            )
    return found


def taught(shown: list[TrainingExample]):
    return train(shown, Network(), DAY)


def test_pictures_that_can_be_told_apart_make_a_better_head_with_its_figures():
    found = taught(pictures({"metal": 12, "plastic": 14}))
    assert found.better
    assert found.figures["pictures"] == {"metal": 12, "plastic": 14}
    after = found.figures["after"]
    assert after["accuracy"] > 0.9 > found.figures["before"]["accuracy"]
    assert set(after["classes"]) == {"metal", "plastic"}
    assert after["classes"]["metal"]["count"] == 12
    assert found.figures["gain"]["accuracy"] > found.figures["gain"]["se"] > 0
    assert found.head.labels == Network.package.labels
    assert found.head.base.id == Network.package.id


def test_the_head_says_of_new_pictures_what_it_was_taught():
    head = taught(pictures({"metal": 12, "plastic": 12})).head
    for one in pictures({"metal": 5, "plastic": 5}, seed=7):
        logits = head.logits(one.embedding)
        assert head.labels[int(logits.argmax())] == one.label


def test_labels_that_say_nothing_make_no_better_head():
    rng = np.random.default_rng(3)
    shown = [
        TrainingExample(sight_of("thing", rng=rng), ("cardboard", "glass")[at % 2], "s", str(at))
        for at in range(40)
    ]
    kernel = np.zeros((LENGTH, 6), np.float32)
    bias = np.array([1, 0, -9, -9, -9, -9], np.float32)  # always cardboard: right in half of them
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "shipped_head", lambda _: (kernel, bias))
        found = taught(shown)
    assert not found.better
    assert abs(found.figures["after"]["accuracy"] - 0.5) < 0.25


def test_a_new_class_is_added_which_the_package_never_said():
    found = taught(pictures({"metal": 10, "cup": 10}))
    assert found.head.labels == (*Network.package.labels, "cup")
    assert found.figures["before"]["classes"]["cup"]["recall"] == 0
    assert found.figures["after"]["classes"]["cup"]["recall"] > 0.8
    assert set(found.head.thresholds) == set(found.head.labels)


def test_classes_without_pictures_are_reported_and_trusted_no_sooner():
    found = taught(pictures({"metal": 10, "plastic": 10}))
    assert any("no pictures of cardboard, glass, paper, trash" in w for w in found.warnings)
    for label in ("cardboard", "glass", "paper", "trash"):
        shipped = Network.package.manifest.thresholds[label]
        assert found.head.thresholds[label] >= shipped


def test_a_ground_that_tells_the_class_is_warned_of():
    found = taught(pictures({"metal": 15, "plastic": 15}, ground="label"))
    assert found.figures["control"]["accuracy"] > 0.9
    assert any("taken out" in words for words in found.warnings)


@pytest.mark.parametrize("sessions", [2, 3, 5])
def test_a_ground_that_is_known_of_the_last_session_alone_is_warned_of_too(sessions):
    shown = pictures({"metal": 30, "plastic": 30}, sessions=sessions, ground="label")
    last = f"s{sessions - 1}"
    found = taught(
        [one if one.session == last else dataclasses.replace(one, ground=None) for one in shown]
    )
    control = found.figures["control"]
    assert control["pictures"] == 60 // sessions
    assert control["accuracy"] > 0.9
    assert any("taken out" in words for words in found.warnings)


def test_a_ground_that_tells_nothing_is_near_chance():
    found = taught(pictures({"metal": 25, "plastic": 25}, ground=""))
    control = found.figures["control"]
    assert control["majority"] == 0.5
    assert abs(control["accuracy"] - 0.5) < 0.25
    assert not any("taken out" in words for words in found.warnings)


def test_without_masks_there_is_no_control_and_that_is_said():
    found = taught(pictures({"metal": 10, "plastic": 10}))
    assert found.figures["control"] is None
    assert any("no control" in words for words in found.warnings)


def test_a_session_is_judged_by_what_the_others_taught():
    unseen = taught(pictures({"metal": 12, "plastic": 12}, sessions=2)).figures["unseen_session"]
    assert unseen["pictures"] == 24
    assert unseen["accuracy"] > 0.9


def test_a_single_session_says_nothing_of_others():
    assert taught(pictures({"metal": 8, "plastic": 8})).figures["unseen_session"] is None


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"metal": 10}, "two classes or more"),
        ({"metal": 10, "plastic": 2}, r"two classes .*'plastic' is left out: .* needed: 1"),
        ({}, "two classes or more"),
    ],
)
def test_too_little_to_learn_from_is_refused(counts, words):
    with pytest.raises(UsageError, match=words):
        taught(pictures(counts))


def test_a_class_with_too_few_pictures_is_left_out_and_the_others_are_learnt():
    found = taught(pictures({"metal": 12, "plastic": 12, "cup": 1}))
    assert found.better
    assert found.head.labels == Network.package.labels
    assert found.figures["pictures"] == {"metal": 12, "plastic": 12}
    assert found.figures["left_out"] == {"cup": "pictures still needed: 2"}
    assert "'cup' is left out: pictures still needed: 2" in found.warnings


def test_a_class_that_the_head_before_knew_is_missed_where_no_picture_of_it_is_left():
    shown = pictures({"metal": 12, "plastic": 12})
    found = train(shown, Network(), DAY, known=("metal", "glass", "can"))
    assert found.figures["left_out"] == {"can": "pictures still needed: 3"}


def test_a_class_without_a_route_is_left_out_and_the_cure_is_reported():
    shown = pictures({"metal": 12, "plastic": 12, "cup": 12})
    found = train(shown, Network(), DAY, taken={"metal", "plastic"})
    assert found.head.labels == Network.package.labels
    assert any("no route takes it; add it to one's 'takes'" in w for w in found.warnings)


class InForce:
    """A head that says one class of everything."""

    id, labels = "waste6@1+taught-20261121", ("can", "metal")

    def __init__(self, says: str) -> None:
        self.says = self.labels.index(says)

    def logits(self, embeddings):
        return np.tile(np.eye(2)[self.says], (len(embeddings), 1))


@pytest.mark.parametrize(("says", "warned"), [("metal", True), ("can", False)])
def test_a_new_head_that_forgets_what_the_one_in_force_knows_is_warned_of(says, warned):
    # What was shown last looks like plastic and is called metal, which only one of them says.
    rng = np.random.default_rng(4)
    last = [
        TrainingExample(sight_of("plastic", rng=rng), "metal", "t", f"x{i}", None, True)
        for i in range(5)
    ]
    shown = [*pictures({"metal": 14, "plastic": 14}), *last]
    found = train(shown, Network(InForce(says)), DAY)
    former = found.figures["former"]
    assert former["pictures"] == 5
    assert former["before"] == float(warned)
    assert any("newest pictures waste6@1+taught" in words for words in found.warnings) == warned


def test_pictures_that_the_head_in_force_was_taught_say_nothing_of_it():
    shown = pictures({"metal": 12, "plastic": 12})
    assert train(shown, Network(InForce("metal")), DAY).figures["former"] is None


def test_looks_at_one_thing_are_one_witness_between_them():
    shown = pictures({"metal": 12, "plastic": 12})
    rng = np.random.default_rng(5)
    again = [
        dataclasses.replace(one, embedding=one.embedding + rng.normal(0, 1, LENGTH))
        for one in shown
        for _ in range(5)
    ]
    once, often = taught(shown), taught(again)
    assert often.figures["things"] == once.figures["things"] == {"metal": 12, "plastic": 12}
    # It takes 33 of them, all right, to trust anything but what is nearly certain.
    assert min(once.head.thresholds.values()) == min(often.head.thresholds.values()) == GRID[-1]
    assert min(taught(pictures({"metal": 20, "plastic": 20})).head.thresholds.values()) < GRID[-1]


def test_what_is_accepted_is_reported_of_pictures_that_had_no_say_in_the_thresholds():
    # 36 things, all told right, show that enough is right above a low threshold; but four fifths
    # of them, which is what a fold is judged by, do not.
    found = taught(pictures({"metal": 18, "plastic": 18}))
    assert found.figures["after"]["accuracy"] == 1.0
    assert min(found.head.thresholds.values()) < GRID[-1]
    assert found.figures["accepted"]["share"] < 0.5
    more = taught(pictures({"metal": 30, "plastic": 30})).figures["accepted"]
    assert more["share"] > 0.8
    assert more["right"] == 1.0


def test_pictures_of_one_thing_stay_together_and_things_are_spread_over_the_folds():
    rng = np.random.default_rng(0)
    shown = [unit(rng.normal(size=64)) for _ in range(10)]
    features = np.stack([unit(t + rng.normal(0, 0.01, 64)) for t in shown for _ in range(4)])
    labels = ["metal" if at < 20 else "plastic" for at in range(40)]
    groups = things(features, labels, ["s"] * 40, [str(at) for at in range(40)])
    assert len(set(groups)) == 10
    folds = folds_of(groups, labels, whole_sessions=False)
    for first in range(0, 40, 4):
        assert len(set(folds[first : first + 4])) == 1
    assert set(folds[:20]) == set(folds[20:]) == set(range(FOLDS))


def test_what_looks_alike_in_two_classes_or_sessions_is_two_things():
    features = np.ones((4, 8), np.float32) / np.sqrt(8)
    features[3] = unit(np.arange(8))
    groups = things(features, ["metal", "metal", "paper", "paper"], list("ssst"), list("abcd"))
    assert groups[0] != groups[2] != groups[3]


def test_pictures_named_as_one_item_stay_together_however_they_look():
    features = np.eye(6, dtype=np.float32)
    groups = things(features, ["metal"] * 6, ["s"] * 6, ["a", "a", "b", "b", "c", "c"])
    assert groups[0::2] == groups[1::2]
    assert len(set(groups)) == 3


def test_pictures_that_all_look_alike_are_warned_of():
    rng = np.random.default_rng(0)
    shown = [
        TrainingExample(sight_of(label, rng=rng, noise=2), label, "s", f"{label}{at}")
        for label in ("metal", "plastic")
        for at in range(6)
    ]
    found = taught(shown)
    assert found.figures["things"] == {"metal": 1, "plastic": 1}
    assert any("so few different things" in words for words in found.warnings)
    assert not found.better


def test_three_sessions_with_all_classes_are_tested_session_by_session():
    sessions, labels = ["a", "b", "c"] * 4, ["metal", "plastic"] * 6
    assert by_session(labels, sessions)
    folds = folds_of(sessions, labels, whole_sessions=True)
    assert {(s, f) for s, f in zip(sessions, folds, strict=True)} == {("a", 0), ("b", 1), ("c", 2)}


@pytest.mark.parametrize("count", [10, 11, 23])
def test_however_many_sessions_there_are_no_class_is_held_out_whole(count):
    rows = [(f"s{at:02}", label) for at in range(count) for label in ("metal", "plastic")]
    rows += [("s00", "jar"), (f"s{count - 1:02}", "jar")]
    sessions, labels = zip(*rows, strict=True)
    assert by_session(labels, sessions)
    folds = folds_of(sessions, labels, whole_sessions=True)
    assert len({(s, f) for s, f in zip(sessions, folds, strict=True)}) == count
    assert set(folds.tolist()) == set(range(10))
    for label in set(labels):
        assert len({f for name, f in zip(labels, folds, strict=True) if name == label}) > 1


def test_sessions_of_one_class_each_cannot_be_tested_on():
    labels = ["metal", "plastic"] * 6
    assert not by_session(labels, labels)
    assert not by_session(labels, [f"{label}{at % 3}" for at, label in enumerate(labels)])


_WHOLE_LESSON = """
import re, time
import numpy as np
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.package import open_package
from bin_daemon.teaching.training import TrainingExample, train

classifier = Classifier(open_package("waste6"))
classifier.classify(np.zeros((480, 480, 3), np.uint8))  # all is loaded then
rng = np.random.default_rng(0)
labels = classifier.package.labels
centres = rng.gamma(0.5, 1.0, (len(labels), 1280))

def seen(at):
    return (centres[at % 6] * rng.gamma(1.0, 1.0, 1280)).astype(np.float32)

shown = [
    TrainingExample(seen(at), labels[at % 6], f"s{at % 10}", str(at), seen(at)) for at in range(200)
]
started = time.process_time()
lesson = train(shown, classifier, 0.0)
used = time.process_time() - started
assert lesson.figures["control"] and lesson.figures["unseen_session"]
# Not ru_maxrss, which a process inherits from the one that started it.
print(used, re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def test_a_whole_lesson_of_200_pictures_takes_less_than_5_seconds_and_150_megabytes():
    # Network and runtime included, as a bin-daemon that teaches. One thread, as on a bin.
    done = subprocess.run(
        [sys.executable, "-c", _WHOLE_LESSON],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds, kilobytes = (float(word) for word in done.stdout.split())
    assert seconds < 5
    assert kilobytes / 1024 < 150
