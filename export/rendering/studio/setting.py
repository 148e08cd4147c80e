"""A random chamber around an item: floor, walls, rails, lamps, and the camera that looks in.

The item's extent flows in, parts, lamps and a camera flow out. The
chamber is built around the item, so an item always lies inside, near a wall or far from it; the
wall towards a camera outside is left low. z is up, the item lies about the origin, metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.materials import coated, metal
from export.rendering.mesh import Mesh, sheet, slab
from export.rendering.parts import Part
from export.rendering.studio.chance import Rng, chosen, colour, happens
from export.rendering.studio.surfaces import surface

LAMPS = 4


@dataclass(frozen=True, slots=True)
class CameraView:
    """A pinhole camera: where it stands, what it looks at (metres), its field of view (degrees)."""

    origin: Array
    target: Array
    fov_deg: float

    def framed(self, points: Array) -> float:
        """Share of the points (n, 3) that lie within the square picture."""
        ahead = (self.target - self.origin) / np.linalg.norm(self.target - self.origin)
        right = np.cross(ahead, [0.0, 1.0, 0.001])
        right /= np.linalg.norm(right)
        to = points - self.origin
        reach = (to @ ahead) * np.tan(np.radians(self.fov_deg / 2))
        aside = np.maximum(np.abs(to @ right), np.abs(to @ np.cross(ahead, right)))
        return float((aside < reach).mean())

    def sees(self, point: Array, spare: float = 1.1) -> bool:
        """Whether a point is in front of the camera and within `spare` times its view's cone."""
        ahead = (self.target - self.origin) / np.linalg.norm(self.target - self.origin)
        to = point - self.origin
        along = float(to @ ahead)
        aside = float(np.linalg.norm(to - along * ahead))
        return along > 0 and aside < along * np.sqrt(2) * spare * np.tan(
            np.radians(self.fov_deg / 2)
        )


@dataclass(frozen=True, slots=True)
class Lamp:
    """A surface that shines: its mesh, and its radiance in linear RGB (3,)."""

    mesh: Mesh
    radiance: Array


@dataclass(frozen=True, slots=True)
class Setting:
    """A chamber without its item: solid parts, lamps, linear RGB of the fill light, camera."""

    parts: list[Part]
    lamps: list[Lamp]
    fill: Array
    view: CameraView


def _view(low: Array, high: Array, rng: Rng) -> CameraView:
    """A camera that frames the item: from straight above to 40 degrees over the floor."""
    middle, extent = (low + high) / 2, high - low
    radius = 0.5 * float(np.sort(extent)[1:] @ np.array([0.45, 0.75]))
    rise = np.radians(rng.uniform(78, 90) if happens(rng, 0.35) else rng.uniform(40, 80))
    turn = np.radians(rng.normal(0, 7) if happens(rng, 0.7) else rng.uniform(0, 360))
    fov = float(rng.uniform(32, 72))
    share = float(rng.uniform(0.62, 1.1))
    distance = max(radius / np.tan(np.radians(fov / 2)) / share, radius + 0.06)
    back = np.array([-np.sin(turn) * np.cos(rise), -np.cos(turn) * np.cos(rise), np.sin(rise)])
    # one in seven is cut by the border, as where a thing lies at the edge of the floor
    aside = rng.uniform(0.6, 0.95) if happens(rng, 0.15) else rng.uniform(0, 0.3)
    angle = rng.uniform(0, 2 * np.pi)
    target = middle + radius * aside * np.array([np.cos(angle), np.sin(angle), 0])
    return CameraView(target + back * distance, target, fov)


def _walls(low: Array, high: Array, view: CameraView, rng: Rng, against: bool) -> list[Part]:
    """Floor, four walls and what is fixed to them; `against`: the item leans at the far wall."""
    room = rng.uniform(0.01, 0.28, 4)
    if against:
        room[3] = 0.0005
    x0, y0 = low[:2] - room[:2]
    x1, y1 = high[:2] + room[2:]
    wide, deep, tall, thick = x1 - x0, y1 - y0, float(rng.uniform(0.10, 0.4)), 0.01
    middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    wall = surface(rng)
    other = surface(rng) if happens(rng, 0.3) else wall
    floor = surface(rng) if happens(rng, 0.7) else wall
    parts = [Part(sheet(wide, deep, 2, 2).moved(None, (*middle, 0)), floor)]
    camera = view.origin
    for axis, side, edge in ((0, -1, x0), (0, 1, x1), (1, -1, y0), (1, 1, y1)):
        outside = side * (camera[axis] - edge) > -0.03
        height = float(rng.uniform(0.004, 0.02)) if outside else tall
        at = middle.copy()
        at[axis] = edge + side * thick / 2
        across, along = (thick, deep + 2 * thick) if axis == 0 else (wide, thick)
        side_wall = slab(across, along, height).moved(None, (*at, 0))
        parts.append(Part(side_wall, other if axis == 1 else wall))
    # outside of the chamber there is its housing, not a void
    parts.append(Part(sheet(6, 6, 2, 2).moved(None, (0, 0, -0.05)), coated((60, 60, 62), 0.6, 0.2)))
    if happens(rng, 0.45):
        parts += _rails(middle, wide, deep, tall, rng)
    return parts


