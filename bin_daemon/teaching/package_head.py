"""The head that a package ships, read out of its network, for teaching to start from.

A classifier flows in, kernel and bias flow out, proved on the package's golden inputs. Nothing is
run, and nothing is approximated except by the quantisation of the network.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator

import numpy as np

from bin_daemon.core.errors import ModelError
from bin_daemon.model.calibration import Floats
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.package import GOLDEN
from bin_daemon.model.runtime import tensor_values
from bin_daemon.teaching.solver import Linear


def shipped_head(classifier: Classifier) -> Linear:
    """Kernel float32 (d, k) and bias (k,) that the network applies to its embedding.

    The last layer is a convolution of 1 x 1 or a dense one. Raises ModelError where the scores of
    the network are not a linear function of its embedding.
    """
    package = classifier.package
    if package.manifest.outputs.embedding is None:
        raise ModelError(f"{package.id}: cannot be taught: its network gives no embedding")
    with np.load(io.BytesIO(package.verified(GOLDEN))) as golden:
        embedding, logits = golden["embedding"], golden["logits"]
        tolerance = float(golden["tolerance"])
    count, length = logits.shape[1], embedding.shape[1]
    dense, convolution = (count, length), (count, 1, 1, length)
    kernels = [k.reshape(count, length).T for k in _constants(classifier, dense, convolution)]
    biases = [*_constants(classifier, (count,)), np.zeros(count, np.float32)]
    for kernel, bias in itertools.product(kernels, biases):
        if np.abs(embedding @ kernel + bias - logits).max() <= tolerance:
            return kernel, bias
    raise ModelError(
        f"{package.id}: cannot be taught: its class scores are no linear function of its "
        f"embedding; package a network whose last layer works on its embedding output"
    )


def _constants(classifier: Classifier, *shapes: tuple[int, ...]) -> Iterator[Floats]:
    """The real values of all tensors of these shapes that the network holds."""
    interpreter = classifier.interpreter
    outputs = {detail["index"] for detail in interpreter.get_output_details()}
    for detail in interpreter.get_tensor_details():
        if tuple(detail["shape"]) not in shapes or detail["index"] in outputs:
            continue
        try:
            found = tensor_values(interpreter, detail)
        except ValueError:  # a tensor that exists only while the network runs
            continue
        yield found
