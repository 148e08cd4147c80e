"""One network in one interpreter: a crop flows in, a `Prediction` flows out.

The interpreter is not thread-safe, so whoever builds a `Classifier` uses it from one thread only.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bin_daemon.core.errors import ModelError
from bin_daemon.core.images import prepare
from bin_daemon.core.messages import Image, Prediction, Vector
from bin_daemon.core.softmax import softmax
from bin_daemon.model.calibration import Floats
from bin_daemon.model.package import GOLDEN, MODEL, Package
from bin_daemon.model.runtime import Runtime, load_runtime, open_accelerated, tensor_values

if TYPE_CHECKING:
    from bin_daemon.model.head import Head

_NO_VECTOR: Vector = np.zeros(0, np.float32)
GOLDEN_LIKENESS = 0.98
"""Least correlation of an embedding with that of the workshop; two runtimes reach 0.99."""


class Classifier:
    """A model package, ready to look.

    head: one that was taught for this network; it then says the class instead of the shipped one.
    Raises ModelError where the package is damaged, or the runtime is missing or refuses it.
    """

    def __init__(
        self,
        package: Package,
        runtime: Runtime = "auto",
        threads: int = 1,
        head: Head | None = None,
    ) -> None:
        self.package, self.head = package, head
        self._name, module = load_runtime(runtime)
        self._interpreter, self._accelerated = open_accelerated(
            module, self._name, package.verified(MODEL), str(package.folder), threads
        )
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._logits, self._embedding = self._outputs()

    @property
    def runtime(self) -> str:
        """The runtime in use: name, version ("unknown" where it is not recorded), acceleration."""
        # It costs more than the classifier itself, and is paid where it is asked for.
        from importlib.metadata import PackageNotFoundError, version

        number = "unknown"
        with contextlib.suppress(PackageNotFoundError):
            number = version(self._name)
        return f"{self._name} {number} ({self._accelerated})"

    @property
    def id(self) -> str:
        """The package, and the day on which it was taught, if it was, as events quote it."""
        return self.package.id if self.head is None else self.head.id

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that it can say, in the order of a prediction's probabilities."""
        return self.package.labels if self.head is None else self.head.labels

    @property
    def thresholds(self) -> Mapping[str, float]:
        """By label, the probability from which it may be trusted."""
        return self.package.thresholds if self.head is None else self.head.thresholds

    def classify(self, image: Image) -> Prediction:
        """Look at one picture.

        image: uint8 (h, w, 3) RGB. Raises PictureError for anything else.
        """
        spec = self.package.manifest.input
        started = time.perf_counter()
        pixels = prepare(image, spec.width, spec.height)
        self._interpreter.set_tensor(self._input, pixels[np.newaxis])
        prepared = time.perf_counter()
        self._interpreter.invoke()
        invoked = time.perf_counter()
        embedding = _NO_VECTOR if self._embedding is None else self._read(self._embedding)
        if self.head is None:
            likely = softmax(self._read(self._logits), self.package.manifest.temperature)
        else:
            likely = softmax(self.head.logits(embedding), self.head.temperature)
        timings = {
            "prepare": (prepared - started) * 1e3,
            "invoke": (invoked - prepared) * 1e3,
            "finish": (time.perf_counter() - invoked) * 1e3,
        }
        return Prediction(self.labels, likely.astype(np.float32), embedding, timings)

    def invoke(self) -> None:
        """Run the network on what its input holds, and nothing else; for measuring."""
        self._interpreter.invoke()

    def check_golden(self) -> None:
        """Run the package's golden inputs and compare with what they should give.

        Raises ModelError where this machine computes something else than the workshop did.
        """
        with np.load(io.BytesIO(self.package.verified(GOLDEN))) as golden:
            inputs, expected = golden["inputs"], golden["logits"]
            embeddings = golden.get("embedding")
            tolerance = float(golden["tolerance"])
        for i, (pixels, logits) in enumerate(zip(inputs, expected, strict=True)):
            self._interpreter.set_tensor(self._input, pixels[np.newaxis])
            self._interpreter.invoke()
            found = self._read(self._logits)
            worst = float(np.max(np.abs(found - logits)))
            if worst > tolerance:
                raise ModelError(
                    f"{self.package.id}: golden input {i} gives logits {worst:.2f} away from the "
                    f"expected (at most {tolerance:.2f}) on {self.runtime}; this runtime does not "
                    f"compute this model"
                )
            if self._embedding is None or embeddings is None:
                continue
            # The few scores of a model with two classes would hardly notice swapped colours.
            alike = float(np.corrcoef(self._read(self._embedding), embeddings[i].ravel())[0, 1])
            if alike < GOLDEN_LIKENESS:
                raise ModelError(
                    f"{self.package.id}: golden input {i} gives an embedding that correlates by "
                    f"{alike:.3f} with the expected (at least {GOLDEN_LIKENESS}) on "
                    f"{self.runtime}; this runtime does not compute this model"
                )

    def shipped_head(self) -> tuple[Floats, Floats]:
        """Kernel float32 (d, k) and bias (k,) that the network itself applies to its embedding.

        They are read out of its last layer, a convolution of 1 x 1 or a dense one, and proved on
        the golden inputs. Raises ModelError where the scores of the network are not a linear
        function of its embedding.
        """
        package = self.package
        if self._embedding is None:
            raise ModelError(f"{package.id}: cannot be taught: its network gives no embedding")
        with np.load(io.BytesIO(package.verified(GOLDEN))) as golden:
            embedding, logits = golden["embedding"], golden["logits"]
            tolerance = float(golden["tolerance"])
        count, length = logits.shape[1], embedding.shape[1]
        dense, convolution = (count, length), (count, 1, 1, length)
        kernels = [k.reshape(count, length).T for k in self._constants(dense, convolution)]
        biases = [*self._constants((count,)), np.zeros(count, np.float32)]
        for kernel, bias in itertools.product(kernels, biases):
            if np.abs(embedding @ kernel + bias - logits).max() <= tolerance:
                return kernel, bias
        raise ModelError(
            f"{package.id}: cannot be taught: its class scores are no linear function of its "
            f"embedding; package a network whose last layer works on its embedding output"
        )

    def _constants(self, *shapes: tuple[int, ...]) -> Iterator[Floats]:
        """The real values of all tensors of these shapes that the network holds."""
        outputs = {detail["index"] for detail in self._interpreter.get_output_details()}
        for detail in self._interpreter.get_tensor_details():
            if tuple(detail["shape"]) in shapes and detail["index"] not in outputs:
                # One that exists only while the network runs has no values.
                with contextlib.suppress(ValueError):
                    yield tensor_values(self._interpreter, detail)

    def _read(self, output: Mapping[str, Any]) -> Vector:
        """The real values of an output as one row, float32 (n,)."""
        return tensor_values(self._interpreter, output).ravel()

    def _outputs(self) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
        """Logits and embedding, if there is one, checked against the manifest and the labels."""
        spec, folder = self.package.manifest, self.package.folder
        details = self._interpreter.get_input_details()[0]
        shape = (1, spec.input.height, spec.input.width, 3)
        if tuple(details["shape"]) != shape or details["dtype"] is not np.uint8:
            raise ModelError(
                f"{folder / MODEL}: takes {details['dtype'].__name__} {tuple(details['shape'])}, "
                f"the manifest says uint8 {shape}"
            )
        outputs = self._interpreter.get_output_details()
        logits, embedding = spec.outputs.logits, spec.outputs.embedding
        for part, position in (("logits", logits), ("embedding", embedding)):
            if position is not None and position >= len(outputs):
                raise ModelError(f"{folder / MODEL}: has no output {position} for the {part}")
        count = int(np.prod(outputs[logits]["shape"]))
        if count != len(self.package.labels):
            raise ModelError(
                f"{folder / MODEL}: gives {count} class scores, "
                f"the package has {len(self.package.labels)} labels"
            )
        return outputs[logits], None if embedding is None else outputs[embedding]