def _rails(middle: Array, wide: float, deep: float, tall: float, rng: Rng) -> list[Part]:
    """Bars or ledges along the walls, and dark rubber where floor and walls meet."""
    kind = chosen(rng, {"rubber": 0.4, "rail": 0.35, "ledge": 0.25})
    if kind == "rubber":
        size, height, what = 0.006, 0.0, coated((48, 50, 54), 0.6, 0.3)
    else:
        size, height = float(rng.uniform(0.006, 0.02)), float(rng.uniform(0.2, 0.8)) * tall
        rgb = colour(rng, (0, 0.5), (0.1, 0.9))
        what = metal(0.25) if happens(rng, 0.4) else coated(rgb, 0.35)
    thick = size if kind != "ledge" else 0.004
    bars = [
        slab(wide, size, thick).moved(None, (middle[0], middle[1] + deep / 2 - size / 2, height)),
        slab(size, deep, thick).moved(None, (middle[0] - wide / 2 + size / 2, middle[1], height)),
        slab(size, deep, thick).moved(None, (middle[0] + wide / 2 - size / 2, middle[1], height)),
    ]
    return [Part(bar, what) for bar in bars]


def _lamp_colour(rng: Rng) -> Array:
    """Linear RGB of a lamp: warm to cool white, at times a coloured LED's tint."""
    warm = rng.uniform(-1, 1)
    tint = np.array([1 + 0.28 * warm, 1 + 0.04 * warm, 1 - 0.34 * warm])
    if happens(rng, 0.15):
        tint *= 0.55 + 0.45 * np.asarray(colour(rng, (0.2, 0.7), (1, 1))) / 255
    return np.asarray(tint / tint.mean())


def _panel(at: Array, aim: Array, size: tuple[float, float]) -> Mesh:
    """A rectangle of half sides `size` at `at` that faces `aim`."""
    ahead = (aim - at) / np.linalg.norm(aim - at)
    along = np.array([0.0, 1.0, 0.0]) if abs(ahead[1]) < 0.95 else np.array([1.0, 0.0, 0.0])
    along = along - ahead * (along @ ahead)
    along /= np.linalg.norm(along)
    turn = np.stack([np.cross(along, ahead), along, ahead], 1)
    return sheet(2 * size[0], 2 * size[1], 2, 2).moved(turn, at.tolist())


def _lamps(low: Array, high: Array, view: CameraView, rng: Rng) -> list[Lamp]:
    """Lamps out of the camera's sight: strips at two sides or at the rear, a panel, a spot, a ring.

    Always `LAMPS` of them, a panel being four tiles: the renderer's kernel depends on the number.
    """
    middle = (low + high) / 2
    kind = chosen(rng, {"strips": 0.34, "panel": 0.22, "spot": 0.18, "ring": 0.14, "rear": 0.12})
    centre = middle + np.array([*rng.uniform(-0.2, 0.2, 2), 0])
    wide = float(high[0] - low[0]) / 2 + rng.uniform(0.03, 0.2)
    ratio = rng.uniform(0.15, 1)
    half, length = rng.uniform(0.02, 0.09), rng.uniform(0.02, 0.09)
    quarters = [np.array([x, y, 0.0]) for x in (-1, 1) for y in (-1, 1)]
    places, size, powers = [], (half, length), [0.25] * LAMPS
    if kind == "strips":
        size, length = (rng.uniform(0.004, 0.03), rng.uniform(0.03, 0.1)), rng.uniform(-0.08, 0.08)
        places = [middle + np.array([q[0] * wide, length + q[1] * size[1], 0]) for q in quarters]
        powers = [0.5 * ratio] * 2 + [0.5] * 2
    elif kind == "ring":
        size = (0.008, 0.008)
        reach = rng.uniform(0.02, 0.05)
        places = [view.origin + reach * q for q in quarters]
    elif kind == "rear":
        size = (rng.uniform(0.02, 0.05), rng.uniform(0.01, 0.04))
        rear = middle + np.array([rng.uniform(-0.1, 0.1), rng.uniform(0.1, 0.3), 0])
        places = [rear + np.array([size[0] * k, 0, 0]) for k in (-3, -1, 1, 3)]
    else:
        if kind == "spot":
            size = (float(rng.uniform(0.003, 0.012)),) * 2
        places = [centre + q * np.array([*size, 0]) for q in quarters]
    height = float(high[2] + rng.uniform(0.10, 0.45))
    while (
        kind != "ring"
        and height < view.origin[2] + 0.01
        and any(view.sees(np.array([p[0], p[1], height])) for p in places)
    ):
        height += 0.03
    hue = _lamp_colour(rng)
    aim = middle + rng.normal(0, 0.02, 3)
    lamps = []
    for place, power in zip(places, powers, strict=True):
        at = place if kind == "ring" else np.array([place[0], place[1], height])
        toward = aim - at
        reach2 = float(toward @ toward)
        # `power` is what the item gets, whatever the lamp's size and distance
        light = power * hue * rng.uniform(0.93, 1.07, 3) * reach2 / (4 * size[0] * size[1])
        lamps.append(Lamp(_panel(at, aim, size), light))
    return lamps


def setting(low: Array, high: Array, rng: Rng, against: bool = False) -> Setting:
    """A chamber, its light and its camera for an item that fills the box `low` to `high` (3,).

    low, high: corners of the item's bounding box in metres. rng: source of every choice. against:
    the item leans at the wall at +y, which then stands right behind it.
    """
    view = _view(low, high, rng)
    fill = _lamp_colour(rng) * rng.uniform(0.03, 0.4) / np.pi
    parts = _walls(low, high, view, rng, against)
    return Setting(parts, _lamps(low, high, view, rng), fill, view)
