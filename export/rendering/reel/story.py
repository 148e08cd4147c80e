"""What the replay camera plays: scripts, and the truth about the items.

The scripts are `script.yaml` and `short.yaml`, the truth is `truth.yaml`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import yaml

from export.rendering.reel.items import BY_NAME, ITEMS
from export.rendering.reel.render import box_of
from export.rendering.reel.scene import SIZE
from export.rendering.reel.stills import DIMMED, stills

Step = dict[str, Any]

HEAD = """\
# {what}
# Written by `python -m export reel`; a step is played for `frames` pictures, `label` is what lies
# there (null: no single class is right, so it belongs to residual).
fps: 10
size: [{w}, {h}]
seed: 1
noise: 2.0          # sensor noise, sigma in grey levels
jitter_px: 0.3      # camera shake, sigma in pixels
steps:
"""

# the two items that a hand is seen to bring are already on the floor when it leaves
BROUGHT: dict[str, list[Step]] = {
    "metal_can": [
        {"hand": "hand_1.jpg", "frames": 2},
        {"hand": "hand_2.jpg", "frames": 2},
        {"hand": "hand_3.jpg", "frames": 3},
        {"hand": "hand_5.jpg", "frames": 3},
    ],
    "paper_crumpled": [
        {"hand": "hand_1.jpg", "frames": 2},
        {"hand": "hand_4.jpg", "frames": 4},
        {"hand": "hand_6.jpg", "frames": 3},
    ],
}
# a hand shows and is gone before these come sliding in
ANNOUNCED = ("trash_wrapper", "glass_bottle", "plastic_tub")


def _item(name: str, empty: str = "empty.jpg", prefix: str = "") -> list[Step]:
    """An item comes in, lies there, and is gone."""
    file = f"items/{prefix}{name}.jpg"
    steps = [] if prefix else list(BROUGHT.get(name, []))
    if not steps:
        if name in ANNOUNCED:
            steps.append({"hand": "hand_1.jpg", "frames": 3})
        steps.append({"enter": file, "frames": 4 if name in ANNOUNCED else 3})
    steps.append({"hold": file, "frames": 14, "label": BY_NAME[name].label})
    return [*steps, {"empty": empty, "frames": 8}]


def script() -> list[Step]:
    """The whole story, about a minute.

    Nine items, the lamp goes down and up, nine more, two at once, a covered lens.
    """
    names = [i.name for i in ITEMS]
    steps: list[Step] = [{"empty": "empty.jpg", "frames": 15}]
    for name in names[:9]:
        steps += _item(name)
    steps.append({"light": "empty_dim.jpg", "frames": 20})
    for name in DIMMED:
        steps += _item(name, "empty_dim.jpg", "dim_")
    steps += [{"light": "empty.jpg", "frames": 20}, {"empty": "empty.jpg", "frames": 6}]
    for name in names[9:]:
        steps += _item(name)
    steps += [
        {"enter": "two_items.jpg", "frames": 4},
        {"hold": "two_items.jpg", "frames": 14, "label": None},
        {"empty": "empty.jpg", "frames": 8},
        {"blocked": "covered.jpg", "frames": 12},
        {"empty": "empty.jpg", "frames": 10},
        {"light": "empty_bright.jpg", "frames": 15},
        {"light": "empty.jpg", "frames": 15},
    ]
    return steps


def short() -> list[Step]:
    """Four items, for tests."""
    steps: list[Step] = [{"empty": "empty.jpg", "frames": 15}]
    for name in ("metal_can", "cardboard_box", "plastic_bottle", "paper_flat"):
        steps += _item(name)
    return steps


def write_scripts(out: Path) -> None:
    """Write both scripts, one step on a line."""
    for name, what, steps in (
        ("script.yaml", "the reel: what the replay camera plays", script()),
        ("short.yaml", "four items of the reel, for tests", short()),
    ):
        text = HEAD.format(what=what, w=SIZE[0], h=SIZE[1])
        for step in steps:
            text += "  - " + yaml.safe_dump(
                step, default_flow_style=True, sort_keys=False, width=200
            )
        (out / name).write_text(text)


def write_truth(out: Path) -> None:
    """Write what is in each item picture, from the masks on disk.

    So a partial render keeps the rest.
    """
    rows = []
    for still in stills():
        for k, item in enumerate(still.shown):
            mask = mask_file(still.name, k, len(still.shown))
            pixels = cv2.imread(str(out / mask), cv2.IMREAD_GRAYSCALE)
            if pixels is None:
                continue
            row = {
                "file": f"{still.name}.jpg",
                "class": item.label,
                "what": item.what,
                "mask": mask,
            }
            rows.append({**row, "box": box_of(pixels)})
    head = "# what lies in each picture; box is x, y, w, h in pixels, mask is 255 on the item\n"
    body = "".join(
        "  - " + yaml.safe_dump(r, default_flow_style=True, sort_keys=False, width=300)
        for r in rows
    )
    (out / "truth.yaml").write_text(head + "items:\n" + body)


def mask_file(still: str, k: int, of: int) -> str:
    """Name of the mask of the `k`-th of `of` items in a picture."""
    stem = still.rsplit("/", 1)[-1]
    return f"masks/{stem}.png" if of == 1 else f"masks/{stem}_{k + 1}.png"
