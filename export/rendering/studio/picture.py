"""One picture: an item posed in a chamber, rendered with and without it, and its true mask.

Parts and a setting flow in; a picture, an empty picture and a mask flow out. The item's meshes are
written for Mitsuba to a folder in memory and nowhere else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from export.errors import ExportError
from export.rendering.materials import Bsdf, coated, matte, metal, printed_metal
from export.rendering.mesh import rotation, sheet
from export.rendering.parts import Part, laid, lying, shapes
from export.rendering.studio.chance import Rng
from export.rendering.studio.clear import hazy, print_on_clear, solid_glass, thin_clear
from export.rendering.studio.develop import developed, film_for, merged
from export.rendering.studio.setting import CameraView, Setting

EMPTY_SIDE = 64
# Rays for a quarter of a pixel in one pass. Their number, the film's size and the number of shapes
# are constants of the compiled kernel, so quality is a matter of passes alone.
_RAYS = 2
_SHAPES = 44
_RESERVE = 30
_DEPTH = 10  # surfaces that a path may meet: a bottle's wall is met four times
_SHOWN = (0.05, 0.8)  # share of the picture that an item may cover
_UNCUT = 0.55  # share of an item that must be within the picture
_VISIBLE = (13.0, 30.0)  # grey levels, mean and 90th percentile, by which an item changes the view


@dataclass(frozen=True, slots=True)
class StudioPicture:
    """A picture of an item, its chamber and its mask.

    picture: uint8 (side, side, 3). empty: the chamber without it, (64, 64, 3). mask: (side, side),
    0 and 255.
    """

    picture: Array
    empty: Array
    mask: Array


def posed(parts: Sequence[Part], pose: str, rng: Rng) -> list[Part]:
    """The parts, made standing about the z axis, on the floor as `pose` says, turned at random.

    parts: body first, which decides how the item comes to rest. pose: "standing" or "as made",
    "upturned", "lying", "leaning" at the wall at +y, or "settled" (as made, but rolled until it
    rests). rng: of roll and turn.
    """
    turn = float(rng.uniform(0, 360))
    if pose == "lying":
        return laid(lying(parts, float(rng.uniform(0, 360))), (0, 0), turn)
    if pose == "leaning":
        tilt = rotation(0, 0, float(rng.normal(0, 15))) @ rotation(-float(rng.uniform(15, 55)))
        roll = rotation(0, 0, turn)
        leant = [Part(p.mesh.moved(tilt @ roll), p.bsdf) for p in parts]
        return laid(leant, (0, 0), 0.0, settle=False)
    if pose == "upturned":
        parts = [Part(p.mesh.moved(rotation(180)), p.bsdf) for p in parts]
    return laid(parts, (0, 0), turn, settle=pose == "settled")


def extent(parts: Sequence[Part]) -> tuple[Array, Array]:
    """Corners of the parts' bounding box."""
    points = np.concatenate([p.mesh.v for p in parts])
    return points.min(axis=0), points.max(axis=0)


def _sensor(view: CameraView, side: int) -> dict[str, Any]:
    import mitsuba as mi

    # looking straight down, "up" in the picture is away from the viewer
    look = mi.ScalarTransform4f().look_at(view.origin.tolist(), view.target.tolist(), [0, 1, 0.001])
    return {
        "type": "perspective",
        "fov": view.fov_deg,
        "to_world": look,
        "near_clip": 0.005,
        "film": {
            "type": "hdrfilm", "width": 2 * side, "height": 2 * side, "pixel_format": "rgb",
            "component_format": "float32", "rfilter": {"type": "box"},
        },
        "sampler": {"type": "independent", "sample_count": _RAYS},
    }  # fmt: skip


def _one_of_each() -> list[Bsdf]:
    """Every kind of material.

    Dr.Jit compiles a kernel for the set of materials in a scene; with all of them in every scene,
    one kernel serves every picture.
    """
    image = np.full((4, 4, 3), 128, np.uint8)
    grey = np.full((4, 4), 128, np.uint8)
    rgb = (128, 128, 128)
    return [
        matte(rgb), matte(image), coated(rgb), coated(image), metal(),
        solid_glass((1, 1, 1)),
        printed_metal(image, grey), printed_metal(image, 0.5), printed_metal(rgb, 0.5),
        thin_clear((1, 1, 1)), hazy((1, 1, 1), 0.5, rgb), print_on_clear(image, grey),
    ]  # fmt: skip


def _loaded(what: dict[str, Any]) -> Any:
    """What Mitsuba makes of a dictionary.

    Identical parts are not merged, which would change the number of objects and with it the kernel.
    """
    import mitsuba as mi

    return mi.load_dict(what, parallel=False, optimize=False)


def reserved(folder: Path) -> list[Any]:
    """Objects to be kept for as long as pictures are made.

    A kernel also depends on the highest number that an object has ever been given. These take high
    numbers and leave lower ones free, so that scenes of any make stay below them.
    """
    specks = shapes(_padded([], 12), folder, "reserve")
    made = [_loaded(value) for _ in range(_RESERVE) for value in specks.values()]
    made += [_loaded({"type": "constant"}) for _ in range(_RESERVE)]
    return [*made[-_RESERVE - 12 : -_RESERVE], made[-1]]


