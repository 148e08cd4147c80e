"""Unit tests need nothing but the package and its dependencies."""

import shutil
from pathlib import Path

import pytest

from bin_daemon import paths


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the shipped package that may be spoilt."""
    return Path(shutil.copytree(paths.models() / "waste6", tmp_path / "models" / "waste6"))
