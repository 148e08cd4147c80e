"""One training: from labelled embeddings to a head, with figures that say what it is worth.

Embeddings of crops with their labels flow in; a head flows out with per-class figures before and
after, by cross-validation over items, and a verdict. The control has the item taken out of the same
crops: what a head still recognises in those is the background. Nothing is put in force here.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bin_daemon.core.softmax import softmax
from bin_daemon.model.calibration import (
    Counts,
    Doubles,
    Floats,
    clustered_se,
    cross_fit,
    fit_temperature,
    fit_thresholds,
    negative_log_likelihood,
    scores,
)
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.head import Base, Head, unit
from bin_daemon.model.package import Package
from bin_daemon.teaching import solver
from bin_daemon.teaching.advice import LEAST, advise, left_out
from bin_daemon.teaching.folds import by_session, folds_of, things

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# Of what the head accepts, this share is to be right. It takes 33 things, all right, to show
# that (`fit_thresholds`); the 0.985 that packages aim at takes 66, more than many a bin is taught.
TARGET = 0.97
# Of what it is right about, so much may go to residual because it is unlike the rest.
UNLIKE = 0.05

Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingExample:
    """One labelled picture as the network sees it: embedding float32 (d,) of its crop.

    session: in which it was taken. item: the same for all pictures of one thing. ground: the
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
class TrainingResult:
    """What came of it.

    better: by more than one standard error than the shipped head. figures: as `teach --json` gives
    them (docs/operations.md#teaching). warnings: in words.
    """

    head: Head
    better: bool
    figures: dict[str, Any]
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _TrainingSet:
    """What is learnt from, as numbers.

    embeddings: float32 (n, d). truth: int (n,), into `labels`. sessions, things: str (n,). groups:
    the one of the two that is never split; whole_sessions says which. folds: int (n,). weights:
    float (n,), 1 in all for each thing. prior: of `solver.fit`.
    """

    labels: tuple[str, ...]
    embeddings: Floats
    truth: Counts
    sessions: npt.NDArray[np.str_]
    things: npt.NDArray[np.str_]
    whole_sessions: bool
    groups: npt.NDArray[np.str_]
    folds: Counts
    weights: Doubles
    prior: solver.Linear

    @classmethod
    def of(
        cls, examples: Sequence[TrainingExample], shipped: solver.Linear, package: Package
    ) -> Self:
        """The set of these examples, for heads that start from the shipped one."""
        names = [one.label for one in examples]
        sessions = [one.session for one in examples]
        embeddings = np.stack([one.embedding for one in examples])
        labels = package.labels + tuple(sorted(set(names) - set(package.labels)))
        shown = things(unit(embeddings), names, sessions, [one.item for one in examples])
        counts = Counter(shown)
        whole_sessions = by_session(names, sessions)
        groups = sessions if whole_sessions else shown
        return cls(
            labels=labels,
            embeddings=embeddings,
            truth=np.array([labels.index(name) for name in names], np.int64),
            sessions=np.array(sessions),
            things=np.array(shown),
            whole_sessions=whole_sessions,
            groups=np.array(groups),
            folds=folds_of(groups, names, whole_sessions),
            weights=np.array([1 / counts[thing] for thing in shown]),
            prior=_prior(*shipped, len(labels), embeddings),
        )

    def per_class(self, classes: Iterable[int]) -> dict[str, int]:
        """How many there are of each class, by label in order."""
        return dict(sorted(Counter(self.labels[c] for c in classes).items()))


