"""The one softmax: scores flow in, probabilities flow out, for networks and for decisions alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def softmax(
    logits: npt.NDArray[np.floating[Any]], temperature: float = 1.0
) -> npt.NDArray[np.float64]:
    """Probabilities of logits over a temperature (Guo et al. 2017), float64 of their shape.

    logits: (classes,) or (n, classes).
    """
    scaled = logits.astype(np.float64) / temperature
    exponents = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))
