"""The interpreter that has TensorFlow: this one, or that of the workshop's own environment.

TensorFlow is large and no bin needs it, so `make test` keeps it in `.venv-export`, and tests of the
workshop run it in processes of their own.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def tensorflow_python() -> str:
    """The path of an interpreter with TensorFlow; skips the test where there is none.

    $WORKSHOP_PYTHON names another one.
    """
    if named := os.environ.get("WORKSHOP_PYTHON"):
        return named
    if importlib.util.find_spec("tensorflow") is not None:
        return sys.executable
    own = REPOSITORY / ".venv-export" / "bin" / "python"
    if not own.is_file():
        pytest.skip("TensorFlow is not installed (extra: export; `make test` installs it)")
    return str(own)


def run_workshop(arguments: Sequence[str]) -> None:
    """Run that interpreter with these arguments in the repository; fails with what it said last."""
    done = subprocess.run(
        [tensorflow_python(), *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr[-3000:]}"