def _padded(parts: Sequence[Part], count: int) -> list[Part]:
    """The parts and specks far below the floor, `count` in all, with every kind of material."""
    kinds = _one_of_each()
    if len(parts) + len(kinds) > count:
        raise ExportError(
            f"a scene of {len(parts)} parts: at most {count - len(kinds)} are possible"
        )
    specks = [
        Part(sheet(0.001, 0.001, 2, 2).moved(None, (0, 0, -1 - 0.01 * k)), kinds[k % len(kinds)])
        for k in range(count - len(parts))
    ]
    return [*parts, *specks]


def _lit(where: Setting, folder: Path) -> dict[str, Any]:
    """The chamber's lamps and its fill light."""
    out: dict[str, Any] = {
        "fill": {"type": "constant", "radiance": {"type": "rgb", "value": where.fill.tolist()}}
    }
    dark = matte((128, 128, 128))
    for k, lamp in enumerate(where.lamps):
        shape = shapes([Part(lamp.mesh, dark)], folder, f"lamp{k}")[f"lamp{k}_0"]
        light = {"type": "rgb", "value": lamp.radiance.tolist()}
        out[f"lamp{k}"] = {**shape, "emitter": {"type": "area", "radiance": light}}
    return out


def _rendered(scene: Any, sensor: Any, passes: int, seed: int) -> Array:
    """Radiance (passes, 2 side, 2 side, 3)."""
    import mitsuba as mi

    made = [mi.render(scene, sensor=sensor, spp=_RAYS, seed=seed + k) for k in range(passes)]
    return np.stack([np.array(m)[..., :3] for m in made])


def _mask(full: Any, bare: Any, sensor: Any) -> Array:
    """Where the item is seen: where `full` is nearer than `bare` along the same rays; 0 and 255."""
    import mitsuba as mi

    integrator = _loaded({"type": "aov", "aovs": "depth:depth"})
    with_item, without = (
        np.array(mi.render(s, integrator=integrator, sensor=sensor, spp=1, seed=0))[..., -1]
        for s in (full, bare)
    )
    seen = ((with_item < without - 1e-4) * 255).astype(np.uint8)
    half = (seen.shape[1] // 2, seen.shape[0] // 2)
    return ((cv2.resize(seen, half, interpolation=cv2.INTER_AREA) > 127) * 255).astype(np.uint8)


def visible(picture: Array, empty: Array, mask: Array) -> bool:
    """Whether an eye could find the item.

    A clear cup in front of a plain wall can be all but invisible, and would teach a network that
    walls are plastic.
    """
    sides = empty.shape[1::-1]
    seen = cv2.resize(picture, sides, interpolation=cv2.INTER_AREA).astype(np.float32)
    change = np.abs(seen - cv2.GaussianBlur(empty, (0, 0), 0.8)).mean(axis=2)
    within = change[cv2.resize(mask, sides, interpolation=cv2.INTER_AREA) > 127]
    return bool(
        len(within) and within.mean() >= _VISIBLE[0] and np.percentile(within, 90) >= _VISIBLE[1]
    )


def shot(
    parts: Sequence[Part], where: Setting, side: int, passes: int, clear: bool, rng: Rng
) -> StudioPicture | None:
    """The item in its chamber.

    parts: the item as posed. where: the chamber. side: of the picture in pixels. passes: of 8 rays
    for each pixel, two or more. clear: lamps shine through the item, which takes another, slower
    integrator. rng: of the rays, the camera's error and noise.

    Returns the picture, or None where too little or too much of the item is to be seen.
    """
    points = np.concatenate([p.mesh.v for p in parts])
    if where.view.framed(points) < _UNCUT:
        return None
    seed = int(rng.integers(2**30))
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        folder = Path(name)
        item = {k: _loaded(v) for k, v in shapes(parts, folder, "item").items()}
        rest = _padded(where.parts, _SHAPES - len(parts))
        integrator = "volpath" if clear else "path"
        base: dict[str, Any] = {
            "type": "scene",
            "integrator": {"type": integrator, "max_depth": _DEPTH, "rr_depth": 3},
        }
        for key, value in {**_lit(where, folder), **shapes(rest, folder, "wall")}.items():
            base[key] = _loaded(value)
        spare = shapes(_padded([], len(parts) + 12)[12:], folder, "spare")
        spare = {k: _loaded(v) for k, v in spare.items()}
    sensor = _loaded(_sensor(where.view, side))
    full, bare = _loaded({**base, **item}), _loaded({**base, **spare})
    mask = _mask(full, bare, sensor)
    if not _SHOWN[0] < (mask > 0).mean() < _SHOWN[1]:
        return None
    light, error = merged(_rendered(full, sensor, passes, seed))
    film = film_for(light, rng)
    small = _loaded(_sensor(where.view, EMPTY_SIDE))
    empty, _ = merged(_rendered(bare, small, 1, seed))
    made = StudioPicture(
        developed(light, error, film, rng), developed(empty, None, film, rng), mask
    )
    return made if visible(made.picture, made.empty, mask) else None
