"""Network and equalisation, checked against a forward pass of their own in plain numpy."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export.conversion.equalise import (
    CEILING,
    HEADROOM,
    Reach,
    equalise,
    room,
    rounding_noise,
    scale_channels,
    streams,
)
from export.errors import ExportError
from export.networks.mobilenet import (
    EMBEDDING,
    HEAD,
    STAGES,
    Weights,
    blocks,
    channel_rms,
    layer_names,
    read_weights,
)


def uneven_weights(seed: int = 0) -> Weights:
    """A whole network whose channels differ tenfold in size, as after folding; float64.

    In float64 a difference is the method's fault, never that of rounding in 52 layers.
    """
    rng = np.random.default_rng(seed)
    weights: Weights = {}

    def add(layer: str, shape: tuple[int, ...], fan_in: int, channels: int) -> None:
        sizes = np.exp(rng.normal(0.0, 1.0, channels))
        kernel = rng.normal(0.0, np.sqrt(0.7 / fan_in), shape)
        kernel *= sizes[:, None] if layer.endswith("depthwise") else sizes
        weights[f"{layer}/kernel"] = kernel
        weights[f"{layer}/bias"] = rng.normal(0.1, 0.2, channels)

    widths = [width for _, width, repeats, _ in STAGES for _ in range(repeats)]
    expansions = [expansion for expansion, _, repeats, _ in STAGES for _ in range(repeats)]
    add("Conv1", (3, 3, 3, 32), 27, 32)
    entry = 32
    for block, width, expansion in zip(blocks(), widths, expansions, strict=True):
        inner = entry * expansion
        if block.expand:
            add(block.expand, (1, 1, entry, inner), entry, inner)
        add(block.depthwise, (3, 3, inner, 1), 9, inner)
        add(block.project, (1, 1, inner, width), inner, width)
        entry = width
    add("Conv_1", (1, 1, entry, EMBEDDING), entry, EMBEDDING)
    weights[f"{HEAD}/kernel"] = rng.normal(0.0, 0.05, (EMBEDDING, 6))
    weights[f"{HEAD}/bias"] = np.zeros(6)
    return weights


def windows(x: np.ndarray, stride: int) -> np.ndarray:
    """The 3x3 neighbourhoods of (h, w, c) under TensorFlow's SAME padding: (h', w', c, 3, 3)."""
    before = 0 if stride == 2 else 1  # even sizes pad only behind at stride 2
    padded = np.pad(x, ((before, 1), (before, 1), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))[::stride, ::stride]


