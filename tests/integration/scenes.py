"""A drawn chamber and drawn items, and the configuration of a bin that looks at them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from bin_daemon.config.load import validate
from bin_daemon.config.sections import Config

EMPTY = {"empty": "empty.png", "frames": 8}


def chamber(level: float = 1.0) -> np.ndarray:
    """A lit floor with a seam and a little texture, uint8 (480, 640, 3)."""
    rows, columns = np.mgrid[0:480, 0:640]
    floor = 120 + 25 * np.cos((columns - 320) / 300) + 10 * np.sin(rows / 90)
    floor += np.random.default_rng(3).normal(0, 3, floor.shape)
    picture = np.dstack([floor * 0.9, floor, floor * 1.05])
    picture[236:240] *= 0.8
    return (picture * level).clip(0, 255).astype(np.uint8)


def with_box(colour: tuple[int, int, int], x: int = 240, y: int = 170) -> np.ndarray:
    """The chamber with a striped box in it, x and y of its corner."""
    picture = chamber()
    cv2.rectangle(picture, (x, y), (x + 150, y + 110), colour, -1)
    for stripe in range(x + 15, x + 150, 30):
        cv2.line(picture, (stripe, y + 5), (stripe, y + 105), (250, 250, 250), 4)
    return picture


def save_stills(folder: Path) -> None:
    """`empty.png`, `red.png`, `blue.png`, `two.png`, `dark.png` and `arm.png`."""
    stills = {
        "empty": chamber(),
        "red": with_box((190, 30, 40)),
        "blue": with_box((30, 50, 190), 130, 250),
        "dark": chamber(0.01),
    }
    stills["two"] = stills["red"].copy()
    stills["two"][300:430, 40:200] = with_box((20, 160, 60), 45, 310)[300:430, 40:200]
    stills["arm"] = chamber()
    cv2.rectangle(stills["arm"], (280, 0), (370, 300), (215, 160, 130), -1)
    for name, picture in stills.items():
        cv2.imwrite(str(folder / f"{name}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def write_script(folder: Path, *steps: dict[str, Any]) -> Path:
    """A script of these steps, with its stills, after an empty chamber to learn from."""
    save_stills(folder)
    script = {"fps": 10, "size": [640, 480], "noise": 1.5, "seed": 4}
    script["steps"] = [{"empty": "empty.png", "frames": 15}, *steps]
    path = folder / "script.yaml"
    path.write_text(yaml.safe_dump(script))
    return path


def hold(still: str, **more: Any) -> dict[str, Any]:
    """An item at rest, until it is dropped."""
    return {"hold": f"{still}.png", "frames": 12, **more}


def raw_config(source: Path, **sections: Any) -> dict[str, Any]:
    """A one-servo bin that looks at `source`; every class of the model has a route."""
    return {
        "version": 2,
        "bin": {"id": "b1"},
        "camera": {"kind": "replay", "source": str(source)},
        "chute": {
            "pins": "mock",
            "servos": {"flap": {"pin": 12, "speed_deg_s": 300}},
            "poses": {"home": {"flap": 0}, "left": {"flap": -60}, "right": {"flap": 60}},
        },
        "routes": {
            "recyclables": {
                "takes": ["cardboard", "glass", "metal", "paper", "plastic"],
                "steps": [{"pose": "left", "hold_s": 0.3}],
            },
            "residual": {"takes": ["trash"], "steps": [{"pose": "right", "hold_s": 0.3}]},
        },
        **sections,
    }


def config(source: Path, **sections: Any) -> Config:
    """See `raw_config`."""
    return validate(Config, raw_config(source, **sections))