def train(
    examples: Iterable[TrainingExample],
    classifier: Classifier,
    taught_at: float,
    progress: Progress = lambda words: None,
    taken: Container[str] | None = None,
    known: Iterable[str] = (),
) -> TrainingResult:
    """Learn from pictures, given one after another so that their crops need not be in memory.

    Args:
        examples: the pictures.
        classifier: with the network that has seen them, and the head in force, if there is one.
        taught_at: wall clock.
        progress: takes words on how far it is, before each step.
        taken: the classes that have a route; None where that does not matter.
        known: the classes of the head that this one may follow; the figures say which are lost.

    Raises:
        UsageError: as `left_out`.
        ModelError: the package cannot be taught.
    """
    started = time.perf_counter()
    shipped, package = classifier.shipped_head(), classifier.package
    seen = list(examples)
    needs = left_out((one.label for one in seen), taken, set(known) - set(package.labels))
    seen = [one for one in seen if one.label not in needs]
    pictures = _TrainingSet.of(seen, shipped, package)
    labels, truth, groups = pictures.labels, pictures.truth, pictures.groups
    strength, logits = _best(pictures, progress)
    # The shipped head never says a class that is new.
    missing = ((0, 0), (0, len(labels) - len(package.labels)))
    before = np.pad(pictures.embeddings @ shipped[0] + shipped[1], missing, constant_values=-1e9)
    change = (logits.argmax(axis=1) == truth).astype(float) - (before.argmax(axis=1) == truth)
    gain, error = float(change.mean()), clustered_se(change, groups)
    figures: dict[str, Any] = {
        "pictures": pictures.per_class(truth),
        "left_out": needs,
        "things": pictures.per_class(c for c, _ in set(zip(truth, pictures.things, strict=True))),
        "sessions": len(set(pictures.sessions)),
        "tested_on": "sessions" if pictures.whole_sessions else "things",
        "strength": strength,
        "before": scores(before, truth, groups, labels),
        "after": scores(logits, truth, groups, labels),
        "gain": {"accuracy": gain, "se": error},
        "unseen_session": _unseen_session(pictures, strength, progress),
        "control": _control(pictures, [one.ground for one in seen], strength, progress),
        "former": _former(classifier.head, pictures, logits, [one.fresh for one in seen]),
        "accepted": _accepted(pictures, logits),
    }
    progress("learning from all")
    temperature, thresholds = _trust(logits, truth, pictures.weights)
    kernel, bias = solver.fit(unit(pictures.embeddings), truth, pictures.prior, strength)
    head = Head(
        labels=labels,
        kernel=kernel,
        bias=bias,
        temperature=temperature,
        thresholds=_trusted(pictures, thresholds, package),
        base=Base.of(package),
        taught_at=taught_at,
        figures=figures,
    )
    figures["seconds"] = time.perf_counter() - started
    return TrainingResult(head, gain > error, figures, tuple(advise(figures, labels)))


def _prior(kernel: Floats, bias: Floats, count: int, embeddings: Floats) -> solver.Linear:
    """The shipped head for embeddings of length 1, and nothing for the classes that are new.

    What all classes share changes no probability; without it, to know nothing of a class is to
    expect as much of it as of the average one.
    """
    length = float(np.median(np.linalg.norm(embeddings, axis=1)))
    kernel = (kernel - kernel.mean(axis=1, keepdims=True)) * length
    new = count - len(bias)
    return np.pad(kernel, ((0, 0), (0, new))), np.pad(bias - bias.mean(), (0, new))


def _held_out(
    embeddings: Floats,
    truth: Counts,
    prior: solver.Linear,
    folds: npt.NDArray[Any],
    strengths: Sequence[float],
    progress: Progress,
) -> dict[float, Doubles]:
    """By strength, logits float64 (n, k) of each picture from a head not taught its fold.

    folds: (n,) of any names.
    """
    features, prior = solver.compact(unit(embeddings), prior)
    found = {strength: np.zeros((len(features), len(prior[1]))) for strength in strengths}
    parts = np.unique(folds)
    for number, fold in enumerate(parts, start=1):
        mine = folds == fold
        heads = solver.fits(features[~mine], truth[~mine], prior, strengths)
        for strength, (kernel, bias) in heads:
            progress(f"testing on part {number} of {len(parts)}")
            found[strength][mine] = features[mine] @ kernel + bias
    return found


def _best(pictures: _TrainingSet, progress: Progress) -> tuple[float, Doubles]:
    """The strength of least cross-validated log loss, with its logits.

    After the temperature, which is fitted to them anyway.
    """
    truth = pictures.truth

    def loss(pair: tuple[float, Doubles]) -> float:
        return negative_log_likelihood(pair[1], truth, fit_temperature(pair[1], truth))

    embeddings, prior, folds = pictures.embeddings, pictures.prior, pictures.folds
    tried = _held_out(embeddings, truth, prior, folds, STRENGTHS, progress)
    return min(tried.items(), key=loss)


