"""The TFLite runtimes: which is installed, its interpreters, and the real values of their tensors.

The bytes of a model flow in, an interpreter flows out. `ai-edge-litert` is taken where it is
installed, else `tflite-runtime`; neither is imported with this module. An interpreter is not
thread-safe: whoever opens one uses it from one thread only.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from bin_daemon.core.errors import ModelError
from bin_daemon.core.messages import Array

log = logging.getLogger(__name__)

Runtime = Literal["auto", "ai-edge-litert", "tflite-runtime"]
RUNTIMES: dict[Runtime, str] = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}

# tensorflow/lite/delegates/xnnpack/xnnpack_delegate.h: TFLITE_XNNPACK_DELEGATE_FLAG_QS8 | _QU8.
_XNNPACK_INT8 = 1 | 2


def installed_runtimes() -> list[Runtime]:
    """The runtimes that can be imported here, the preferred one first; imports none of them."""
    return [name for name in RUNTIMES if importlib.util.find_spec(RUNTIMES[name].split(".")[0])]


def load_runtime(runtime: Runtime) -> tuple[str, ModuleType]:
    """Name and module of the first allowed runtime that is installed; ModelError where none is."""
    wanted: list[Runtime] = list(RUNTIMES) if runtime == "auto" else [runtime]
    reasons = []
    for name in wanted:
        try:
            return name, importlib.import_module(RUNTIMES[name])
        except ImportError as error:
            reasons.append(f"{name}: {error}")
    raise ModelError(f"no TFLite runtime ({'; '.join(reasons)}); pip install {wanted[0]}")


def open_interpreter(module: ModuleType, content: bytes, name: str, **options: Any) -> Any:
    """An interpreter of a runtime for the TFLite file `content`, with its tensors allocated.

    name: of the model, in messages. options: of the runtime's `Interpreter`. Raises ModelError
    where the runtime refuses the model.
    """
    try:
        interpreter = module.Interpreter(model_content=content, **options)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{name}: the runtime refuses the model: {error}") from error
    return interpreter


def open_accelerated(
    module: ModuleType, runtime: str, content: bytes, name: str, threads: int
) -> tuple[Any, str]:
    """The fastest interpreter that a runtime has, and words on how it is accelerated.

    Raises as `open_interpreter`.
    """
    if runtime == "ai-edge-litert":
        return open_interpreter(module, content, name, num_threads=threads), "XNNPACK int8"
    try:
        delegates = [_XnnpackDelegate(Path(module.__file__ or "").parent, threads)]
        interpreter = open_interpreter(
            module, content, name, num_threads=threads, experimental_delegates=delegates
        )
    except (OSError, AttributeError, ModelError, RuntimeError) as error:
        log.warning("tflite-runtime without its XNNPACK delegate, ten times slower: %s", error)
        return open_interpreter(module, content, name, num_threads=threads), "plain"
    return interpreter, "XNNPACK int8 delegate"


def open_readable(module: ModuleType, content: bytes, name: str) -> Any:
    """An interpreter whose every tensor can be read, constants and what passes between layers.

    Raises as `open_interpreter`, and AttributeError where the runtime has no such option.
    """
    return open_interpreter(
        module,
        content,
        name,
        experimental_preserve_all_tensors=True,
        # An accelerator keeps the constants and the values of the layers it takes over to itself.
        experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )


def tensor_values(interpreter: Any, detail: Mapping[str, Any]) -> Array:
    """The real values now in a tensor, float32 of its shape, copied out of the interpreter.

    real = scale * (q - zero_point), by channel where there are several scales (TFLite quantisation
    spec). detail: the interpreter's description of the tensor. Raises ValueError for a tensor that
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
        pool = threads if threads > 1 else 0
        self._pointer = create(ctypes.byref(_XnnpackOptions(pool, _XNNPACK_INT8)))
        if not self._pointer:
            raise OSError("TfLiteXNNPackDelegateCreate gave no delegate")

    def _get_native_delegate_pointer(self) -> int:
        return int(self._pointer)

    def __del__(self) -> None:
        if getattr(self, "_pointer", None):
            self._delete(self._pointer)
            self._pointer = None
