"""The network on both runtimes: same pictures, same words, clear refusals."""

import importlib.util
import io
from dataclasses import asdict

import numpy as np
import pytest
from packages import edit, replace

from bin_daemon.core.errors import ModelError
from bin_daemon.model import runtime as module
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.package import open_package
from bin_daemon.model.runtime import installed_runtimes

RUNTIMES = ["ai-edge-litert", "tflite-runtime"]


def installed(runtime: str) -> bool:
    return importlib.util.find_spec(module.RUNTIMES[runtime].split(".")[0]) is not None


@pytest.fixture(scope="module", params=RUNTIMES)
def classifier(request) -> Classifier:
    if not installed(request.param):
        pytest.skip(f"{request.param} is not installed")
    return Classifier(open_package("waste6"), request.param)


def picture(height: int = 300, width: int = 400, seed: int = 0) -> np.ndarray:
    """Smooth noise: like a photograph, it has structure at many scales."""
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def test_a_picture_becomes_probabilities_and_an_embedding(classifier):
    seen = classifier.classify(picture())
    assert seen.labels == classifier.package.labels
    assert seen.probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    assert seen.embedding.shape == (1280,)
    assert seen.embedding.dtype == np.float32
    assert set(seen.timings_ms) == {"prepare", "invoke", "finish"}


def test_the_golden_inputs_give_what_they_gave_in_the_workshop(classifier):
    classifier.check_golden()


def test_int8_kernels_are_on(classifier):
    assert "XNNPACK" in classifier.runtime


def test_a_prediction_is_not_changed_by_the_next(classifier):
    first = classifier.classify(picture(seed=1))
    kept = first.embedding.copy()
    classifier.classify(picture(seed=2))
    np.testing.assert_array_equal(first.embedding, kept)


@pytest.mark.skipif(not all(map(installed, RUNTIMES)), reason="needs both runtimes")
def test_both_runtimes_agree():
    package = open_package("waste6")
    one, other = (Classifier(package, runtime) for runtime in RUNTIMES)
    for seed in range(8):
        a, b = one.classify(picture(seed=seed)), other.classify(picture(seed=seed))
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=0.12)


def test_without_its_delegate_tflite_runs_plain_and_says_so(monkeypatch):
    if not installed("tflite-runtime"):
        pytest.skip("tflite-runtime is not installed")

    def refuse(*args):
        raise OSError("no such symbol")

    monkeypatch.setattr(module, "_XnnpackDelegate", refuse)
    plain = Classifier(open_package("waste6"), "tflite-runtime")
    assert plain.runtime.endswith("(plain)")
    plain.check_golden()


def test_the_preferred_runtime_comes_first():
    expected = [runtime for runtime in RUNTIMES if installed(runtime)]
    assert installed_runtimes() == expected
    assert Classifier(open_package("waste6")).runtime.startswith(expected[0])


def test_a_missing_runtime_is_reported_with_its_cure(monkeypatch):
    monkeypatch.setitem(module.RUNTIMES, "ai-edge-litert", "no_such_module.interpreter")
    with pytest.raises(ModelError, match="pip install ai-edge-litert"):
        Classifier(open_package("waste6"), "ai-edge-litert")


def test_a_file_that_is_no_model_is_refused(package):
    replace(package, "model.tflite", b"not a flatbuffer" * 100)
    with pytest.raises(ModelError, match="refuses the model"):
        Classifier(open_package(package))


def test_a_model_with_other_classes_than_labels_is_refused(package):
    edit(package, thresholds={})
    replace(package, "labels.txt", b"glass\nmetal\n")
    with pytest.raises(ModelError, match="6 class scores, the package has 2 labels"):
        Classifier(open_package(package))


def test_a_model_of_another_input_size_is_refused(package):
    edit(package, input={**asdict(open_package(package).manifest.input), "width": 96})
    with pytest.raises(ModelError, match="the manifest says uint8"):
        Classifier(open_package(package))


def test_an_output_that_is_not_there_is_reported(package):
    edit(package, outputs={"logits": 0, "embedding": 7})
    with pytest.raises(ModelError, match="has no output 7 for the embedding"):
        Classifier(open_package(package))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ({"logits": lambda values: values + 50}, "golden input 0 gives logits"),
        ({"embedding": lambda values: values[::-1]}, "golden input 0 gives an embedding that"),
    ],
)
def test_golden_inputs_that_do_not_come_out_are_reported(package, spoil, words):
    with np.load(package / "golden.npz") as golden:
        spoilt = {**golden, **{name: change(golden[name]) for name, change in spoil.items()}}
    buffer = io.BytesIO()
    np.savez(buffer, **spoilt)
    replace(package, "golden.npz", buffer.getvalue())
    with pytest.raises(ModelError, match=words):
        Classifier(open_package(package)).check_golden()
