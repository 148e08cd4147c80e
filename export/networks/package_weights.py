"""The weights of a package on the folded MobileNetV2, for a training to start from.

A package flows in; its kernels and biases flow out as real numbers, read from the int8 file and
proved on the package's own golden inputs. Nothing is trained here, and the package is not changed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bin_daemon.core.messages import Array
from bin_daemon.model.package import GOLDEN, MODEL, Package, open_package
from bin_daemon.model.runtime import load_runtime, open_readable, tensor_values
from export.errors import ExportError
from export.networks.mobilenet import EMBEDDING, HEAD, Weights, layer_names, predict

TOLERANCE_STEPS = 16.0
"""Of a logit, in quantisation steps: the float network rounds no activation, the int8 file rounds
those of 53 layers. The first `waste6` differs by 3.4 at most."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """A package as a start, and the float weights of its network."""

    package: Package
    weights: Weights

    def for_labels(self, labels: Sequence[str]) -> Weights:
        """The weights with a head for `labels`: a known class keeps its row, a new one has zeros.

        What all classes share changes no probability, so known rows lose their mean: a new class
        then begins as likely as the average known one.
        """
        kernel, bias = self.weights[f"{HEAD}/kernel"], self.weights[f"{HEAD}/bias"]
        kernel = np.pad(kernel - kernel.mean(axis=1, keepdims=True), ((0, 0), (0, 1)))
        bias = np.pad(bias - bias.mean(), (0, 1))
        known = self.package.labels
        rows = [known.index(label) if label in known else -1 for label in labels]
        return {
            **self.weights,
            f"{HEAD}/kernel": kernel.take(rows, axis=1),
            f"{HEAD}/bias": bias[rows],
        }


def read_shipped(folder: Path) -> Shipped:
    """Read a package, and check its float network against its int8 file, on TensorFlow.

    Raises ExportError where its network is not the folded MobileNetV2 1.0/224, or does not give the
    scores of its golden inputs; ModelError where it is no package, or is damaged.
    """
    package = open_package(folder)
    weights = dequantised(package)
    worst = steps_apart(package, weights)
    if worst > TOLERANCE_STEPS:
        raise ExportError(
            f"{package.id}: its float weights give scores {worst:.0f} steps from those of its "
            f"int8 file; start from another package"
        )
    return Shipped(package, weights)


def steps_apart(package: Package, weights: Weights) -> float:
    """Largest difference of a logit on the golden inputs, in quantisation steps: float to int8."""
    with np.load(io.BytesIO(package.verified(GOLDEN))) as golden:
        inputs, expected, step = golden["inputs"], golden["logits"], float(golden["logit_step"])
    return float(np.abs(predict(weights, inputs)[0] - expected).max() / step)


def dequantised(package: Package) -> Weights:
    """Kernels (HWIO, depthwise HWC1, head (1280, classes)) and biases, float32.

    Raises ExportError where the network is another one.
    """
    _, runtime = load_runtime("ai-edge-litert")
    interpreter = open_readable(runtime, package.verified(MODEL), package.id)
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}

    def real(tensor: int) -> Array:
        return tensor_values(interpreter, details[tensor])

    # There is no public way to the graph; operators stand in the order in which they run.
    steps = [op for op in interpreter._get_ops_details() if "CONV_2D" in op["op_name"]]
    names = [*layer_names(), HEAD]
    kinds = ["depthwise" in name for name in names]
    if [op["op_name"].startswith("DEPTHWISE") for op in steps] != kinds:
        raise ExportError(
            f"{package.id}: has other layers than the folded MobileNetV2 1.0/224; start from a "
            f"package of a recipe with network kind 'folded'"
        )
    weights: Weights = {}
    for name, op in zip(names, steps, strict=True):
        _, kernel, bias = op["inputs"]
        # TFLite has OHWI, and 1HWC for depthwise convolutions.
        weights[f"{name}/kernel"] = np.ascontiguousarray(real(kernel).transpose(1, 2, 3, 0))
        weights[f"{name}/bias"] = real(bias)
    classes = len(package.labels)
    weights[f"{HEAD}/kernel"] = weights[f"{HEAD}/kernel"].reshape(EMBEDDING, classes)
    return weights