def _unseen_session(
    pictures: _TrainingSet, strength: float, progress: Progress
) -> dict[str, Any] | None:
    """Each session judged by a head taught the others, where those show the same class.

    None where no class was seen in two sessions.
    """
    truth, sessions = pictures.truth, pictures.sessions
    twice = np.array([len(set(sessions[truth == c])) > 1 for c in truth])
    if not twice.any():
        return None
    embeddings, prior = pictures.embeddings, pictures.prior
    logits = _held_out(embeddings, truth, prior, sessions, [strength], progress)[strength]
    right = logits.argmax(axis=1) == truth
    return {"accuracy": float(right[twice].mean()), "pictures": int(twice.sum())}


def _control(
    pictures: _TrainingSet,
    grounds: Sequence[Floats | None],
    strength: float,
    progress: Progress,
) -> dict[str, Any] | None:
    """The same head on the same crops without the item; None where too few show that.

    Where they are all of one session, that cannot be held out whole: then by things. majority: the
    accuracy of always saying the commonest class.
    """
    known = np.array([ground is not None for ground in grounds])
    truth = pictures.truth[known]
    if len(truth) < 2 * LEAST or len(set(truth)) < 2:
        return None
    folds, groups = pictures.folds[known], pictures.groups[known]
    if len(set(folds)) < 2:
        groups = pictures.things[known]
        names = [pictures.labels[c] for c in truth]
        folds = folds_of(groups.tolist(), names, whole_sessions=False)
    if len(set(folds)) < 2:
        return None
    embeddings = np.stack([ground for ground in grounds if ground is not None])
    logits = _held_out(embeddings, truth, pictures.prior, folds, [strength], progress)[strength]
    right = (logits.argmax(axis=1) == truth).astype(float)
    return {
        "accuracy": float(right.mean()),
        "se": clustered_se(right, groups),
        "majority": float(np.bincount(truth).max() / len(truth)),
        "pictures": len(right),
    }


def _former(
    head: Head | None, pictures: _TrainingSet, logits: Doubles, fresh: Sequence[bool]
) -> dict[str, Any] | None:
    """The head in force beside the new one, on pictures that neither was taught; None for none.

    logits: of the new one, cross-validated. fresh: which the head in force was not taught.
    """
    if head is None or not any(fresh):
        return None
    new = np.array(fresh)
    said, truth = head.logits(pictures.embeddings[new]).argmax(axis=1), pictures.truth[new]
    then = np.array(head.labels)[said] == np.array(pictures.labels)[truth]
    now = logits[new].argmax(axis=1) == truth
    return {
        "model": head.id,
        "pictures": len(truth),
        "before": float(then.mean()),
        "after": float(now.mean()),
        "se": clustered_se(now.astype(float) - then, pictures.groups[new]),
    }


def _trust(logits: Doubles, truth: Counts, weights: Doubles) -> tuple[float, Doubles]:
    """Temperature, and the confidence from which to trust each class, float64 (k,).

    Few pictures may all be right, and then any threshold would do for them. What the head is less
    sure of than of nearly all of those is unlike what it was taught, and goes to residual. Looks at
    one thing count as one.

    logits: float64 (n, k), cross-validated. weights: float64 (n,), see `_TrainingSet`.
    """
    temperature = fit_temperature(logits, truth, doubt=1 / (weights.sum() + 2))
    likely = softmax(logits, temperature)
    sure, right = likely.max(axis=1), likely.argmax(axis=1) == truth
    least = np.quantile(sure[right], UNLIKE) if right.any() else 1.0
    shown = fit_thresholds(likely, truth, TARGET, weights=weights)
    return temperature, np.maximum(shown, np.floor(least * 1000) / 1000)


def _accepted(pictures: _TrainingSet, logits: Doubles) -> dict[str, Any]:
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


def _trusted(pictures: _TrainingSet, thresholds: Doubles, package: Package) -> dict[str, float]:
    """A threshold for each class; one without pictures is trusted no sooner than before."""
    taught, shipped = set(pictures.truth.tolist()), package.manifest.thresholds
    return {
        label: float(own if at in taught else max(own, shipped.get(label, 0.0)))
        for at, (label, own) in enumerate(zip(pictures.labels, thresholds, strict=True))
    }
