"""What is remembered from start to start, and what is not trusted."""

import pickle
from dataclasses import asdict
from pathlib import Path

import pytest

from bin_daemon.config.cache import cached
from bin_daemon.config.load import load_config
from bin_daemon.config.sections import Config


class Checked:
    """Counts how often something was really checked."""

    def __init__(self) -> None:
        self.times = 0
        self.config = load_config("simulator")

    def __call__(self) -> Config:
        self.times += 1
        return self.config


@pytest.fixture
def check():
    return Checked()


def test_the_same_text_is_checked_once(check, tmp_path):
    first = cached(Config, b"text", tmp_path, check)
    second = cached(Config, b"text", tmp_path, check)
    assert asdict(first) == asdict(second) == asdict(check.config)
    assert check.times == 1


def test_another_text_is_checked_afresh(check, tmp_path):
    cached(Config, b"text", tmp_path, check)
    cached(Config, b"other", tmp_path, check)
    assert check.times == 2


def test_another_version_of_the_program_checks_afresh(check, tmp_path, monkeypatch):
    cached(Config, b"text", tmp_path, check)
    monkeypatch.setattr("bin_daemon.config.cache.__version__", "9.9.9")
    cached(Config, b"text", tmp_path, check)
    assert check.times == 2


def test_without_a_folder_nothing_is_kept(check):
    cached(Config, b"text", None, check)
    cached(Config, b"text", None, check)
    assert check.times == 2


@pytest.mark.parametrize("junk", [b"", b"junk", pickle.dumps(("key", "value")), b"\x80\x05."])
def test_a_damaged_file_costs_only_time(check, tmp_path, junk):
    (tmp_path / "config.checked").write_bytes(junk)
    assert asdict(cached(Config, b"text", tmp_path, check)) == asdict(check.config)
    assert check.times == 1


class Opens:
    """A pickle that would create a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_planted_file_runs_nothing(check, tmp_path):
    cached(Config, b"text", tmp_path, check)
    stored = tmp_path / "config.checked"
    key, _ = pickle.loads(stored.read_bytes())
    stored.write_bytes(pickle.dumps((key, Opens(tmp_path / "planted"))))
    assert asdict(cached(Config, b"text", tmp_path, check)) == asdict(check.config)
    assert not (tmp_path / "planted").exists()
    assert check.times == 2


def test_a_folder_that_cannot_be_written_costs_only_time(check, tmp_path):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "state"
    assert cached(Config, b"text", folder, check) is check.config


def test_a_wrong_configuration_is_never_remembered(tmp_path):
    path = tmp_path / "bin.yaml"
    path.write_text("version: 1\n")
    for _ in range(2):
        with pytest.raises(ValueError, match="is needed"):
            load_config(path, tmp_path / "state")
