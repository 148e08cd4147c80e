"""A real bin's chamber: posed as time, each item is one event, and nothing else is.

Needs the pictures of `chamber_a` beside the checkout; skipped where they are not there.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from bin_daemon.core.images import median_empty

DATA = Path(__file__).parents[3] / "shared" / "data" / "chamber_a"
EVERY = 4  # of the items of a session, to keep the test short


def sessions() -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    if (DATA / "labels.csv").exists():
        with (DATA / "labels.csv").open() as table:
            for row in csv.DictReader(table):
                found[row["file"].split("/")[0]].append(row)
    return found


def script_of(rows: list[dict[str, str]], folder: Path, every: int) -> tuple[Path, int]:
    """A scene of a session: its empty view, held items, moving and hand frames in between."""
    import cv2

    empties = [DATA / row["file"] for row in rows if row["item"] == "empty"]
    items = [row for row in rows if row["item"] != "empty" and not row["flag"]][::every]
    hands = [row for row in rows if row["flag"]]
    if empties:
        empty = empties[0]
    else:
        empty = folder / "empty.png"
        view = median_empty([DATA / row["file"] for row in rows], 480, 480)
        cv2.imwrite(str(empty), cv2.cvtColor(view, cv2.COLOR_RGB2BGR))
    rest = {"empty": str(empty), "frames": 8}
    steps: list[dict] = [{**rest, "frames": 15}]
    for number, row in enumerate(items):
        picture = str(DATA / row["file"])
        if number % 3 == 0:
            steps.append({"enter": picture, "frames": 4})
        steps += [{"hold": picture, "frames": 12, "label": row["class"]}, rest]
        if hands and number % 7 == 0:
            hand = hands[number // 7 % len(hands)]
            steps += [{"hand": str(DATA / hand["file"]), "frames": 6}, rest]
    script = {"fps": 10, "size": [480, 480], "noise": 2.0, "jitter_px": 0.3, "seed": 7}
    path = folder / "script.yaml"
    path.write_text(yaml.safe_dump({**script, "steps": steps}))
    return path, len(items)


@pytest.mark.skipif(not DATA.is_dir(), reason="skipped: no data")
@pytest.mark.parametrize("session", sorted(sessions()) or ["none"])
def test_each_item_of_a_real_chamber_is_exactly_one_event(cli, tmp_path, session):
    script, items = script_of(sessions()[session], tmp_path, EVERY)
    done = cli("replay", script, "--fast", "--json")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(events) == items
    assert all(event["outcome"] in ("sorted", "rejected") for event in events)
