"""The chamber, its lamp and the camera: what is the same in every still.

The floor is z = 0 and its middle the origin; x runs right in the picture, y away from the camera, z
up. The lamp is two LED strips behind diffusers under the rim, the left one stronger, so that things
throw a soft shadow to the right. A hand comes over the rear wall, which is why it enters at the top
of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.materials import coated, linear
from export.rendering.mesh import sheet, slab
from export.rendering.parts import Part, shapes
from export.rendering.texture import done, plain, worn_plastic

SIZE = (640, 480)
FLOOR_M = (0.41, 0.325)
WALL_M = 0.24
CAMERA = {"origin": [0.0, -0.095, 0.345], "target": [0.0, 0.022, 0.0], "fov": 60.0}
FLOOR_RGB = (112, 124, 138)
WALL_RGB = (134, 143, 152)


@dataclass(frozen=True, slots=True)
class LampLevels:
    """Brightness of the lamps; 1 is normal.

    strips: in the chamber. room: what falls in from outside. tint: colour shift per channel.
    """

    strips: float = 1.0
    room: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


NORMAL = LampLevels()
DIM = LampLevels(0.7, 0.75, (1.05, 1.0, 0.91))
BRIGHT = LampLevels(1.25, 1.1, (0.97, 1.0, 1.04))
OFF = LampLevels(0.0, 0.08, (1.0, 0.95, 0.85))


@cache
def _floor_texture() -> Array:
    """Scratched floor with the seam of the flap, two screws and a warning stripe's worn remains."""
    rng = np.random.default_rng(11)
    h, w = 1184, 1472
    img = worn_plastic(h, w, rng, FLOOR_RGB)
    y = int(0.54 * h)
    img[y - 2 : y + 3] *= 0.42
    img[y + 3 : y + 5] *= 1.12
    for x in (0.2, 0.8):
        at = (int(x * w), y + 60)
        cv2.circle(img, at, 15, (86, 92, 99), -1, cv2.LINE_AA)
        cv2.circle(img, at, 15, (66, 72, 80), 3, cv2.LINE_AA)
        cv2.line(img, (at[0] - 8, at[1] - 4), (at[0] + 8, at[1] + 4), (50, 54, 60), 4, cv2.LINE_AA)
    return done(img)


def _chamber() -> list[Part]:
    """Floor, four walls with a ledge, and dark rubber where floor and walls meet."""
    w, d = FLOOR_M
    rng = np.random.default_rng(12)
    wall = coated(done(worn_plastic(512, 1024, rng, WALL_RGB, 90)), 0.5, 0.3)
    rubber = coated(done(plain(4, 4, (52, 55, 60))), 0.6, 0.3)
    parts = [Part(sheet(w, d, 2, 2), coated(_floor_texture(), 0.5, 0.25))]
    thick = 0.012
    for x in (-1, 1):
        parts.append(
            Part(slab(thick, d + 2 * thick, WALL_M).moved(None, (x * (w + thick) / 2, 0, 0)), wall)
        )
        parts.append(Part(slab(0.006, d, 0.007).moved(None, (x * (w / 2 - 0.003), 0, 0)), rubber))
    for y, tall in ((1, 0.15), (-1, 0.17)):
        parts.append(Part(slab(w, thick, tall).moved(None, (0, y * (d + thick) / 2, 0)), wall))
        parts.append(
            Part(slab(w - 0.012, 0.006, 0.007).moved(None, (0, y * (d / 2 - 0.003), 0)), rubber)
        )
    return parts


def _lights(lamp: LampLevels) -> dict[str, Any]:
    """Two strips that face the floor, and the room's weak light from above."""
    import mitsuba as mi

    tf = mi.ScalarTransform4f
    out: dict[str, Any] = {}
    tint = np.array(lamp.tint)
    for name, x, power in (("left", -0.17, 7.9), ("right", 0.17, 2.2)):
        if lamp.strips <= 0:
            break
        place = tf().look_at(origin=[x, 0.02, 0.30], target=[-0.1 * x, 0.0, 0.0], up=[0, 1, 0])
        out[f"strip_{name}"] = {
            "type": "rectangle",
            "to_world": place @ tf().scale([0.035, 0.15, 1]),
            "bsdf": {"type": "diffuse", "reflectance": {"type": "rgb", "value": 0.5}},
            "emitter": {
                "type": "area",
                "radiance": {
                    "type": "rgb",
                    "value": (tint * [0.98, 1.0, 1.03] * power * lamp.strips).tolist(),
                },
            },
        }
    out["room"] = {
        "type": "constant",
        "radiance": {"type": "rgb", "value": (tint * [1.0, 0.97, 0.9] * 0.16 * lamp.room).tolist()},
    }
    return out


def camera(samples: int, rfilter: str = "gaussian") -> dict[str, Any]:
    """The one camera."""
    import mitsuba as mi

    return {
        "type": "perspective",
        "fov": CAMERA["fov"],
        "fov_axis": "x",
        "to_world": mi.ScalarTransform4f().look_at(CAMERA["origin"], CAMERA["target"], [0, 1, 0]),
        "film": {
            "type": "hdrfilm", "width": SIZE[0], "height": SIZE[1], "pixel_format": "rgb",
            "component_format": "float32", "rfilter": {"type": rfilter},
        },
        "sampler": {"type": "independent", "sample_count": samples},
    }  # fmt: skip


def whole(parts: Sequence[Part], lamp: LampLevels, samples: int, folder: Path) -> dict[str, Any]:
    """The scene with the chamber, its light and `parts` in it."""
    return {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": 14, "rr_depth": 6},
        "sensor": camera(samples),
        **_lights(lamp),
        **shapes(_chamber(), folder, "chamber"),
        **shapes(parts, folder, "part"),
    }


def alone(parts: Sequence[Part], folder: Path) -> dict[str, Any]:
    """The parts with nothing around them, seen as depth, which is zero beside them."""
    opaque = {"type": "diffuse", "reflectance": {"type": "rgb", "value": linear((128, 128, 128))}}
    return {
        "type": "scene",
        "integrator": {"type": "aov", "aovs": "depth:depth"},
        "sensor": camera(16, "box"),
        **shapes([Part(p.mesh, opaque) for p in parts], folder, "part"),
    }
