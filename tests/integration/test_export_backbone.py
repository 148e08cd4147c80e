"""The folded backbone of Keras's MobileNetV2, with weights and statistics drawn at random."""

from pathlib import Path

import numpy as np
import pytest
from workshop_python import run_workshop

from export.networks.mobilenet import read_weights

# At 144 the last stride of 2 is over a side of 9, where both pad on each side; at 224 all are even.
SIDES = (224, 144)

# In one process, since TensorFlow is slow to start.
WORKSHOP = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from pathlib import Path
import keras, numpy as np
from export.__main__ import main
from export.networks.mobilenet import blank_head, Network, read_weights


def published(side, weights=None):
    return keras.applications.MobileNetV2(
        input_shape=(side, side, 3), include_top=False, pooling="avg", weights=weights
    )


folder = Path(sys.argv[1])
drawn, folded = folder / "drawn.weights.h5", folder / "folded.npz"
rng = np.random.default_rng(5)
model = published(224)
for layer in model.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        count = layer.gamma.shape[0]
        gamma, variance = rng.uniform(0.5, 1.5, (2, count))
        beta, mean = rng.normal(0.2, 0.5, (2, count))
        layer.set_weights([gamma, beta, mean, variance])
model.save_weights(drawn)

code = main(["backbone", "--to", str(folded), "--weights", str(drawn)])

network = Network({**read_weights(folded), **blank_head()})
for side in map(int, sys.argv[2:]):
    pixels = np.random.default_rng(side).uniform(-1, 1, (2, side, side, 3)).astype("float32")
    expected = published(side, str(drawn))(pixels, training=False)
    np.savez(folder / f"{side}.npz", expected=expected, found=network.embed(pixels))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `folded.npz`, and for each side what Keras and the folded network say."""
    made = tmp_path_factory.mktemp("backbone")
    (made / "workshop.py").write_text(WORKSHOP)
    run_workshop([str(made / "workshop.py"), str(made), *map(str, SIDES)])
    return made


@pytest.mark.parametrize("side", SIDES)
def test_the_folded_network_says_what_keras_says(folder: Path, side: int) -> None:
    with np.load(folder / f"{side}.npz") as archive:
        expected, found = archive["expected"], archive["found"]

    assert expected.std() > 0.01
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_the_file_is_one_that_a_training_reads(folder: Path) -> None:
    weights = read_weights(folder / "folded.npz")

    assert sum(array.size for array in weights.values()) == 2_206_816
    assert weights["Conv1/kernel"].shape == (3, 3, 3, 32)
    assert weights["block_1_depthwise/kernel"].shape == (3, 3, 96, 1)
