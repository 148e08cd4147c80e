"""Runtimes as the workshop opens them."""

import sys
from types import ModuleType

import pytest

from bin_daemon.model.package import MODEL, open_package
from export.errors import ExportError
from export.evaluation.runtimes import RUNTIMES, TfliteFile


def test_the_old_runtime_is_not_opened_beside_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    content = (open_package("waste6").folder / MODEL).read_bytes()
    monkeypatch.setitem(sys.modules, "tensorflow", ModuleType("tensorflow"))

    assert TfliteFile(content, "ai-edge-litert").side == 224
    with pytest.raises(ExportError, match="another process"):
        TfliteFile(content, "tflite-runtime")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_is_no_model_is_refused_with_the_runtimes_own_words(runtime: str) -> None:
    with pytest.raises(ExportError, match=f"{runtime}: .* refuses the model: ."):
        TfliteFile(b"no model", runtime)
