"""Run a TFLite file on the runtimes that bins have, from a folder or from memory.

`ai-edge-litert` uses its int8 XNNPACK kernels, `tflite-runtime` the plain built-in ones: two
implementations of the same integer arithmetic, so agreement between them is worth something.
"""

from __future__ import annotations

import functools
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from bin_daemon.core.errors import ModelError
from bin_daemon.core.messages import Array
from bin_daemon.model.runtime import Runtime, load_runtime, open_interpreter, tensor_values
from export.errors import ExportError

RUNTIMES: tuple[Runtime, ...] = ("ai-edge-litert", "tflite-runtime")


@dataclass(frozen=True, slots=True)
class ModelOutputs:
    """What a model gave for n pictures, dequantised."""

    logits: Array  # float32 (n, classes)
    embedding: Array  # float32 (n, d); d is 0 where the model gives none
    invoke_ms: Array  # float64 (n,), time in the network alone


class TfliteFile:
    """One interpreter with one model in it; not to be shared between threads."""

    def __init__(self, content: bytes, runtime: Runtime, threads: int = 1) -> None:
        """Load the content of a TFLite file.

        Raises ExportError where the runtime is not installed, refuses the model, or finds other
        outputs than class scores and perhaps an embedding; or where it is `tflite-runtime` and
        TensorFlow is loaded, whose symbols it takes for its own.
        """
        if runtime == "tflite-runtime" and "tensorflow" in sys.modules:
            raise ExportError("tflite-runtime breaks beside TensorFlow: run it in another process")
        try:
            name, module = load_runtime(runtime)
            self._interpreter = open_interpreter(module, content, name, num_threads=threads)
        except ModelError as error:
            raise ExportError(str(error)) from error
        entry = self._interpreter.get_input_details()[0]
        self._input = entry["index"]
        self.side = int(entry["shape"][1])
        self._details = self._interpreter.get_output_details()
        self.positions = self._find_outputs()

    def _find_outputs(self) -> dict[str, int]:
        """Positions of the outputs in `get_output_details()`: the scores are the smaller one."""
        sizes = [int(np.prod(detail["shape"])) for detail in self._details]
        if len(sizes) > 2 or len(set(sizes)) < len(sizes):
            raise ExportError(f"expected class scores and an embedding, found {sizes} values")
        logits = sizes.index(min(sizes))
        return {"logits": logits, **({"embedding": 1 - logits} if len(sizes) == 2 else {})}

    def step(self, output: str) -> float:
        """The size of one quantisation step of an output, in its own units."""
        return float(self._details[self.positions[output]]["quantization"][0])

    def _read(self, output: str) -> Array:
        if output not in self.positions:
            return np.empty(0, np.float32)
        return tensor_values(self._interpreter, self._details[self.positions[output]]).ravel()

    def run(self, squares: Array) -> ModelOutputs:
        """Run pictures, uint8 (n, s, s, 3) RGB of the model's own size, one by one."""
        logits, embedding, times = [], [], []
        for square in squares:
            self._interpreter.set_tensor(self._input, square[np.newaxis])
            began = time.perf_counter()
            self._interpreter.invoke()
            times.append((time.perf_counter() - began) * 1e3)
            logits.append(self._read("logits"))
            embedding.append(self._read("embedding"))
        return ModelOutputs(np.stack(logits), np.stack(embedding), np.array(times))


def run_apart(content: bytes, runtime: Runtime, values: Array) -> ModelOutputs:
    """What a runtime gives for inputs as the file takes them.

    In a process of its own: TensorFlow and the runtimes disturb each other's operators in one.

    Raises ExportError where the runtime refuses the file.
    """
    return _other_process().submit(_run_model, content, runtime, values).result()


@functools.cache
def _other_process() -> ProcessPoolExecutor:
    """The one process without TensorFlow; it ends with this one."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def _run_model(content: bytes, runtime: Runtime, values: Array) -> ModelOutputs:
    return TfliteFile(content, runtime).run(values)
