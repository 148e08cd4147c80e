"""One lesson: from labelled crops to a head, with figures that say what it is worth.

Crops with their labels flow in; a head flows out with per-class figures before and after, by
cross-validation over items, and a verdict. The control has the item taken out of the same crops:
what a head still tells from those, it tells from the ground. Nothing is put in force here.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

import numpy as np

from bin_daemon.calibration import (
    Counts,
    Doubles,
    Flags,
    accepted,
    fit_temperature,
    fit_thresholds,
    negative_log_likelihood,
    probabilities,
)
from bin_daemon.classifier import Classifier
from bin_daemon.messages import Image
from bin_daemon.model_store import Package
from bin_daemon.teaching import fit
from bin_daemon.teaching.doubts import LEAST, doubts, left_out
from bin_daemon.teaching.fit import Floats, unit
from bin_daemon.teaching.folds import by_session, folds_of, things
from bin_daemon.teaching.head import Base, Head
from bin_daemon.teaching.judge import clustered_se, gained, judged
from bin_daemon.teaching.shipped import shipped_head

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# Of what the head accepts, this share is to be right. It takes 33 pictures, all told right, to show
# that (`fit_thresholds`); the 0.985 that packages aim at takes 66, more than many a bin is taught.
TARGET = 0.97
# Of what it is right about, so much may go to residual because it is unlike the rest.
UNLIKE = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """One labelled crop, uint8 (side, side, 3) RGB.

    session: the sitting it is from. item: the same for all pictures of one thing. ground: the same
    crop with the item filled in from the empty view, or None where that is not known. fresh: the
    head in force was not taught it.
    """

    crop: Image
    label: str
    session: str
    item: str
    ground: Image | None = None
    fresh: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class _Seen:
    """What is left in memory of a `Shown`: embeddings float32 (d,) in place of the crops."""

    label: str
    session: str
    item: str
    embedding: Floats
    ground: Floats | None
    fresh: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Lesson:
    """What came of it.

    better: by more than one standard error than the shipped head. figures: as `teach --json` gives
    them (docs/operations.md#teaching). warnings: in words.
    """

    head: Head
    better: bool
    figures: dict[str, Any]
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Class:
    """The pictures as numbers: embeddings float32 (n, d), truth int (n,) into `labels`, fold (n,),
    groups (n,); prior: see `fit`."""

    labels: tuple[str, ...]
    embeddings: Floats
    truth: Counts
    groups: Counts
    folds: Counts
    prior: fit.Head


def learn(
    shown: Iterable[Shown],
    classifier: Classifier,
    taught_at: float,
    tell: Callable[[str], None] = lambda words: None,
    taken: Container[str] | None = None,
) -> Lesson:
    """Learn from crops, shown one after another so that they need not be in memory together.

    The classifier runs its network on each; its own head, if it has one, is the one in force.
    tell: takes words on how far it is. taken: see `left_out`.
    Raises UsageError as `left_out` does, ModelError where the package cannot be taught.
    """
    started = time.perf_counter()
    kernel, bias = shipped_head(classifier)
    package = classifier.package
    seen = _looked_at(shown, classifier, tell)
    needs = left_out((one.label for one in seen), taken)
    seen = [one for one in seen if one.label not in needs]
    names, sessions = [one.label for one in seen], [one.session for one in seen]
    tell("fitting")
    embeddings = np.stack([one.embedding for one in seen])
    labels = package.labels + tuple(sorted(set(names) - set(package.labels)))
    seen_things = things(unit(embeddings), names, sessions, [one.item for one in seen])
    whole_sessions = by_session(names, sessions)
    groups = sessions if whole_sessions else seen_things
    lesson = _Class(
        labels=labels,
        embeddings=embeddings,
        truth=np.array([labels.index(name) for name in names], np.int64),
        groups=np.unique(groups, return_inverse=True)[1],
        folds=folds_of(groups, names, whole_sessions),
        prior=_prior(kernel, bias, len(labels), embeddings),
    )
    strength, logits = _best(lesson)
    before = _padded(embeddings @ kernel + bias, len(labels))
    figures: dict[str, Any] = {
        "pictures": dict(sorted(Counter(names).items())),
        "left_out": needs,
        "things": dict(
            sorted(Counter(n for n, _ in set(zip(names, seen_things, strict=True))).items())
        ),
        "sessions": len(set(sessions)),
        "tested_on": "sessions" if whole_sessions else "things",
        "strength": strength,
        "before": judged(before, lesson.truth, lesson.groups, labels),
        "after": judged(logits, lesson.truth, lesson.groups, labels),
    }
    gain, error = gained(before, logits, lesson.truth, lesson.groups)
    figures["gain"] = {"accuracy": gain, "se": error}
    figures["unseen_session"] = _unseen_session(lesson, sessions, strength)
    figures["control"] = _control(lesson, [one.ground for one in seen], strength)
    fresh = np.array([one.fresh for one in seen])
    figures["former"] = _former(classifier.head, lesson, logits, fresh)
    temperature = fit_temperature(logits, lesson.truth, doubt=1 / (len(names) + 2))
    likely = probabilities(logits, temperature)
    thresholds = _thresholds(likely, lesson.truth)
    passed, right = accepted(likely, lesson.truth, thresholds)
    figures["accepted"] = {
        "share": float(passed.mean()),
        "right": float(right[passed].mean()) if passed.any() else None,
    }
    figures["seconds"] = time.perf_counter() - started
    kernel, bias = fit.fit(unit(embeddings), lesson.truth, lesson.prior, strength)
    head = Head(
        labels=labels,
        kernel=kernel,
        bias=bias,
        temperature=temperature,
        thresholds=_trusted(labels, thresholds, set(names), package),
        base=Base.of(package),
        taught_at=taught_at,
        figures=figures,
    )
    return Lesson(head, gain > error, figures, tuple(doubts(figures, labels)))


def _looked_at(
    shown: Iterable[Shown], classifier: Classifier, tell: Callable[[str], None]
) -> list[_Seen]:
    """Run the network on each crop, and on its ground where that is known."""
    seen = []
    for number, one in enumerate(shown, start=1):
        tell(f"picture {number}")
        ground = None if one.ground is None else classifier.classify(one.ground).embedding
        embedding = classifier.classify(one.crop).embedding
        seen.append(_Seen(one.label, one.session, one.item, embedding, ground, one.fresh))
    return seen


def _prior(kernel: Floats, bias: Floats, count: int, embeddings: Floats) -> fit.Head:
    """The shipped head for embeddings of length 1, and nothing for the classes that are new.

    What all classes share changes no probability; without it, to know nothing of a class is to
    expect as much of it as of the average one.
    """
    length = float(np.median(np.linalg.norm(embeddings, axis=1)))
    kernel = (kernel - kernel.mean(axis=1, keepdims=True)) * length
    new = count - len(bias)
    return np.pad(kernel, ((0, 0), (0, new))), np.pad(bias - bias.mean(), (0, new))


def _padded(logits: Floats, count: int) -> Floats:
    """Logits of the shipped head with the new classes, which it never says."""
    missing = ((0, 0), (0, count - logits.shape[1]))
    return np.pad(logits, missing, constant_values=-1e9)


def _held_out(lesson: _Class, folds: Counts, *strengths: float) -> list[Doubles]:
    """For each strength, logits float64 (n, k) of each picture from a head not taught its fold."""
    features, prior = fit.compact(unit(lesson.embeddings), lesson.prior)
    found = [np.zeros((len(features), len(lesson.labels))) for _ in strengths]
    for fold in np.unique(folds):
        mine = folds == fold
        for logits, strength in zip(found, strengths, strict=True):
            kernel, bias = fit.fit(features[~mine], lesson.truth[~mine], prior, strength)
            logits[mine] = features[mine] @ kernel + bias
    return found


def _best(lesson: _Class) -> tuple[float, Doubles]:
    """The strength of least cross-validated log loss, with its logits.

    After the temperature, which is fitted to them anyway.
    """

    def loss(logits: Doubles) -> float:
        temperature = fit_temperature(logits, lesson.truth)
        return negative_log_likelihood(logits, lesson.truth, temperature)

    tried = zip(STRENGTHS, _held_out(lesson, lesson.folds, *STRENGTHS), strict=True)
    return min(tried, key=lambda pair: loss(pair[1]))


def _unseen_session(
    lesson: _Class, sessions: Sequence[str], strength: float
) -> dict[str, Any] | None:
    """Each session judged by a head taught the others, where those show the same class.

    None where no class was seen in two sessions.
    """
    number = np.unique(sessions, return_inverse=True)[1]
    of_class = [set(number[lesson.truth == c].tolist()) for c in range(len(lesson.labels))]
    judged = np.array([len(of_class[c]) > 1 for c in lesson.truth])
    if not judged.any():
        return None
    [logits] = _held_out(lesson, number, strength)
    right = logits.argmax(axis=1) == lesson.truth
    return {"accuracy": float(right[judged].mean()), "pictures": int(judged.sum())}


def _control(
    lesson: _Class, grounds: Sequence[Floats | None], strength: float
) -> dict[str, Any] | None:
    """The same head on the same crops without the item; None where too few show that.

    majority: the accuracy of always saying the commonest class.
    """
    known = np.array([ground is not None for ground in grounds])
    if known.sum() < 2 * LEAST or len(set(lesson.truth[known].tolist())) < 2:
        return None
    part = dataclasses.replace(
        lesson,
        embeddings=np.stack([g for g in grounds if g is not None]),
        truth=lesson.truth[known],
        groups=np.unique(lesson.groups[known], return_inverse=True)[1],
        folds=lesson.folds[known],
    )
    [logits] = _held_out(part, part.folds, strength)
    right = (logits.argmax(axis=1) == part.truth).astype(float)
    return {
        "accuracy": float(right.mean()),
        "se": clustered_se(right, part.groups),
        "majority": float(np.bincount(part.truth).max() / len(part.truth)),
        "pictures": len(right),
    }


def _former(
    head: Head | None, lesson: _Class, logits: Doubles, fresh: Flags
) -> dict[str, Any] | None:
    """The head in force beside the new one, on pictures that neither was taught; None for none.

    logits: of the new one, cross-validated. fresh: bool (n,), not taught to the head in force.
    """
    if head is None or not fresh.any():
        return None
    said = head.logits(lesson.embeddings[fresh]).argmax(axis=1)
    truth = lesson.truth[fresh]
    then = np.array(head.labels)[said] == np.array(lesson.labels)[truth]
    now = logits[fresh].argmax(axis=1) == truth
    groups = np.unique(lesson.groups[fresh], return_inverse=True)[1]
    return {
        "model": head.id,
        "pictures": len(truth),
        "before": float(then.mean()),
        "after": float(now.mean()),
        "se": clustered_se(now.astype(float) - then, groups),
    }


def _thresholds(likely: Doubles, truth: Counts) -> Doubles:
    """The confidence from which to trust each class, float64 (k,), from cross-validated ones.

    Few pictures may all be right, and then any threshold would do for them. What the head is less
    sure of than of nearly all of those is unlike what it was taught, and goes to residual.
    """
    sure, right = likely.max(axis=1), likely.argmax(axis=1) == truth
    least = np.quantile(sure[right], UNLIKE) if right.any() else 1.0
    return np.maximum(fit_thresholds(likely, truth, TARGET), np.floor(least * 1000) / 1000)


def _trusted(
    labels: Sequence[str], thresholds: Doubles, taught: set[str], package: Package
) -> dict[str, float]:
    """A threshold for each class; one without pictures is trusted no sooner than before."""
    shipped = package.manifest.thresholds
    return {
        label: float(own if label in taught else max(own, shipped.get(label, 0.0)))
        for label, own in zip(labels, thresholds, strict=True)
    }
