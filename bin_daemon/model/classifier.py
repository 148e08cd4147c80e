"""One network in one interpreter: a crop flows in, a `Prediction` flows out.

The interpreter is not thread-safe, so whoever builds a `Classifier` uses it from one thread only.
Runtimes: `ai-edge-litert` where it is installed, else `tflite-runtime`. Their imports happen when a
classifier is built, never with this module.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import io
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bin_daemon.core.errors import ModelError, PictureError
from bin_daemon.core.messages import Image, Prediction, Vector
from bin_daemon.model.package import GOLDEN, MODEL, Package

if TYPE_CHECKING:
    import numpy.typing as npt

    from bin_daemon.model.head import Head

log = logging.getLogger(__name__)

Runtime = Literal["auto", "ai-edge-litert", "tflite-runtime"]
RUNTIMES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}

# tensorflow/lite/delegates/xnnpack/xnnpack_delegate.h: TFLITE_XNNPACK_DELEGATE_FLAG_QS8, _QU8.
_XNNPACK_SIGNED, _XNNPACK_UNSIGNED = 1, 2

_NO_VECTOR: Vector = np.zeros(0, np.float32)
GOLDEN_LIKENESS = 0.98
"""Least correlation of an embedding with that of the workshop; two runtimes reach 0.99."""


def installed_runtimes() -> list[Runtime]:
    """The runtimes that can be imported here, the preferred one first; imports none of them."""
    names: list[Runtime] = ["ai-edge-litert", "tflite-runtime"]
    return [name for name in names if importlib.util.find_spec(RUNTIMES[name].split(".")[0])]


def prepare(image: Image, width: int, height: int) -> Image:
    """Bring a picture to the network's input size; training and running share this function.

    image: uint8 (h, w, 3) RGB of any size; one that is not of the input's shape is stretched to it,
    so nothing of it is lost. Returns uint8 (height, width, 3), contiguous.
    Halved by averaging while it is twice as large or more, then bilinear: as free of aliases as
    averaging over areas would be, at a fraction of its time.
    """
    import cv2

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise PictureError(
            f"a picture must be uint8 of shape (height, width, 3), not {image.dtype} {image.shape}"
        )
    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = cv2.resize(image, half, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    fitted = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return fitted.astype(np.uint8, copy=False)


def softmax(logits: Vector, temperature: float = 1.0) -> Vector:
    """Probabilities float32 (n,) of `logits` (n,) divided by `temperature` (Guo et al. 2017)."""
    scaled = logits.astype(np.float64) / temperature
    exponent = np.exp(scaled - scaled.max())
    probabilities: Vector = (exponent / exponent.sum()).astype(np.float32)
    return probabilities


def tensor_values(interpreter: Any, detail: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    """The real values now in a tensor, float32 of its shape, copied out of the interpreter.

    real = scale * (q - zero_point), by channel where there are several scales (TFLite quantisation
    spec). detail: as the interpreter tells of the tensor. Raises ValueError for a tensor that
    exists only while the network runs.
    """
    raw, how = interpreter.get_tensor(detail["index"]), detail["quantization_parameters"]
    scales, zeros = how["scales"], how["zero_points"]
    if not len(scales):  # a float tensor carries no quantisation
        return np.asarray(raw, np.float32)
    shape = [1] * raw.ndim
    if len(scales) > 1:
        shape[how["quantized_dimension"]] = -1
    real = (raw.astype(np.float64) - zeros.reshape(shape)) * scales.reshape(shape)
    return np.asarray(real, np.float32)


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
        name, module = load_runtime(runtime)
        self._interpreter, accelerated = _interpreter(
            module, name, package.verified(MODEL), threads, str(package.folder)
        )
        self._name, self._accelerated = name, accelerated
        self.threads = threads
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._logits, self._embedding = self._outputs()

    @property
    def runtime(self) -> str:
        """The runtime in use: name, version, acceleration."""
        return f"{self._name} {_version(self._name)} ({self._accelerated})"

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

    @property
    def interpreter(self) -> Any:
        """The TFLite interpreter, for whoever reads constants out of the network."""
        return self._interpreter

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
        embedding = _NO_VECTOR
        if self._embedding is not None:
            embedding = self._read(self._embedding)
        if self.head is None:
            logits = self._read(self._logits)
            probabilities = softmax(logits, self.package.manifest.temperature)
        else:
            probabilities = softmax(self.head.logits(embedding), self.head.temperature)
        finished = time.perf_counter()
        timings = {
            "prepare": (prepared - started) * 1e3,
            "invoke": (invoked - prepared) * 1e3,
            "finish": (finished - invoked) * 1e3,
        }
        return Prediction(self.labels, probabilities, embedding, timings)

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
        found = []
        for part, position in (
            ("logits", spec.outputs.logits),
            ("embedding", spec.outputs.embedding),
        ):
            if position is None:
                continue
            if position >= len(outputs):
                raise ModelError(f"{folder / MODEL}: has no output {position} for the {part}")
            found.append(outputs[position])
        count = int(np.prod(outputs[spec.outputs.logits]["shape"]))
        if count != len(self.package.labels):
            raise ModelError(
                f"{folder / MODEL}: gives {count} class scores, "
                f"the package has {len(self.package.labels)} labels"
            )
        return found[0], found[1] if len(found) > 1 else None


def load_runtime(runtime: Runtime) -> tuple[str, ModuleType]:
    """The first runtime that is installed, of those allowed."""
    wanted = list(RUNTIMES) if runtime == "auto" else [runtime]
    reasons = []
    for name in wanted:
        try:
            return name, importlib.import_module(RUNTIMES[name])
        except ImportError as error:
            reasons.append(f"{name}: {error}")
    raise ModelError(f"no TFLite runtime ({'; '.join(reasons)}); pip install {wanted[0]}")


def _version(name: str) -> str:
    # importlib.metadata costs more than the classifier itself; it is paid where it is asked for.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _interpreter(
    module: ModuleType, name: str, content: bytes, threads: int, where: str
) -> tuple[Any, str]:
    """An interpreter with its tensors allocated, and words on how it is accelerated."""
    if name == "ai-edge-litert":
        return _build(module, content, threads, where, []), "XNNPACK int8"
    try:
        delegates = [_XnnpackDelegate(Path(module.__file__ or "").parent, threads)]
        return _build(module, content, threads, where, delegates), "XNNPACK int8 delegate"
    except (OSError, AttributeError, ModelError, RuntimeError) as error:
        log.warning("tflite-runtime without its XNNPACK delegate, ten times slower: %s", error)
        return _build(module, content, threads, where, []), "plain"


def _build(
    module: ModuleType, content: bytes, threads: int, where: str, delegates: list[Any]
) -> Any:
    try:
        interpreter = module.Interpreter(
            model_content=content, num_threads=threads, experimental_delegates=delegates or None
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{where}: the runtime refuses the model: {error}") from error
    return interpreter


class _XnnpackOptions(ctypes.Structure):
    """The head of `TfLiteXNNPackDelegateOptions`; the rest is given as zeros.

    Layout of TFLite 2.14: int32 num_threads (0: no pool of its own), uint32 flags, then pointers.
    """

    _fields_ = (
        ("num_threads", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
        ("rest", ctypes.c_uint8 * 120),
    )


class _XnnpackDelegate:
    """XNNPACK with its int8 kernels, which tflite-runtime builds but leaves off.

    Has the one private method that the interpreter asks of a delegate. The interpreter keeps a
    reference, so the native delegate outlives every invoke.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        libraries = sorted(folder.glob("_pywrap_tensorflow_interpreter_wrapper*.so"))
        if not libraries:
            raise OSError(f"no native library in {folder}")
        self._library = ctypes.CDLL(os.fspath(libraries[0]))
        create = self._library.TfLiteXNNPackDelegateCreate
        create.restype = ctypes.c_void_p
        create.argtypes = [ctypes.POINTER(_XnnpackOptions)]
        self._delete = self._library.TfLiteXNNPackDelegateDelete
        self._delete.argtypes = [ctypes.c_void_p]
        options = _XnnpackOptions(
            threads if threads > 1 else 0, _XNNPACK_SIGNED | _XNNPACK_UNSIGNED
        )
        self._pointer = create(ctypes.byref(options))
        if not self._pointer:
            raise OSError("TfLiteXNNPackDelegateCreate gave no delegate")

    def _get_native_delegate_pointer(self) -> int:
        return int(self._pointer)

    def __del__(self) -> None:
        if getattr(self, "_pointer", None):
            self._delete(self._pointer)
            self._pointer = None
