"""Packages on disk: what is whole is opened, what is not is refused with words."""

import shutil

import pytest
from packages import edit, replace

from bin_daemon.core.errors import ModelError
from bin_daemon.model import package as model_store
from bin_daemon.model.package import list_packages, open_package

SHIPPED = "waste6"


def test_the_shipped_package_is_whole():
    shipped = open_package(SHIPPED)
    shipped.verify()
    assert shipped.labels == ("cardboard", "glass", "metal", "paper", "plastic", "trash")
    assert shipped.id == f"waste6@{shipped.manifest.version}"


def test_a_package_is_found_by_its_folder_too(package):
    assert open_package(package).folder == package


def test_a_missing_package_is_reported_with_those_that_exist():
    with pytest.raises(ModelError, match="no model package 'waste7'.*waste6"):
        open_package("waste7")


def test_a_flipped_bit_is_found(package):
    content = bytearray((package / "model.tflite").read_bytes())
    content[1000] ^= 1
    (package / "model.tflite").write_bytes(bytes(content))
    with pytest.raises(ModelError, match=r"model\.tflite: is damaged"):
        open_package(package).verify()


def test_a_missing_file_is_named(package):
    (package / "golden.npz").unlink()
    with pytest.raises(ModelError, match=r"golden\.npz: cannot read it"):
        open_package(package).verify()


def test_a_file_that_the_manifest_does_not_know_is_not_trusted(package):
    with pytest.raises(ModelError, match="does not list other"):
        open_package(package).verified("other")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temperature": 0}, "temperature"),
        ({"surprise": 1}, "surprise"),
        ({"thresholds": {"wood": 0.5}}, "thresholds name no label: wood"),
        ({"files": {"../../etc/passwd": {"sha256": "0" * 64, "bytes": 1}}}, "not a plain file"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(package, changes, words):
    edit(package, **changes)
    with pytest.raises(ModelError, match=words):
        open_package(package)


def test_a_manifest_that_is_no_json_is_refused(package):
    (package / "manifest.json").write_bytes(b"\xff\x00")
    with pytest.raises(ModelError, match=r"manifest\.json"):
        open_package(package)


@pytest.mark.parametrize("labels", [b"glass\n", b"glass\nglass\n", b""])
def test_labels_must_be_several_and_different(package, labels):
    edit(package, thresholds={})
    replace(package, "labels.txt", labels)
    with pytest.raises(ModelError, match="at least two labels"):
        open_package(package)


def test_the_list_shows_damaged_packages_as_what_is_wrong_with_them(package, monkeypatch):
    shutil.copytree(package, package.parent / "broken")
    (package.parent / "broken" / "labels.txt").unlink()
    monkeypatch.setattr(model_store.paths, "models", lambda: package.parent)
    broken, good = list_packages()
    assert isinstance(broken, ModelError)
    assert good.id.startswith("waste6@")
