"""The solver: a multinomial logistic head on embeddings, pulled towards a head that is known.

Embeddings and class indices flow in, kernel and bias flow out. numpy alone does it: with a few
hundred pictures of 1280 numbers the problem has as many dimensions as pictures, and Newton's method
on those takes milliseconds, while scikit-learn would bring SciPy and 100 MB to a Raspberry Pi and
cannot pull towards anything but zero. Nothing here knows what a picture or a class name is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from bin_daemon.core.softmax import softmax
from bin_daemon.model.calibration import Counts, Doubles, Floats

Linear = tuple[Floats, Floats]  # kernel (d, k), bias (k,)

_NEWTON_STEPS = 50
_CG_STEPS = 100
_ENOUGH = 1e-8  # of the loss: less than this is gained by no further step
# Of the squared residual of a step: a more exact one saves none of the steps that follow, and costs
# twice as much (inexact Newton: Dembo, Eisenstat and Steihaug 1982).
_EXACT = 1e-4


def fit(features: Floats, labels: Counts, prior: Linear, strength: float) -> Linear:
    """The head of least penalised cross-entropy, kernel float32 (d, k) and bias float32 (k,).

    It minimises, over kernel W and bias b, the sum of -log softmax(x W + b)[label] over the
    pictures plus strength / 2 times the squared distance of (W, b) from the prior: the maximum a
    posteriori estimate under a Gaussian prior of variance 1 / strength around the known head
    (Chelba and Acero 2004, "Adaptation of Maximum Entropy Capitalizer: Little Data Can Help a
    Lot"). Convex, so there is one answer.

    features: float (n, d), of length about 1 (`unit`). labels: int (n,), 0 to k - 1. prior: kernel
    (d, k) and bias (k,); zeros where nothing is known. strength: above 0.
    """
    [(_, head)] = fits(features, labels, prior, [strength])
    return head


def fits(
    features: Floats, labels: Counts, prior: Linear, strengths: Iterable[float]
) -> Iterator[tuple[float, Linear]]:
    """Each strength with what `fit` gives for it, in half the time of as many single fits."""
    # The answer differs from the prior by a combination of the pictures (representer theorem), so
    # it is sought in the space that they span.
    with_bias = np.hstack([features, np.ones((len(features), 1))]).astype(np.float64)
    basis, known = np.linalg.qr(with_bias.T)
    coordinates = known.T.copy()
    offset = (features @ prior[0] + prior[1]).astype(np.float64)
    shift = np.zeros((len(known), offset.shape[1]))
    for strength in sorted(strengths, reverse=True):  # each begins where a stronger pull led
        shift = _newton(coordinates, labels, offset, strength, shift)
        change = basis @ shift
        kernel, bias = prior[0] + change[:-1], prior[1] + change[-1]
        yield strength, (np.asarray(kernel, np.float32), np.asarray(bias, np.float32))


def compact(features: Floats, prior: Linear) -> tuple[Floats, Linear]:
    """The same problem in as many dimensions as there are pictures, for many fits to parts of it.

    A rotation into the space that the pictures span: the logits of all of them come out the same,
    whichever of them are fitted to. Returns features (n, r) and prior (r, k), (k,).
    """
    basis, known = np.linalg.qr(features.T)
    return np.asarray(known.T, np.float32), (np.asarray(basis.T @ prior[0]), prior[1])


def _newton(
    inputs: Doubles, labels: Counts, offset: Doubles, strength: float, at: Doubles
) -> Doubles:
    """C (r, k) that minimises the loss of the logits offset + inputs @ C, plus its penalty.

    Newton's method from `at`; each step by conjugate gradients, halved until the loss falls.
    """
    target = np.eye(offset.shape[1])[labels]

    def judged(at: Doubles) -> tuple[float, Doubles]:
        likely = softmax(offset + inputs @ at)
        chosen = likely[np.arange(len(labels)), labels]
        loss = -np.log(np.maximum(chosen, 1e-300)).sum() + strength / 2 * np.sum(at * at)
        return float(loss), likely

    def curved(likely: Doubles, direction: Doubles) -> Doubles:
        """The Hessian of the loss times a direction."""
        moved = likely * (inputs @ direction)
        moved -= likely * moved.sum(axis=1, keepdims=True)
        return np.asarray(inputs.T @ moved + strength * direction)

    loss, likely = judged(at)
    for _ in range(_NEWTON_STEPS):
        gradient = inputs.T @ (likely - target) + strength * at
        step, size = _solved(functools.partial(curved, likely), -gradient), 1.0
        while (found := judged(at + size * step))[0] > loss and size > 1e-6:
            size /= 2
        gained = loss - found[0]
        if gained <= 0.0:
            break
        at, (loss, likely) = at + size * step, found
        if gained < _ENOUGH * max(loss, 1.0):
            break
    return at


def _solved(times: Callable[[Doubles], Doubles], right: Doubles) -> Doubles:
    """X with times(x) = right, by conjugate gradients; `times` is symmetric and positive."""
    solution, rest = np.zeros_like(right), right
    direction, before = right, float(np.sum(right * right))
    goal = before * _EXACT
    for _ in range(_CG_STEPS):
        if before <= goal:
            break
        image = times(direction)
        length = before / float(np.sum(direction * image))
        solution, rest = solution + length * direction, rest - length * image
        now = float(np.sum(rest * rest))
        direction, before = rest + now / before * direction, now
    return solution
