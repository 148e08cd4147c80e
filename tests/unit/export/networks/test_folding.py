"""Folding a batch normalisation into the layer before it, in numpy."""

from pathlib import Path

import numpy as np
import pytest

from export.__main__ import main
from export.networks.folding import fold
from export.networks.keras_backbones import norms
from export.networks.mobilenet import layer_names

EPSILON = 1e-3


@pytest.mark.parametrize("layer", ["block_1_expand", "block_1_depthwise"])
def test_a_folded_layer_does_what_layer_and_normalisation_do(layer: str) -> None:
    rng = np.random.default_rng(3)
    depthwise = layer.endswith("depthwise")
    kernel = rng.normal(size=(3, 3, 5, 1) if depthwise else (3, 3, 5, 7))
    channels = 5 if depthwise else 7
    gamma, variance = rng.uniform(0.5, 2, (2, channels))
    beta, mean = rng.normal(size=(2, channels))
    patch = rng.normal(size=(3, 3, 5))

    def apply(kernel: np.ndarray) -> np.ndarray:
        if depthwise:
            return np.einsum("hwc,hwc->c", patch, kernel[..., 0])
        return np.einsum("hwc,hwco->o", patch, kernel)

    folded, bias = fold(layer, kernel, [gamma, beta, mean, variance], EPSILON)

    expected = gamma * (apply(kernel) - mean) / np.sqrt(variance + EPSILON) + beta
    assert apply(folded) + bias == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert folded.dtype == bias.dtype == np.float32


def test_every_layer_has_a_normalisation_of_its_own() -> None:
    found = norms()

    assert list(found) == layer_names()
    assert len(set(found.values())) == 52
    assert found["Conv1"] == "bn_Conv1"
    assert found["block_3_project"] == "block_3_project_BN"
    assert found["Conv_1"] == "Conv_1_bn"


def test_weights_that_are_not_there_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ["--to", str(tmp_path / "made.npz"), "--weights", str(tmp_path / "none.h5")]

    assert main(["backbone", *named]) == 2

    assert "none.h5: no such weights file" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
