"""Classifiers of others: trained here in a moment, taken over, and asked what the source said."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from workshop_python import REPOSITORY, run_workshop, tensorflow_python

from bin_daemon.model.classifier import Classifier
from bin_daemon.model.package import open_package
from export.conversion.importer import read_labels
from export.data.pictures import load_squares, read_split
from export.errors import ExportError
from export.evaluation.runtimes import RUNTIMES, TfliteFile
from export.run import Run
from export.views.shapes import render

LABELS = ("can", "bottle", "carton")

# Makes the files and takes each over, in one process, since TensorFlow is slow to start.
WORKSHOP = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from pathlib import Path
import numpy as np
from export.data.pictures import find_pictures, label_of, load_squares
from export.errors import ExportError
from export.conversion.importer import import_model
from export.run import Run


def main(folder):
    import h5py, keras, tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    pictures = folder / "pictures"
    files = find_pictures(pictures)
    labels = (folder / "labels.txt").read_text().split()
    squares = load_squares(pictures, files, 32)
    truth = np.array([labels.index(label_of(file)) for file in files])
    keras.utils.set_random_seed(1)
    entry = keras.Input((32, 32, 3), name="inner_input")
    x = keras.layers.Conv2D(12, 3, strides=2, activation="relu", name="conv")(entry)
    x = keras.layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
    x = keras.layers.Conv2D(24, 1, activation="relu6", name="point")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    features = keras.Model(entry, x, name="features")
    picture = keras.Input((32, 32, 3), name="picture")
    x = keras.layers.Dense(16, activation="relu", name="hidden")(features(picture))
    scores = keras.layers.Dense(3, activation="softmax", name="scores")(x)
    model = keras.Model(picture, scores)
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    model.fit(squares / 127.5 - 1.0, truth, epochs=25, batch_size=16, verbose=0)
    np.savez(folder / "source.npz", probabilities=model(squares / 127.5 - 1.0), files=files)
    model.save(folder / "modern.keras")
    model.save(folder / "legacy.h5")
    with h5py.File(folder / "legacy.h5", "r+") as file:
        file.attrs["model_config"] = (folder / "keras2.json").read_bytes()

    def converted(kind):
        spec = [tf.TensorSpec([1, 32, 32, 3], tf.float32)]
        function = tf.function(lambda x: model(x, training=False), input_signature=spec)
        frozen = convert_variables_to_constants_v2(function.get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module())
        if kind != "float":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            seen = (squares / 127.5 - 1.0).astype(np.float32)
            converter.representative_dataset = lambda: ([one[None]] for one in seen)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if kind == "int8":
            converter.inference_input_type = converter.inference_output_type = tf.int8
        return converter.convert()

    for kind in ("float", "mixed", "int8"):
        (folder / f"{kind}.tflite").write_bytes(converted(kind))
    whole = (folder / "float.tflite").read_bytes()
    (folder / "torn.tflite").write_bytes(whole[: len(whole) // 2])
    told = {}
    for name, scale in json.loads((folder / "wanted.json").read_text()):
        run = Run(folder / "runs" / f"{name}-{scale}")
        try:
            import_model(run, folder / name, folder / "labels.txt", pictures, scale, None)
            told[run.folder.name] = ""
        except ExportError as error:
            told[run.folder.name] = str(error)
    (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
"""

WANTED = [
    ("modern.keras", "-1-1"),
    ("modern.keras", "0-1"),
    ("modern.keras", "1-0"),
    ("legacy.h5", "0-255"),
    ("legacy.h5", None),
    ("float.tflite", "-1-1"),
    ("float.tflite", "imagenet"),
    ("mixed.tflite", "-1-1"),
    ("int8.tflite", None),
    ("torn.tflite", "-1-1"),
]
IMPORTED = (
    "modern.keras--1-1",
    "legacy.h5-0-255",
    "float.tflite--1-1",
    "mixed.tflite--1-1",
    "int8.tflite-None",
)


