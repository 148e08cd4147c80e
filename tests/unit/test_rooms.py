"""The contracts of the rooms in setup.cfg: each of them fails where a module breaks it."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

BREACHES = {
    "layers": ("bin_daemon/core/clock.py", "bin_daemon.config.sections"),
    "telemetry": ("bin_daemon/telemetry/topics.py", "bin_daemon.gpio.sensors"),
    "teaching": ("bin_daemon/teaching/solver.py", "bin_daemon.sorting.sorter"),
    "chute": ("bin_daemon/chute/motion.py", "bin_daemon.chamber.crop"),
    "explain": ("bin_daemon/explain/captions.py", "bin_daemon.gpio.outputs"),
    "pure": ("bin_daemon/sorting/actions.py", "threading"),
    "no-network": ("bin_daemon/store/database.py", "socket"),
    "hardware": ("bin_daemon/daemon/failures.py", "gpiozero"),
    "arguments": ("bin_daemon/daemon/lock.py", "argparse"),
    "workshop": ("bin_daemon/model/package.py", "export.errors"),
    "workshop-layers": ("export/errors.py", "export.networks.folding"),
    "circles": ("bin_daemon/core/errors.py", "bin_daemon.core.images"),
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the linter tells of each contract, by its name, where every one is broken once."""
    tree = tmp_path_factory.mktemp("tree")
    shutil.copy(REPOSITORY / "setup.cfg", tree)
    for package in ("bin_daemon", "export"):
        shutil.copytree(REPOSITORY / package, tree / package, ignore=_no_pictures)
    for file, imported in BREACHES.values():
        with (tree / file).open("a") as module:
            module.write(f"\n\ndef _breach() -> None:\n    import {imported}\n")
    linter = Path(sys.executable).with_name("lint-imports")
    report = subprocess.run(
        [linter, "--no-cache"],
        cwd=tree,
        env={"PYTHONPATH": str(tree), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.returncode == 1, report.stdout + report.stderr
    summary, _, details = report.stdout.partition("Broken contracts\n")
    broken = re.findall(r"^(.+) BROKEN", summary, re.MULTILINE)
    _, *sections = re.split(r"\n(.+)\n-{5,}\n", details)
    told = dict(zip(sections[::2], sections[1::2], strict=True))
    return {name: told[name] for name in broken}


def _no_pictures(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in {"runs", "sets", "reports", "__pycache__"}}


def contracts() -> dict[str, str]:
    """The contracts of setup.cfg: id to name."""
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    heads = [section for section in setup.sections() if section.startswith("importlinter:")]
    return {head.rpartition(":")[2]: setup[head]["name"] for head in heads}


def test_every_contract_has_its_breach_here():
    assert set(contracts()) == set(BREACHES)


@pytest.mark.parametrize("contract", BREACHES)
def test_a_contract_fails_where_a_module_breaks_it(contract, verdicts):
    file, imported = BREACHES[contract]

    verdict = verdicts[contracts()[contract]]

    if contract == "circles":  # names the package and its siblings, not whole modules
        assert "No cycles are allowed in bin_daemon.core." in verdict
    else:
        assert f"{file.removesuffix('.py').replace('/', '.')} -> {imported}" in verdict
