"""The public face of version 0.2 and of this one are the same, but for what is listed here.

`python tests/e2e/public_face.py` shows the face of a checkout, and with `--sentences` the sentences
for people that changed, which may.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from blackbox import FORMER, MOSQUITTO, REPOSITORY, NoHistoryError, check_out
from public_face import Face

# Modules of the workshop that were run by themselves, and the steps that they are now.
MOVED = {
    "export.groups": "groups",
    "export.masks": "masks",
    "export.reel": "reel",
    "export.studio": "studio",
    "export.teach_figures": "teach-figures",
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> tuple[dict[str, Any], dict[str, Any]]:
    """The former one and the present one."""
    if MOSQUITTO is None:
        pytest.skip("needs mosquitto")
    folder = tmp_path_factory.mktemp("faces")
    try:
        former = check_out(FORMER, folder / "former")
    except NoHistoryError as error:
        pytest.skip(str(error))
    with ThreadPoolExecutor(2) as pool:
        running = [
            pool.submit(Face(sys.executable, root, folder / name).document)
            for name, root in (("one", former), ("two", REPOSITORY))
        ]
        one, two = (each.result() for each in running)
    return one, two


def differences(former: Any, present: Any, place: str = "") -> list[str]:
    """A line for each place where two JSON values differ."""
    if isinstance(former, dict) and isinstance(present, dict):
        return [
            line
            for key in sorted(former.keys() | present.keys())
            for line in differences(
                former.get(key, "(nothing)"), present.get(key, "(nothing)"), f"{place}/{key}"
            )
        ]
    if isinstance(former, list) and isinstance(present, list) and len(former) == len(present):
        return [
            line
            for number, pair in enumerate(zip(former, present, strict=True))
            for line in differences(*pair, f"{place}/{number}")
        ]
    if former == present:
        return []
    return [f"{place}: {json.dumps(former)[:300]} -> {json.dumps(present)[:300]}"]


def workshop_differences(former: dict[str, Any], present: dict[str, Any]) -> list[str]:
    """A line for each step that is gone or changed; more steps there may be."""
    steps = present["export"]["commands"]
    found = differences(former["export"]["options"], present["export"]["options"], "export")
    for name, step in former["export"]["commands"].items():
        found += differences(step, steps.get(name), f"export {name}")
    for module, command in former.items():
        if module != "export":
            now = present.get(module) or steps.get(MOVED[module])
            found += differences(unnamed(command), now and unnamed(now), module)
    return found


def unnamed(command: dict[str, Any]) -> dict[str, Any]:
    """A command without what it is called, which changes as it becomes a step."""
    return {key: value for key, value in command.items() if key != "prog"}


# One test: workers that shared several would each look at both versions.
def test_the_public_face_is_that_of_version_0_2(faces):
    former, present = faces
    found = workshop_differences(former.pop("workshop"), present.pop("workshop"))
    del former["sentences"], present["sentences"]
    found += differences(former, present)
    assert not found, "\n".join(found)
    # What the comparison rests on was seen.
    assert len(present["demo"]["the reel"]["events"]) == 21
    alerts = {t.rpartition("/")[2] for t in present["demo"]["trouble"]["topics"] if "/alert/" in t}
    assert {"blocked", "held", "jam", "unrest"} <= alerts
    assert not [n for n, call in present["exit_codes"]["calls"].items() if call["traceback"]]
