"""Class-activation maps: they add up to what the network says, and lie where the thing lies."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from packages import edit, replace

from bin_daemon.core.errors import ModelError
from bin_daemon.core.images import read_picture
from bin_daemon.core.messages import Image
from bin_daemon.core.softmax import softmax
from bin_daemon.explain.saliency import ClassMaps, Saliency
from bin_daemon.model import runtime as module
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.head import Base, Head
from bin_daemon.model.package import GOLDEN, LABELS, MODEL, Package, open_package

REEL = Path(__file__).parents[3] / "firmware_config" / "reel"


@pytest.fixture(scope="module", params=list(module.RUNTIMES))
def runtime(request) -> str:
    if importlib.util.find_spec(module.RUNTIMES[request.param].split(".")[0]) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture(scope="module")
def saliency(runtime: str) -> Saliency:
    return Saliency(open_package("waste6"), runtime)


def letter() -> Image:
    """The printed letter of the reel, cut out by hand."""
    return read_picture(REEL / "items" / "paper_flat.jpg")[130:430, 160:500]


def test_the_maps_add_up_to_the_logits_of_the_network(saliency: Saliency):
    package = open_package("waste6")
    with np.load(package.folder / GOLDEN) as golden:
        inputs, logits = golden["inputs"], golden["logits"]
    step = np.ptp(logits) / 255  # at least: the logits are int8
    for pixels, expected in zip(inputs, logits, strict=True):
        # The int8 network rounds the embedding and the logits, the maps do not.
        np.testing.assert_allclose(saliency.look(pixels).logits, expected, atol=4 * step)


def test_the_mean_of_the_feature_map_is_the_embedding(saliency: Saliency, runtime: str):
    features = saliency.features(letter())
    embedding = Classifier(open_package("waste6"), runtime).classify(letter()).embedding
    assert features.shape[2:] == embedding.shape
    assert np.corrcoef(features.mean(axis=(0, 1)), embedding)[0, 1] > 0.99


def test_evidence_lies_where_the_thing_lies(saliency: Saliency):
    thing = letter()[::2, ::2]
    background = np.full((400, 400, 3), 120, np.uint8)
    for side in (np.s_[:, :200], np.s_[:, 200:]):
        picture = background.copy()
        picture[side][125 : 125 + thing.shape[0], 15 : 15 + thing.shape[1]] = thing
        heat = np.maximum(saliency.look(picture).evidence("paper"), 0)
        left, right = heat[:, :3].sum(), heat[:, 4:].sum()
        assert (left > 2 * right) if side == np.s_[:, :200] else (right > 2 * left)


def test_with_a_taught_head_the_maps_add_up_to_what_that_says(runtime: str):
    package = open_package("waste6")
    random = np.random.default_rng(2)
    head = Head(
        labels=("mug", "lid"),
        kernel=random.normal(size=(1280, 2)).astype(np.float32),
        bias=np.array([0.3, -0.2], np.float32),
        temperature=0.7,
        thresholds={},
        base=Base.of(package),
        taught_at=0.0,
        figures={},
    )
    seen = Classifier(package, runtime, head=head).classify(letter())
    maps = Saliency(package, runtime, head).look(letter())
    assert maps.labels == seen.labels
    found = softmax(maps.logits, head.temperature)
    np.testing.assert_allclose(found, seen.probabilities, atol=0.05)


def test_evidence_leaves_out_what_all_classes_share():
    maps = np.random.default_rng(0).normal(size=(7, 7, 3)).astype(np.float32)
    shared = np.random.default_rng(1).normal(size=(7, 7, 1)).astype(np.float32)
    plain, raised = ClassMaps(("a", "b", "c"), maps), ClassMaps(("a", "b", "c"), maps + shared)
    np.testing.assert_allclose(plain.evidence("b"), raised.evidence("b"), atol=1e-5)
    assert plain.evidence("b").shape == (7, 7)


def test_a_network_whose_embedding_is_no_mean_is_refused_in_words(package: Path):
    edit(package, outputs={"logits": 1, "embedding": 0})
    with pytest.raises(ModelError, match="not the mean of a feature map.*leave --why out"):
        Saliency(open_package(package))


def test_a_network_without_an_embedding_is_refused_in_words(package: Path):
    edit(package, outputs={"logits": 0, "embedding": None})
    with pytest.raises(ModelError, match="gives no embedding.*leave --why out"):
        Saliency(open_package(package))


def chequered(seed: int) -> Image:
    """Sixteen fields of random colour, 64 x 64."""
    fields = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return fields.repeat(16, axis=0).repeat(16, axis=1)


def built(package: Path, hidden: str | None, head: str) -> Package:
    """The package with a small random int8 network in it: pooling, layers, three classes."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(3)
    keras = tf.keras.layers
    pixels = tf.keras.Input((64, 64, 3), batch_size=1)
    x = keras.Rescaling(1 / 127.5, offset=-1)(pixels)
    for filters in (8, 16):
        x = keras.Conv2D(filters, 3, strides=2, activation="relu")(x)
    embedding = keras.GlobalAveragePooling2D()(x)
    y = keras.Dense(32, hidden)(embedding) if hidden else embedding
    logits = keras.Dense(3, head)(y)
    converter = tf.lite.TFLiteConverter.from_keras_model(
        tf.keras.Model(pixels, [logits, embedding])
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [chequered(seed)[np.newaxis].astype(np.float32)] for seed in range(64)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    content = converter.convert()
    replace(package, MODEL, content)
    replace(package, LABELS, b"a\nb\nc\n")
    found = tf.lite.Interpreter(model_content=content).get_output_details()
    sizes = [int(np.prod(output["shape"])) for output in found]
    manifest = json.loads((package / "manifest.json").read_text())
    edit(
        package,
        input={**manifest["input"], "width": 64, "height": 64},
        outputs={"logits": sizes.index(3), "embedding": sizes.index(16)},
        thresholds={},
    )
    return open_package(package)


@pytest.mark.tensorflow
@pytest.mark.parametrize("hidden", [None, "linear", "relu", "relu6"])
def test_layers_between_embedding_and_logits_are_seen_through(package: Path, hidden: str | None):
    made = built(package, hidden, "linear")
    saliency, classifier = Saliency(made), Classifier(made)
    for seed in range(5):
        picture = chequered(seed)
        found = softmax(saliency.look(picture).logits, made.manifest.temperature)
        np.testing.assert_allclose(found, classifier.classify(picture).probabilities, atol=0.02)


@pytest.mark.tensorflow
def test_a_head_that_is_not_linear_is_refused_in_words(package: Path):
    with pytest.raises(ModelError, match="TANH is in between.*leave --why out"):
        Saliency(built(package, "tanh", "linear"))
