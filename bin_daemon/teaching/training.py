"""One lesson: from labelled embeddings to a head, with figures that say what it is worth.

Embeddings of crops with their labels flow in; a head flows out with per-class figures before and
after, by cross-validation over items, and a verdict. The control has the item taken out of the same
crops: what a head still tells from those, it tells from the ground. Nothing is put in force here.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

import numpy as np

from bin_daemon.model.calibration import (
    Counts,
    Doubles,
    Flags,
    Floats,
    cross_fit,
    fit_temperature,
    fit_thresholds,
    negative_log_likelihood,
    softmax,
)
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.head import Base, Head, unit
from bin_daemon.model.package import Package
from bin_daemon.teaching import solver
from bin_daemon.teaching.advice import LEAST, doubts, left_out
from bin_daemon.teaching.folds import by_session, folds_of, things
from bin_daemon.teaching.metrics import clustered_se, gained, judged
from bin_daemon.teaching.package_head import shipped_head

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# Of what the head accepts, this share is to be right. It takes 33 things, all told right, to show
# that (`fit_thresholds`); the 0.985 that packages aim at takes 66, more than many a bin is taught.
TARGET = 0.97
# Of what it is right about, so much may go to residual because it is unlike the rest.
UNLIKE = 0.05


Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """One labelled picture as the network sees it: embedding float32 (d,) of its crop.

    session: the sitting it is from. item: the same for all pictures of one thing. ground: the
    embedding of the same crop with the item painted out, or None where that is not known. fresh:
    the head in force was not taught it.
    """

    embedding: Floats
    label: str
    session: str
    item: str
    ground: Floats | None = None
    fresh: bool = False


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
class _Pictures:
    """What is learnt from, as numbers: embeddings float32 (n, d), truth int (n,) into `labels`,
    groups int (n,) and fold int (n,), weights float (n,) that are 1 in all for each thing; prior:
    see `fit`."""

    labels: tuple[str, ...]
    embeddings: Floats
    truth: Counts
    groups: Counts
    folds: Counts
    weights: Doubles
    prior: solver.Linear


def learn(
    shown: Iterable[Shown],
    classifier: Classifier,
    taught_at: float,
    tell: Tell = lambda words: None,
    taken: Container[str] | None = None,
    known: Iterable[str] = (),
) -> Lesson:
    """Learn from pictures, shown one after another so that their crops need not be in memory.

    classifier: with the network that has seen them, and with the head in force, if there is one.
    tell: takes words on how far it is, before each step. taken: see `left_out`.
    known: the classes of the head that this one may follow; which of them are lost is told.
    Raises UsageError as `left_out` does, ModelError where the package cannot be taught.
    """
    started = time.perf_counter()
    kernel, bias = shipped_head(classifier)
    package = classifier.package
    seen = list(shown)
    needs = left_out((one.label for one in seen), taken, set(known) - set(package.labels))
    seen = [one for one in seen if one.label not in needs]
    names, sessions = [one.label for one in seen], [one.session for one in seen]
    embeddings = np.stack([one.embedding for one in seen])
    labels = package.labels + tuple(sorted(set(names) - set(package.labels)))
    seen_things = things(unit(embeddings), names, sessions, [one.item for one in seen])
    of_thing = Counter(seen_things)
    whole_sessions = by_session(names, sessions)
    groups = sessions if whole_sessions else seen_things
    pictures = _Pictures(
        labels=labels,
        embeddings=embeddings,
        truth=np.array([labels.index(name) for name in names], np.int64),
        groups=np.unique(groups, return_inverse=True)[1],
        folds=folds_of(groups, names, whole_sessions),
        weights=np.array([1 / of_thing[thing] for thing in seen_things]),
        prior=_prior(kernel, bias, len(labels), embeddings),
    )
    strength, logits = _best(pictures, tell)
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
        "before": judged(before, pictures.truth, pictures.groups, labels),
        "after": judged(logits, pictures.truth, pictures.groups, labels),
    }
    gain, error = gained(before, logits, pictures.truth, pictures.groups)
    figures["gain"] = {"accuracy": gain, "se": error}
    figures["unseen_session"] = _unseen_session(pictures, sessions, strength, tell)
    grounds = [one.ground for one in seen]
    figures["control"] = _control(pictures, grounds, seen_things, strength, tell)
    fresh = np.array([one.fresh for one in seen])
    figures["former"] = _former(classifier.head, pictures, logits, fresh)
    figures["accepted"] = _accepted(pictures, logits)
    temperature, thresholds = _trust(logits, pictures.truth, pictures.weights)
    tell("learning from all")
    kernel, bias = solver.fit(unit(embeddings), pictures.truth, pictures.prior, strength)
    figures["seconds"] = time.perf_counter() - started
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


def _prior(kernel: Floats, bias: Floats, count: int, embeddings: Floats) -> solver.Linear:
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


def _held_out(
    pictures: _Pictures, folds: Counts, strengths: Sequence[float], tell: Tell
) -> dict[float, Doubles]:
    """By strength, logits float64 (n, k) of each picture from a head not taught its fold."""
    features, prior = solver.compact(unit(pictures.embeddings), pictures.prior)
    found = {strength: np.zeros((len(features), len(pictures.labels))) for strength in strengths}
    parts = np.unique(folds)
    for number, fold in enumerate(parts, start=1):
        mine = folds == fold
        heads = solver.fits(features[~mine], pictures.truth[~mine], prior, strengths)
        for strength, (kernel, bias) in heads:
            tell(f"testing on part {number} of {len(parts)}")
            found[strength][mine] = features[mine] @ kernel + bias
    return found


def _best(pictures: _Pictures, tell: Tell) -> tuple[float, Doubles]:
    """The strength of least cross-validated log loss, with its logits.

    After the temperature, which is fitted to them anyway.
    """

    def loss(logits: Doubles) -> float:
        temperature = fit_temperature(logits, pictures.truth)
        return negative_log_likelihood(logits, pictures.truth, temperature)

    tried = _held_out(pictures, pictures.folds, STRENGTHS, tell)
    return min(tried.items(), key=lambda pair: loss(pair[1]))


def _unseen_session(
    pictures: _Pictures, sessions: Sequence[str], strength: float, tell: Tell
) -> dict[str, Any] | None:
    """Each session judged by a head taught the others, where those show the same class.

    None where no class was seen in two sessions.
    """
    number = np.unique(sessions, return_inverse=True)[1]
    of_class = [set(number[pictures.truth == c].tolist()) for c in range(len(pictures.labels))]
    judged = np.array([len(of_class[c]) > 1 for c in pictures.truth])
    if not judged.any():
        return None
    logits = _held_out(pictures, number, [strength], tell)[strength]
    right = logits.argmax(axis=1) == pictures.truth
    return {"accuracy": float(right[judged].mean()), "pictures": int(judged.sum())}


def _control(
    pictures: _Pictures,
    grounds: Sequence[Floats | None],
    shown: Sequence[str],
    strength: float,
    tell: Tell,
) -> dict[str, Any] | None:
    """The same head on the same crops without the item; None where too few show that.

    Where they are all of one session, that cannot be held out whole: then by things.

    shown: which thing each picture shows. majority: the accuracy of always saying the commonest
    class.
    """
    known = np.array([ground is not None for ground in grounds])
    if known.sum() < 2 * LEAST or len(set(pictures.truth[known].tolist())) < 2:
        return None
    folds, groups = pictures.folds[known], pictures.groups[known]
    if len(np.unique(folds)) < 2:
        groups = np.array(shown)[known]
        names = [pictures.labels[c] for c in pictures.truth[known]]
        folds = folds_of(groups.tolist(), names, whole_sessions=False)
    if len(np.unique(folds)) < 2:
        return None
    part = dataclasses.replace(
        pictures,
        embeddings=np.stack([g for g in grounds if g is not None]),
        truth=pictures.truth[known],
        groups=np.unique(groups, return_inverse=True)[1],
        folds=folds,
        weights=pictures.weights[known],
    )
    logits = _held_out(part, part.folds, [strength], tell)[strength]
    right = (logits.argmax(axis=1) == part.truth).astype(float)
    return {
        "accuracy": float(right.mean()),
        "se": clustered_se(right, part.groups),
        "majority": float(np.bincount(part.truth).max() / len(part.truth)),
        "pictures": len(right),
    }


def _former(
    head: Head | None, pictures: _Pictures, logits: Doubles, fresh: Flags
) -> dict[str, Any] | None:
    """The head in force beside the new one, on pictures that neither was taught; None for none.

    logits: of the new one, cross-validated. fresh: bool (n,), not taught to the head in force.
    """
    if head is None or not fresh.any():
        return None
    said = head.logits(pictures.embeddings[fresh]).argmax(axis=1)
    truth = pictures.truth[fresh]
    then = np.array(head.labels)[said] == np.array(pictures.labels)[truth]
    now = logits[fresh].argmax(axis=1) == truth
    groups = np.unique(pictures.groups[fresh], return_inverse=True)[1]
    return {
        "model": head.id,
        "pictures": len(truth),
        "before": float(then.mean()),
        "after": float(now.mean()),
        "se": clustered_se(now.astype(float) - then, groups),
    }


def _trust(logits: Doubles, truth: Counts, weights: Doubles) -> tuple[float, Doubles]:
    """Temperature, and the confidence from which to trust each class, float64 (k,).

    Few pictures may all be right, and then any threshold would do for them. What the head is less
    sure of than of nearly all of those is unlike what it was taught, and goes to residual. Looks at
    one thing are one witness between them.

    logits: float64 (n, k), cross-validated. weights: float64 (n,), see `_Pictures`.
    """
    temperature = fit_temperature(logits, truth, doubt=1 / (weights.sum() + 2))
    likely = softmax(logits, temperature)
    sure, right = likely.max(axis=1), likely.argmax(axis=1) == truth
    least = np.quantile(sure[right], UNLIKE) if right.any() else 1.0
    shown = fit_thresholds(likely, truth, TARGET, weights=weights)
    return temperature, np.maximum(shown, np.floor(least * 1000) / 1000)


def _accepted(pictures: _Pictures, logits: Doubles) -> dict[str, Any]:
    """What passes thresholds, and is right, where each fold has those that the others gave."""
    truth, weights = pictures.truth, pictures.weights
    crossed = cross_fit(
        logits, truth, pictures.folds, lambda some: _trust(logits[some], truth[some], weights[some])
    )
    passed = crossed.accepted
    return {
        "share": float(passed.mean()),
        "right": float(crossed.right[passed].mean()) if passed.any() else None,
    }


def _trusted(
    labels: Sequence[str], thresholds: Doubles, taught: set[str], package: Package
) -> dict[str, float]:
    """A threshold for each class; one without pictures is trusted no sooner than before."""
    shipped = package.manifest.thresholds
    return {
        label: float(own if label in taught else max(own, shipped.get(label, 0.0)))
        for label, own in zip(labels, thresholds, strict=True)
    }
