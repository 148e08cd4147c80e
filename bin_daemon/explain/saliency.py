"""Class-activation maps: which places of a crop speak for a class, and how much.

A crop flows in, the evidence of each place for each class flows out, exact up to the quantisation
of the network: it is read from the tensors of the model file as it runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from bin_daemon.core.errors import ModelError
from bin_daemon.core.images import prepare
from bin_daemon.core.messages import Image
from bin_daemon.model.calibration import Floats
from bin_daemon.model.package import MODEL, Package
from bin_daemon.model.runtime import Runtime, load_runtime, open_readable, tensor_values

if TYPE_CHECKING:
    from bin_daemon.model.head import Head

# What changes neither the values nor their order.
_SAME_VALUES = ("RESHAPE", "SQUEEZE", "QUANTIZE", "DEQUANTIZE")
_POOLS = ("MEAN", "AVERAGE_POOL_2D")
_LINEAR = ("CONV_2D", "FULLY_CONNECTED")


@dataclasses.dataclass(frozen=True, slots=True)
class _Operator:
    """One operator of the model: its name, and the tensors that it reads; -1 is one left out."""

    name: str
    inputs: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class ClassMaps:
    """The evidence of each place of one crop.

    labels: k classes. maps: float32 (h, w, k), the logit that the head would give if the whole crop
    looked like this place does.
    """

    labels: tuple[str, ...]
    maps: Floats

    @property
    def logits(self) -> Floats:
        """What the network says of the crop before softmax, float32 (k,): the mean of `maps`."""
        return np.asarray(self.maps.mean(axis=(0, 1)), np.float32)

    def evidence(self, label: str) -> Floats:
        """For `label` and against the mean of the classes, float32 (h, w); 0 decides nothing.

        What all classes share at a place changes no probability (softmax), so it is left out.
        """
        chosen = self.maps[..., self.labels.index(label)]
        return np.asarray(chosen - self.maps.mean(axis=-1), np.float32)


class Saliency:
    """A model package whose last feature map can be read.

    Class-activation maps after Zhou et al. 2016, "Learning Deep Features for Discriminative
    Localization": the head is linear in the mean of the last feature map, so the head applied to
    each place gives that place's share of the logit. Hidden layers between the two, where there
    are some, are taken linear around what they saw (Selvaraju et al. 2017, Grad-CAM); with ReLU
    that is exact too. head: one that was taught takes the place of the package's own. Not
    thread-safe. Raises ModelError for a network that is built otherwise.
    """

    def __init__(
        self, package: Package, runtime: Runtime = "auto", head: Head | None = None
    ) -> None:
        self._package, self._taught = package, head
        module = load_runtime(runtime)[1]
        try:
            self._interpreter = open_readable(module, package.verified(MODEL), package.id)
            self._made_by = dict(_operators(self._interpreter))
        except (ModelError, AttributeError) as error:
            raise ModelError(
                f"{package.id}: this runtime does not show what happens inside: {error}; "
                f"leave --why out, or use another --runtime"
            ) from error
        if package.manifest.outputs.embedding is None:
            raise ModelError(f"{package.id}: gives no embedding to explain; leave --why out")
        self._tensors = {t["index"]: t for t in self._interpreter.get_tensor_details()}
        outputs = self._interpreter.get_output_details()
        self._embedding = self._plain_source(outputs[package.manifest.outputs.embedding]["index"])
        self._map = self._find_map()
        logits = outputs[package.manifest.outputs.logits]["index"]
        self._layers = [] if head else self._find_head(logits)

    def look(self, image: Image) -> ClassMaps:
        """The maps of one crop, uint8 (h, w, 3) RGB as `Classifier.classify` takes it.

        They cover all of it, evenly.
        """
        features = self.features(image)
        if (head := self._taught) is None:
            kernel, bias = self._head()
            return ClassMaps(self._package.labels, features @ kernel + bias)
        # A taught head sees the embedding at length 1.
        length = max(float(np.linalg.norm(features.mean(axis=(0, 1)))), 1e-12)
        return ClassMaps(head.labels, features / np.float32(length) @ head.kernel + head.bias)

    def features(self, image: Image) -> Floats:
        """The last feature map, float32 (h, w, d); its mean over h and w is the embedding."""
        spec = self._package.manifest.input
        pixels = prepare(image, spec.width, spec.height)
        (pictures,) = self._interpreter.get_input_details()
        self._interpreter.set_tensor(pictures["index"], pixels[np.newaxis])
        self._interpreter.invoke()
        features: Floats = self._real(self._map)[0]
        return features

    def _find_map(self) -> int:
        """The tensor that is averaged into the embedding."""
        made = self._made_by.get(self._embedding)
        if made is not None and made.name in _POOLS:
            shape = self._tensors[made.inputs[0]]["shape"]
            length = np.prod(self._tensors[self._embedding]["shape"])
            if len(shape) == 4 and shape[0] == 1 and shape[3] == length:
                return made.inputs[0]
        raise _unexplained(self._package, "its embedding is not the mean of a feature map")

    def _find_head(self, logits: int) -> list[tuple[_Operator, int]]:
        """The linear layers from the embedding to the logits, in order, with their outputs."""
        layers: list[tuple[_Operator, int]] = []
        at = self._plain_source(logits)
        while at != self._embedding:
            made = self._made_by.get(at)
            # A linear layer reads each number of its input once: no window slides over places.
            if (
                made is None
                or made.name not in _LINEAR
                or np.any(self._tensors[made.inputs[1]]["shape"][1:-1] != 1)
            ):
                what = made.name if made else "nothing"
                why = f"its head is more than linear layers on the embedding ({what} is in between)"
                raise _unexplained(self._package, why)
            layers.insert(0, (made, at))
            at = self._plain_source(made.inputs[0])
        return layers

    def _plain_source(self, tensor: int) -> int:
        """Where the values of `tensor` come from, past what leaves them as they are."""
        while (made := self._made_by.get(tensor)) is not None and made.name in _SAME_VALUES:
            tensor = made.inputs[0]
        return tensor

    def _head(self) -> tuple[Floats, Floats]:
        """The head as one linear map (d, k) and its bias (k,), around what it saw last.

        The runtime does not say which activation is fused to a layer, but what came out of it.
        """
        given = self._real(self._embedding).ravel()
        kernel, bias = np.eye(len(given), dtype=np.float32), np.zeros_like(given)
        for layer, output in self._layers:
            weights = self._real(layer.inputs[1])
            weights = weights.reshape(len(weights), -1).T
            has_bias = len(layer.inputs) > 2 and layer.inputs[2] >= 0
            offset = self._real(layer.inputs[2]) if has_bias else np.zeros(1, np.float32)
            kernel, bias = kernel @ weights, bias @ weights + offset
            if output != self._layers[-1][1]:
                total, given = given @ weights + offset, self._real(output).ravel()
                # A unit that gives something else than its sum is off, or at its ceiling.
                passes = np.abs(given - total) <= self._step(output)
                kernel, bias = kernel * passes, np.where(passes, bias, given)
        return kernel, bias

    def _step(self, tensor: int) -> float:
        """What the values of a tensor may be off by: a quantisation step, or float rounding."""
        scales = self._tensors[tensor]["quantization_parameters"]["scales"]
        return float(scales.max()) if len(scales) else 1e-3

    def _real(self, tensor: int) -> Floats:
        return tensor_values(self._interpreter, self._tensors[tensor])


def _unexplained(package: Package, why: str) -> ModelError:
    words = "so no place of the picture can be named as the reason; leave --why out"
    return ModelError(f"{package.id}: {why}, {words}")


def _operators(interpreter: Any) -> Iterator[tuple[int, _Operator]]:
    """Every operator by the tensors that it makes.

    The only way to the graph that both runtimes share has no public name.
    """
    for found in interpreter._get_ops_details():
        operator = _Operator(found["op_name"], tuple(int(i) for i in found["inputs"]))
        for output in found["outputs"]:
            yield int(output), operator
