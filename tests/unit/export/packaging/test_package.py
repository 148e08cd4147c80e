"""The shipped model packages: they are what their manifests say, and compute what they should."""

import dataclasses
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from bin_daemon.model.classifier import GOLDEN_LIKENESS, Classifier
from bin_daemon.model.package import Package, open_package
from bin_daemon.model.runtime import RUNTIMES as MODULES
from export.conversion import golden, metadata
from export.evaluation.runtimes import RUNTIMES, TfliteFile
from export.recipes.load import read_recipe

MODELS = Path(__file__).resolve().parents[4] / "models"
SHIPPED = sorted(path.parent.name for path in MODELS.glob("*/manifest.json"))


@pytest.fixture(scope="module", params=SHIPPED)
def package(request: pytest.FixtureRequest) -> Package:
    return open_package(MODELS / request.param)


@pytest.fixture(scope="module")
def content(package: Package) -> bytes:
    return package.verified("model.tflite")


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(MODULES[request.param].split(".")[0])
    return request.param


def load_golden(package: Package) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(package.verified("golden.npz"))) as archive:
        return {name: archive[name] for name in archive.files}


def test_the_manifest_lists_every_file_with_its_hash(package: Package) -> None:
    listed = package.manifest.files

    assert {path.name for path in package.folder.iterdir()} == {*listed, "manifest.json"}
    for name, entry in listed.items():
        found = (package.folder / name).read_bytes()
        assert len(found) == entry.bytes
        assert hashlib.sha256(found).hexdigest() == entry.sha256


def test_labels_and_thresholds_are_those_of_the_recipe(package: Package) -> None:
    assert package.labels == read_recipe(package.manifest.name).labels
    assert package.manifest.thresholds.keys() == set(package.labels)


def test_the_model_is_integer_from_end_to_end(content: bytes, runtime: str) -> None:
    module = pytest.importorskip(MODULES[runtime])
    interpreter = module.Interpreter(model_content=content)

    types = {detail["dtype"] for detail in interpreter.get_tensor_details()}

    assert interpreter.get_input_details()[0]["dtype"] is np.uint8
    assert types <= {np.uint8, np.int8, np.int32}


def test_outputs_are_where_the_manifest_says(
    package: Package, content: bytes, runtime: str
) -> None:
    assert dataclasses.asdict(package.manifest.outputs) == TfliteFile(content, runtime).positions


def test_golden_inputs_pass_with_the_runtimes_own_kernels(
    package: Package, content: bytes, runtime: str
) -> None:
    expected = load_golden(package)

    found = TfliteFile(content, runtime).run(expected["inputs"])

    assert np.abs(found.logits - expected["logits"]).max() <= expected["tolerance"]
    assert np.corrcoef(found.embedding.ravel(), expected["embedding"].ravel())[0, 1] > 0.99


def test_golden_inputs_pass_in_the_daemons_classifier(package: Package, runtime: str) -> None:
    Classifier(package, runtime).check_golden()


def test_golden_inputs_are_drawn_and_small(package: Package) -> None:
    assert np.array_equal(load_golden(package)["inputs"], golden.draw())
    assert package.manifest.files["golden.npz"].bytes < 300_000


def test_golden_outputs_tell_the_inputs_apart(package: Package) -> None:
    alike = np.corrcoef(load_golden(package)["embedding"])

    assert alike[~np.eye(len(alike), dtype=bool)].max() < 0.9 < GOLDEN_LIKENESS


def test_golden_inputs_notice_swapped_colours(
    package: Package, content: bytes, runtime: str
) -> None:
    expected = load_golden(package)

    found = TfliteFile(content, runtime).run(expected["inputs"][..., ::-1])

    pairs = zip(found.embedding, expected["embedding"], strict=True)
    assert min(np.corrcoef(one, other)[0, 1] for one, other in pairs) < 0.95 < GOLDEN_LIKENESS


def test_embedded_metadata_agrees_with_the_manifest(package: Package, content: bytes) -> None:
    pytest.importorskip("flatbuffers")
    about = metadata.read(content)
    spec = package.manifest.input

    assert about["labels"] == list(package.labels)
    assert (about["width"], about["height"]) == (spec.width, spec.height)
    assert about["mean"] == list(spec.mean)
    assert about["std"] == list(spec.std)
    assert about["outputs"][package.manifest.outputs.logits] == "logits"
    assert about["outputs"][package.manifest.outputs.embedding] == "embedding"


def test_the_card_quotes_the_manifests_figures(package: Package) -> None:
    card = package.verified("card.md").decode()
    figures = package.manifest.metrics

    assert f"{figures['accuracy']:.3f}" in card
    assert f"{figures['macro_f1']:.3f}" in card
    for name, steps in figures.get("chambers", {}).items():
        assert name in card
        assert all(f"{accuracy:.3f}" in card for accuracy in steps.values())
    assert figures["command"] in card


def test_int8_is_within_a_point_of_float(package: Package) -> None:
    figures = package.manifest.metrics

    assert figures["accuracy"] >= figures["float_accuracy"] - 0.01


def test_nothing_in_the_package_names_a_machines_paths(package: Package) -> None:
    text = package.verified("card.md").decode() + json.dumps(dataclasses.asdict(package.manifest))

    assert "/home/" not in text
    assert str(MODELS.parent) not in text


def test_class_names_may_hold_spaces() -> None:
    content = (open_package("waste6").folder / "model.tflite").read_bytes()
    names = ["Food Organics", "Glass"]
    plain = content[: content.rfind(b"PK\x03\x04")]
    assert metadata.read(metadata.append_labels(plain, names))["labels"] == names


def test_a_model_without_metadata_says_so(content: bytes) -> None:
    pytest.importorskip("flatbuffers")
    renamed = content.replace(b"TFLITE_METADATA", b"SOMETHING_OTHER")

    with pytest.raises(ValueError, match="carries no TFLITE_METADATA"):
        metadata.read(renamed)