def keras2_config() -> dict:
    """The same network as Keras 2 wrote it, its scaling of pixels in the graph.

    What Keras 3 does not read: `groups` of a depthwise convolution, operators as layers, and calls
    of inner models that are numbered from 1.
    """

    def layer(kind: str, name: str, source: list | None, **config: object) -> dict:
        nodes = [] if source is None else [[[*source, {}]]]
        return {
            "class_name": kind,
            "name": name,
            "config": {"name": name, "trainable": True, "dtype": "float32", **config},
            "inbound_nodes": nodes,
        }

    def operator(function: str, source: str, number: float) -> dict:
        made = layer("TFOpLambda", f"tf.{function}", None, function=function)
        return {**made, "inbound_nodes": [[source, 0, 0, {"y": number, "name": None}]]}

    shape = {"batch_input_shape": [None, 32, 32, 3]}
    inner = {
        "name": "features",
        "layers": [
            layer("InputLayer", "inner_input", None, **shape),
            layer(
                "Conv2D",
                "conv",
                ["inner_input", 0, 0],
                filters=12,
                kernel_size=[3, 3],
                strides=[2, 2],
                activation="relu",
            ),
            layer(
                "DepthwiseConv2D",
                "depthwise",
                ["conv", 0, 0],
                kernel_size=[3, 3],
                groups=1,
                activation="relu",
            ),
            layer(
                "Conv2D",
                "point",
                ["depthwise", 0, 0],
                filters=24,
                kernel_size=[1, 1],
                activation="relu6",
            ),
            layer("GlobalAveragePooling2D", "pool", ["point", 0, 0]),
        ],
        "input_layers": [["inner_input", 0, 0]],
        "output_layers": [["pool", 0, 0]],
    }
    outer = {
        "name": "model",
        "layers": [
            layer("InputLayer", "picture", None, **shape),
            operator("math.truediv", "picture", 127.5),
            operator("math.subtract", "tf.math.truediv", 1.0),
            {
                "class_name": "Functional",
                "name": "features",
                "config": inner,
                "inbound_nodes": [[["tf.math.subtract", 0, 0, {}]]],
            },
            layer("Dense", "hidden", ["features", 1, 0], units=16, activation="relu"),
            layer("Dense", "scores", ["hidden", 0, 0], units=3, activation="softmax"),
        ],
        "input_layers": [["picture", 0, 0]],
        "output_layers": [["scores", 0, 0]],
    }
    return {"class_name": "Functional", "config": outer}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files, and a run of each that could be taken over."""
    made = tmp_path_factory.mktemp("import")
    render(made / "pictures", LABELS, 20)
    (made / "labels.txt").write_text("\n".join(LABELS) + "\n")
    (made / "keras2.json").write_text(json.dumps(keras2_config()))
    (made / "wanted.json").write_text(json.dumps(WANTED))
    (made / "workshop.py").write_text(WORKSHOP)
    run_workshop([str(made / "workshop.py"), str(made)])
    return made


def told(folder: Path, name: str) -> str:
    return str(json.loads((folder / "told.json").read_text())[name])


@pytest.mark.parametrize("name", IMPORTED)
def test_an_imported_model_says_what_its_source_said(folder: Path, name: str) -> None:
    assert told(folder, name) == ""
    run = Run(folder / "runs" / name)
    with np.load(folder / "source.npz") as archive:
        source = dict(zip(archive["files"], archive["probabilities"], strict=True))
    expected = np.stack([source[p.file] for p in read_split(run)["held_out"]])

    with np.load(run.path("float.npz")) as archive:
        logits, embedding = archive["logits"], archive["embedding"]

    found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # The files that came quantised are measured as they came, in steps of their own.
    quantised = name.startswith(("mixed", "int8"))
    assert np.abs(found - expected).mean() < (0.02 if quantised else 1e-4)
    assert embedding.shape == (len(logits), 24)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", IMPORTED)
def test_the_imported_file_takes_plain_pixels_and_agrees(
    folder: Path, name: str, runtime: str
) -> None:
    run = Run(folder / "runs" / name)
    files = [picture.file for picture in read_split(run)["held_out"]]
    with np.load(run.path("float.npz")) as archive:
        expected = archive["logits"]

    outputs = TfliteFile(run.path("model.tflite").read_bytes(), runtime).run(
        load_squares(folder / "pictures", files, 32)
    )

    assert np.mean(outputs.logits.argmax(1) == expected.argmax(1)) >= 0.95
    assert outputs.embedding.shape == (len(files), 24)
    assert json.loads(run.path("refusals.json").read_text()) == {}


def test_a_package_can_be_made_of_it_in_one_go(folder: Path, tmp_path: Path) -> None:
    command = [tensorflow_python(), "-m", "export", "import", str(folder / "float.tflite")]
    given = ["--labels", str(folder / "labels.txt"), "--calibrate", str(folder / "pictures")]
    where = ["--name", str(tmp_path / "run"), "--to", str(tmp_path / "taken-over")]

    subprocess.run([*command, *given, *where, "--scale=-1-1"], cwd=REPOSITORY, check=True)

    package = open_package(tmp_path / "taken-over")
    assert package.labels == LABELS
    assert package.manifest.input.mean == (127.5, 127.5, 127.5)
    assert set(package.manifest.metrics["per_class"]) == set(LABELS)
    for runtime in RUNTIMES:
        Classifier(package, runtime).check_golden()


def test_the_run_says_what_it_is_made_of(folder: Path) -> None:
    config = json.loads(Run(folder / "runs" / IMPORTED[2]).path("config.json").read_text())

    assert config["kind"] == "imported"
    assert config["labels"] == list(LABELS)
    assert config["size"] == 32
    assert config["settings"]["source"] == "float.tflite"
    assert config["input"] == {"mean": [127.5] * 3, "std": [127.5] * 3}


def test_the_scaling_that_is_clearly_right_is_taken_and_all_are_shown(folder: Path) -> None:
    run = Run(folder / "runs" / "legacy.h5-None")
    log = run.path("log.txt").read_text()

    assert told(folder, "legacy.h5-None") == ""
    assert run.read_json("config.json", "import")["settings"]["scale"] == "0-255"
    assert "import: takes pixels as 0-255, clearly right most often" in log
    for name in ("0-1", "-1-1", "0-255", "imagenet", "caffe"):
        assert f"pixels as {name}: " in log


def test_an_unknown_scaling_is_refused(folder: Path) -> None:
    assert "--scale 1-0: must be one of 0-1, -1-1" in told(folder, "modern.keras-1-0")


def test_a_file_that_is_cut_short_is_refused(folder: Path) -> None:
    assert "torn.tflite: is damaged or cut short" in told(folder, "torn.tflite--1-1")


def test_a_scaling_by_channel_asks_for_the_keras_file(folder: Path) -> None:
    assert "must be one of 0-1, -1-1, 0-255" in told(folder, "float.tflite-imagenet")


def test_labels_may_be_numbered_as_teachable_machine_does(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("0 can\n1 glass bottle\n2 carton\n")

    assert read_labels(tmp_path / "labels.txt") == ("can", "glass bottle", "carton")


@pytest.mark.parametrize("text", ["", "can\n", "can\nbottle\ncan\n"])
def test_labels_that_make_no_sense_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.txt").write_text(text)

    with pytest.raises(ExportError, match="at least two class names"):
        read_labels(tmp_path / "labels.txt")
