"""Unit tests need nothing but the package and its dependencies; those marked tensorflow say so."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from bin_daemon.core import paths


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs TensorFlow where it is not installed."""
    if item.get_closest_marker("tensorflow") and not importlib.util.find_spec("tensorflow"):
        pytest.skip("runs where the extra export is installed, see Makefile")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the shipped package that may be spoilt."""
    return Path(shutil.copytree(paths.models() / "waste6", tmp_path / "models" / "waste6"))
