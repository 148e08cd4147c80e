"""One training: from labelled embeddings to a head, with figures that say what it is worth.

Embeddings of crops with their labels flow in; a head flows out with per-class figures before and
after, by cross-validation over items, and a verdict. The control has the item taken out of the same
crops: what a head still recognises in those is the background. Nothing is activated here.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bin_daemon.core.softmax import softmax
from bin_daemon.model.calibration import (
    Counts,
    Doubles,
    Flags,
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
    the head in use was not taught it.
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


class _Trial:
    """Examples as numbers, and what a head that is learnt from them is worth.

    labels: k, those of the package first. embeddings: float32 (n, d). truth: int (n,), into
    `labels`. sessions, things: str (n,). groups: the one of the two that is never split;
    whole_sessions says which. folds: int (n,). weights: float (n,), 1 in all for each thing.
    prior: of `solver.fit`. strength: of least cross-validated log loss. logits: float64 (n, k) with
    that, cross-validated.
    """

    def __init__(
        self,
        examples: Sequence[TrainingExample],
        package: Package,
        shipped: solver.Linear,
        progress: Progress,
    ) -> None:
        self._examples, self._progress = examples, progress
        names = [one.label for one in examples]
        sessions = [one.session for one in examples]
        self.labels = package.labels + tuple(sorted(set(names) - set(package.labels)))
        self.embeddings = np.stack([one.embedding for one in examples])
        self.truth = np.array([self.labels.index(name) for name in names], np.int64)
        shown = things(unit(self.embeddings), names, sessions, [one.item for one in examples])
        counts = Counter(shown)
        self.weights = np.array([1 / counts[thing] for thing in shown])
        self.whole_sessions = by_session(names, sessions)
        groups = sessions if self.whole_sessions else shown
        self.folds = folds_of(groups, names, self.whole_sessions)
        self.sessions, self.things = np.array(sessions), np.array(shown)
        self.groups = np.array(groups)
        self.prior = _prior(*shipped, len(self.labels), self.embeddings)
        tried = self._held_out(self.embeddings, self.truth, self.folds, STRENGTHS)
        self.strength, self.logits = min(tried.items(), key=lambda pair: self._loss(pair[1]))

    def _loss(self, logits: Doubles) -> float:
        """After the temperature, which is fitted to them anyway."""
        temperature = fit_temperature(logits, self.truth)
        return negative_log_likelihood(logits, self.truth, temperature)

    def _held_out(
        self, embeddings: Floats, truth: Counts, folds: npt.NDArray[Any], strengths: Sequence[float]
    ) -> dict[float, Doubles]:
        """By strength, logits float64 (n, k) of each picture from a head not taught its fold.

        folds: (n,) of any names.
        """
        features, prior = solver.compact(unit(embeddings), self.prior)
        found = {strength: np.zeros((len(features), len(self.labels))) for strength in strengths}
        parts = np.unique(folds)
        for number, fold in enumerate(parts, start=1):
            mine = folds == fold
            heads = solver.fits(features[~mine], truth[~mine], prior, strengths)
            for strength, (kernel, bias) in heads:
                self._progress(f"testing on part {number} of {len(parts)}")
                found[strength][mine] = features[mine] @ kernel + bias
        return found

    def per_class(self, classes: Iterable[int]) -> dict[str, int]:
        """How many there are of each class, by label in order."""
        return dict(sorted(Counter(self.labels[c] for c in classes).items()))

    def unseen_session(self) -> dict[str, Any] | None:
        """Each session judged by a head taught the others, where those show the same class.

        None where no class was seen in two sessions.
        """
        twice = np.array([len(set(self.sessions[self.truth == c])) > 1 for c in self.truth])
        if not twice.any():
            return None
        strengths = [self.strength]
        found = self._held_out(self.embeddings, self.truth, self.sessions, strengths)
        right = found[self.strength].argmax(axis=1) == self.truth
        return {"accuracy": float(right[twice].mean()), "pictures": int(twice.sum())}

    def control(self) -> dict[str, Any] | None:
        """The same head on the same crops without the item; None where too few show that.

        Where they are all of one session, that cannot be held out whole: then by things. majority:
        the accuracy of always saying the commonest class.
        """
        known = np.array([one.ground is not None for one in self._examples])
        truth, folds, groups = self.truth[known], self.folds[known], self.groups[known]
        if len(truth) < 2 * LEAST or len(set(truth)) < 2:
            return None
        if len(set(folds)) < 2:
            groups = self.things[known]
            names = [self.labels[c] for c in truth]
            folds = folds_of(groups.tolist(), names, whole_sessions=False)
        if len(set(folds)) < 2:
            return None
        grounds = np.stack([one.ground for one in self._examples if one.ground is not None])
        found = self._held_out(grounds, truth, folds, [self.strength])[self.strength]
        right = (found.argmax(axis=1) == truth).astype(float)
        return {
            "accuracy": float(right.mean()),
            "se": clustered_se(right, groups),
            "majority": float(np.bincount(truth).max() / len(truth)),
            "pictures": len(right),
        }

    def former(self, head: Head | None) -> dict[str, Any] | None:
        """The head in use beside the new one, on pictures that neither was taught; or None."""
        fresh = np.array([one.fresh for one in self._examples])
        if head is None or not fresh.any():
            return None
        said, truth = head.logits(self.embeddings[fresh]).argmax(axis=1), self.truth[fresh]
        then = np.array(head.labels)[said] == np.array(self.labels)[truth]
        now = self.logits[fresh].argmax(axis=1) == truth
        return {
            "model": head.id,
            "pictures": len(truth),
            "before": float(then.mean()),
            "after": float(now.mean()),
            "se": clustered_se(now.astype(float) - then, self.groups[fresh]),
        }

    def trust(self, some: Flags | slice = slice(None)) -> tuple[float, Doubles]:
        """Temperature, and the confidence from which to trust each class, float64 (k,).

        Few pictures may all be right, and then any threshold would do for them. What the head is
        less sure of than of nearly all of those is unlike what it was taught, and goes to residual.
        Looks at one thing count as one. some: the pictures to go by.
        """
        logits, truth, weights = self.logits[some], self.truth[some], self.weights[some]
        temperature = fit_temperature(logits, truth, doubt=1 / (weights.sum() + 2))
        likely = softmax(logits, temperature)
        sure, right = likely.max(axis=1), likely.argmax(axis=1) == truth
        least = np.quantile(sure[right], UNLIKE) if right.any() else 1.0
        shown = fit_thresholds(likely, truth, TARGET, weights=weights)
        return temperature, np.maximum(shown, np.floor(least * 1000) / 1000)

    def accepted(self) -> dict[str, Any]:
        """What passes thresholds, and is right, where each fold has those that the others gave."""
        crossed = cross_fit(self.logits, self.truth, self.folds, self.trust)
        passed = crossed.accepted
        right = float(crossed.right[passed].mean()) if passed.any() else None
        return {"share": float(passed.mean()), "right": right}


def train(
    examples: Iterable[TrainingExample],
    classifier: Classifier,
    taught_at: float,
    progress: Progress = lambda words: None,
    taken: Container[str] | None = None,
    known: Iterable[str] = (),
) -> TrainingResult:
    """Learn from pictures, given one after another so that their crops need not be in memory.

    classifier: with the network that has seen them, and the head in use, if there is one.
    progress: takes words on how far it is, before each step. taken: the classes that have a route;
    None where that does not matter. known: the classes of the head that this one may follow; the
    figures say which are lost. Raises UsageError as `left_out`, and ModelError where the package
    cannot be taught.
    """
    started = time.perf_counter()
    shipped, package = classifier.shipped_head(), classifier.package
    seen = list(examples)
    needs = left_out((one.label for one in seen), taken, set(known) - set(package.labels))
    seen = [one for one in seen if one.label not in needs]
    trial = _Trial(seen, package, shipped, progress)
    labels, truth, groups, logits = trial.labels, trial.truth, trial.groups, trial.logits
    # The shipped head never says a class that is new.
    missing = ((0, 0), (0, len(labels) - len(package.labels)))
    before = np.pad(trial.embeddings @ shipped[0] + shipped[1], missing, constant_values=-1e9)
    change = (logits.argmax(axis=1) == truth).astype(float) - (before.argmax(axis=1) == truth)
    gain, error = float(change.mean()), clustered_se(change, groups)
    figures: dict[str, Any] = {
        "pictures": trial.per_class(truth),
        "left_out": needs,
        "things": trial.per_class(c for c, _ in set(zip(truth, trial.things, strict=True))),
        "sessions": len(set(trial.sessions)),
        "tested_on": "sessions" if trial.whole_sessions else "things",
        "strength": trial.strength,
        "before": scores(before, truth, groups, labels),
        "after": scores(logits, truth, groups, labels),
        "gain": {"accuracy": gain, "se": error},
        "unseen_session": trial.unseen_session(),
        "control": trial.control(),
        "former": trial.former(classifier.head),
        "accepted": trial.accepted(),
    }
    progress("learning from all")
    temperature, own = trial.trust()
    # A class without pictures is trusted no sooner than before.
    least = {n: t for n, t in package.thresholds.items() if n not in figures["pictures"]}
    thresholds = {n: max(t, least.get(n, 0.0)) for n, t in zip(labels, own.tolist(), strict=True)}
    kernel, bias = solver.fit(unit(trial.embeddings), truth, trial.prior, trial.strength)
    head = Head(
        labels=labels,
        kernel=kernel,
        bias=bias,
        temperature=temperature,
        thresholds=thresholds,
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