def forward(weights: Weights, picture: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits and the output of each layer for one float picture (s, s, 3) in [-1, 1]."""
    taps: dict[str, np.ndarray] = {}

    def put(layer: str, x: np.ndarray, relu6: bool = True) -> np.ndarray:
        x = x + weights[f"{layer}/bias"]
        taps[layer] = np.clip(x, 0.0, 6.0) if relu6 else x
        return taps[layer]

    kernel = weights["Conv1/kernel"]
    x = put("Conv1", np.einsum("hwcij,ijco->hwo", windows(picture, 2), kernel))
    for block in blocks():
        entry = x
        if block.expand:
            x = put(block.expand, x @ weights[f"{block.expand}/kernel"][0, 0])
        kernel = weights[f"{block.depthwise}/kernel"][..., 0]
        near = windows(x, block.stride)
        x = put(block.depthwise, np.einsum("hwcij,ijc->hwc", near, kernel))
        x = put(block.project, x @ weights[f"{block.project}/kernel"][0, 0], relu6=False)
        if block.residual:
            x = taps[block.project] = x + entry
    x = put("Conv_1", x @ weights["Conv_1/kernel"][0, 0])
    return x.mean(axis=(0, 1)) @ weights[f"{HEAD}/kernel"] + weights[f"{HEAD}/bias"], taps


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(4).uniform(-1, 1, (3, 64, 64, 3))


@pytest.fixture(scope="module")
def weights() -> Weights:
    return uneven_weights()


@pytest.fixture(scope="module")
def reach(weights: Weights, pictures: np.ndarray) -> dict[str, Reach]:
    taps = [forward(weights, picture)[1] for picture in pictures]
    return {
        layer: Reach(
            np.max([np.abs(tap[layer]).max(axis=(0, 1)) for tap in taps], axis=0),
            np.mean([np.square(tap[layer]).mean(axis=(0, 1)) for tap in taps], axis=0),
        )
        for layer in taps[0]
    }


def test_the_layers_are_those_of_the_backbone() -> None:
    names = layer_names()

    assert len(names) == len(set(names)) == 52
    assert names[:4] == [
        "Conv1",
        "expanded_conv_depthwise",
        "expanded_conv_project",
        "block_1_expand",
    ]
    assert names[-2:] == ["block_16_project", "Conv_1"]
    assert sum(block.residual for block in blocks()) == 10


def test_every_residual_stream_is_read_by_the_layers_after_it() -> None:
    found = streams()

    assert found[0] == (["expanded_conv_project"], ["block_1_expand"])
    assert found[1] == (
        ["block_1_project", "block_2_project"],
        ["block_2_expand", "block_3_expand"],
    )
    assert found[-1] == (["block_16_project"], ["Conv_1"])


def test_equalisation_leaves_the_float_function_unchanged(
    weights: Weights, reach: dict[str, Reach], pictures: np.ndarray
) -> None:
    equal = equalise(weights, reach)

    moved = [name for name in weights if not np.allclose(weights[name], equal[name])]
    assert len(moved) > 60
    for picture in pictures:
        before, after = forward(weights, picture)[0], forward(equal, picture)[0]
        assert after == pytest.approx(before, abs=1e-6 * np.abs(before).max())


def test_equalisation_uses_more_of_the_range_of_relu6(
    weights: Weights, reach: dict[str, Reach], pictures: np.ndarray
) -> None:
    taps = forward(equalise(weights, reach), pictures[0])[1]
    before = forward(weights, pictures[0])[1]

    for layer in ("block_4_expand", "block_9_expand"):
        middle = np.median(taps[layer].max(axis=(0, 1)))
        assert middle > 1.5 * np.median(before[layer].max(axis=(0, 1)))
        assert taps[layer].max() <= CEILING


def test_a_channel_that_clips_is_not_scaled() -> None:
    assert room(np.array([6.0, 5.9], np.float32)) == pytest.approx([1.0, 1.0])
    assert room(np.array([1.0], np.float32)) == pytest.approx([CEILING / HEADROOM])
    assert np.isfinite(room(np.zeros(1, np.float32))).all()


def test_rounding_noise_is_that_of_measured_rounding() -> None:
    rng = np.random.default_rng(2)
    kernel = rng.normal(size=(64, 32))
    inputs = rng.uniform(0, 1, (4000, 64)) * np.exp(rng.normal(0, 1, 64))
    scale = np.exp(rng.normal(0, 0.3, 64))
    scaled, rows = inputs * scale, kernel / scale[:, None]
    step = np.max(inputs.max(axis=0) * scale) / 255
    steps = np.abs(rows).max(axis=0) / 127

    rounded = (np.round(scaled / step) * step) @ (np.round(rows / steps) * steps)
    measured = np.square(rounded - inputs @ kernel).mean(axis=0).sum()
    predicted = rounding_noise(kernel, inputs.max(axis=0), np.square(inputs).mean(axis=0), scale)

    assert predicted == pytest.approx(measured, rel=0.25)


def test_scaling_and_scaling_back_changes_nothing(weights: Weights) -> None:
    changed = {name: array.copy() for name, array in weights.items()}
    scale = np.full(96, 2.0, np.float32)

    scale_channels(changed, ["block_1_expand"], ["block_1_depthwise"], scale)
    assert not np.allclose(changed["block_1_expand/bias"], weights["block_1_expand/bias"])
    scale_channels(changed, ["block_1_expand"], ["block_1_depthwise"], 1 / scale)

    for name, array in weights.items():
        assert np.allclose(changed[name], array)


def test_channel_rms_belongs_to_output_channels() -> None:
    assert channel_rms("block_1_depthwise", np.full((3, 3, 5, 1), 2.0)).shape == (1, 1, 5, 1)
    assert channel_rms("block_1_expand", np.full((1, 1, 4, 7), 2.0)).ravel() == pytest.approx(2.0)
    assert channel_rms(HEAD, np.zeros((EMBEDDING, 6))).min() > 0


def test_a_weights_file_without_a_layer_is_refused_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **{"Conv1/kernel": np.zeros(1), "Conv1/bias": np.zeros(1)})

    with pytest.raises(ExportError, match="lacks layer expanded_conv_depthwise"):
        read_weights(tmp_path / "w.npz")
    with pytest.raises(ExportError, match="no such weights file"):
        read_weights(tmp_path / "none.npz")


# In a process of its own: tflite-runtime, which other tests load, breaks beside TensorFlow.
WITH_TENSORFLOW = """
import sys
from pathlib import Path
import numpy as np
from export.networks.mobilenet import Network, read_weights
folder, relative = sys.argv[1], sys.argv[2] == "relative"
network = Network(read_weights(Path(folder) / "weights.npz"), relative=relative)
pictures = np.load(f"{folder}/pictures.npy").astype(np.float32)
np.save(f"{folder}/logits.npy", network.classify(network.embed(pictures)))
np.savez(f"{folder}/back.npz", **network.export_weights())
"""


@pytest.mark.tensorflow
@pytest.mark.parametrize("kernels", ["absolute", "relative"])
def test_tensorflow_computes_what_numpy_computes(
    weights: Weights, pictures: np.ndarray, kernels: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "weights.npz", **weights)
    np.save(tmp_path / "pictures.npy", pictures)
    code = WITH_TENSORFLOW

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), kernels],
        cwd=Path(__file__).resolve().parents[4],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    for picture, found in zip(pictures, np.load(tmp_path / "logits.npy"), strict=True):
        expected = forward(weights, picture)[0]
        assert found == pytest.approx(expected, abs=1e-3 * np.abs(expected).max())
    back = read_weights(tmp_path / "back.npz")
    assert back.keys() == weights.keys()
    for name, array in weights.items():
        assert np.allclose(back[name], array, rtol=1e-5, atol=1e-6)
