"""An arm with a hand, built as a smooth distance field and turned into a mesh by surface nets.

The hand's own frame: wrist at the origin, fingers along +y, back of the hand +z, thumb at -x (a
right hand). A pose bends the fingers; `arm` puts the whole into the chamber, coming over the
rear wall towards the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.materials import coated, linear, matte
from export.rendering.mesh import Mesh, ellipsoid, lathe, rotation
from export.rendering.parts import Part
from export.rendering.texture import cloud, done, plain

# base (x, y, z), lengths of the three bones, radius at the base: an adult's hand, metres
FINGERS = (
    ((-0.029, 0.090, 0.000), (0.042, 0.026, 0.020), 0.0092),
    ((-0.009, 0.095, 0.002), (0.046, 0.029, 0.021), 0.0095),
    ((0.011, 0.091, 0.001), (0.042, 0.027, 0.021), 0.0090),
    ((0.029, 0.082, -0.002), (0.033, 0.021, 0.018), 0.0080),
)


@dataclass(frozen=True, slots=True)
class Pose:
    """Bend of the three finger joints and of the thumb, spread of the fingers; degrees."""

    bend: tuple[float, float, float] = (25.0, 30.0, 20.0)
    thumb_in: float = 20.0
    spread: float = 5.0


OPEN = Pose((12.0, 18.0, 12.0), 0.0, 8.0)
RELAXED = Pose((28.0, 36.0, 22.0), 18.0, 4.0)
GRIP = Pose((38.0, 48.0, 34.0), 34.0, 3.0)


def _cone(p: Array, a: Array, b: Array, ra: float, rb: float) -> Array:
    """Distance to a capsule whose radius runs from `ra` at `a` to `rb` at `b`."""
    ab = b - a
    t = np.clip((p - a) @ ab / (ab @ ab), 0, 1)
    return np.asarray(np.linalg.norm(p - a - t[..., None] * ab, axis=-1) - (ra + t * (rb - ra)))


def _blend(parts: Sequence[Array], k: float) -> Array:
    """Smooth union, -k log sum exp(-d/k).

    It fills the crotch between two bodies with a fillet of about `k`.
    """
    d = np.stack(parts)
    low = d.min(0)
    return np.asarray(low - k * np.log(np.exp(-(d - low) / k).sum(0)))


def _chains(pose: Pose) -> tuple[list[list[Array]], list[Array]]:
    """Joint positions of the four fingers and of the thumb, and the rotation of each last bone."""
    chains, ends = [], []
    for k, (base, bones, _) in enumerate(FINGERS):
        turn = rotation(0, 0, -pose.spread * (k - 1.4))
        joints = [np.array(base)]
        for bend, length in zip(pose.bend, bones, strict=True):
            turn = turn @ rotation(-bend * (1 + 0.06 * k))
            joints.append(joints[-1] + turn @ [0, length, 0])
        chains.append(joints)
        ends.append(turn)
    turn = (
        rotation(0, 0, 52 - 0.6 * pose.thumb_in) @ rotation(-22 - pose.thumb_in) @ rotation(0, 50)
    )
    joints = [np.array([-0.020, 0.022, -0.008])]
    for bend, length in zip((0, 16, 18), (0.044, 0.034, 0.026), strict=True):
        turn = turn @ rotation(-bend * (0.4 + pose.thumb_in / 40))
        joints.append(joints[-1] + turn @ [0, length, 0])
    return [*chains, joints], [*ends, turn]


def _field(p: Array, pose: Pose) -> Array:
    """Distance to the skin at `p` (..., 3)."""
    chains, _ = _chains(pose)
    fingers = []
    for joints, (_, _, r) in zip(chains[:4], FINGERS, strict=True):
        radii = (r * 1.06, r * 0.98, r * 0.86, r * 0.72)
        fingers.append(
            _blend(
                [_cone(p, joints[k], joints[k + 1], radii[k], radii[k + 1]) for k in range(3)],
                0.0012,
            )
        )
    wrist = [np.array([x, 0.0, 0.0]) for x in (-0.016, -0.006, 0.006, 0.016)]
    palm = [_cone(p, w, c[0], 0.0165, 0.0125) for w, c in zip(wrist, chains, strict=False)]
    palm.append(
        _cone(p, np.array([-0.018, 0.045, -0.012]), np.array([0.022, 0.045, -0.010]), 0.013, 0.012)
    )
    fore = [
        _cone(p, np.array([x, 0.0, 0.0]), np.array([2.0 * x, -0.20, 0.004]), 0.0175, 0.030)
        for x in (-0.011, 0.011)
    ]
    body = _blend([_blend(palm, 0.004), _blend(fore, 0.005)], 0.008)
    t = chains[4]
    thumb = _blend(
        [
            _cone(p, t[k], t[k + 1], r, s)
            for k, r, s in ((0, 0.0155, 0.0115), (1, 0.0115, 0.0108), (2, 0.0105, 0.0085))
        ],
        0.002,
    )
    body = _blend([body, thumb], 0.006)
    for f in fingers:
        body = _blend([body, f], 0.0022)
    return body


def surface_net(field: Array, origin: Array, step: float) -> Mesh:
    """Zero surface of a sampled distance field.

    A vertex lies in each cell that it crosses, at the mean of its edge crossings: naive surface
    nets (Gibson 1998), smoother than marching cubes and without its tables.
    """
    inside = field < 0
    total = np.zeros((*(n - 1 for n in field.shape), 3))
    count = np.zeros(total.shape[:3])
    corners = [(a, b) for a in (0, 1) for b in (0, 1)]
    edges = []
    for axis in range(3):
        others = [k for k in range(3) if k != axis]
        lo = [slice(None)] * 3
        hi = [slice(None)] * 3
        lo[axis], hi[axis] = slice(0, -1), slice(1, None)
        a, b = field[tuple(lo)], field[tuple(hi)]
        cross = inside[tuple(lo)] != inside[tuple(hi)]
        share = np.where(cross, a / np.where(cross, a - b, 1), 0)
        edges.append((axis, others, cross))
        for c in corners:
            cut = [slice(None)] * 3
            for other, bit in zip(others, c, strict=True):
                cut[other] = slice(bit, field.shape[other] - 1 + bit)
            hit = cross[tuple(cut)]
            total[..., axis] += np.where(hit, share[tuple(cut)], 0)
            for other, bit in zip(others, c, strict=True):
                total[..., other] += hit * bit
            count += hit
    used = count > 0
    index = np.full(used.shape, -1)
    index[used] = np.arange(used.sum())
    v = (np.argwhere(used) + total[used] / count[used][:, None]) * step + origin
    faces = []
    for axis, (p, q), cross in edges:
        at = np.argwhere(cross)
        at = at[
            (at[:, p] > 0)
            & (at[:, q] > 0)
            & (at[:, p] < used.shape[p])
            & (at[:, q] < used.shape[q])
        ]
        ring = []
        for dp, dq in ((0, 0), (1, 0), (1, 1), (0, 1)):
            cell = at.copy()
            cell[:, p] -= dp
            cell[:, q] -= dq
            ring.append(index[tuple(cell.T)])
        flip = inside[tuple(at.T)] == (axis == 1)
        ring[1], ring[3] = np.where(flip, ring[3], ring[1]), np.where(flip, ring[1], ring[3])
        faces += [np.stack(ring[:3], 1), np.stack([ring[0], ring[2], ring[3]], 1)]
    f = np.concatenate(faces)
    return Mesh(v, f[(f >= 0).all(1)], np.zeros((len(v), 2)))


def _skin(pose: Pose, rng: np.random.Generator) -> Mesh:
    """The hand's mesh with its colour: redder knuckles and fingertips, a little mottling."""
    step = 0.0018
    low, high = np.array([-0.095, -0.17, -0.125]), np.array([0.062, 0.20, 0.045])
    axes = [np.arange(a, b, step) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).astype(np.float32)
    m = surface_net(_field(grid, pose), low, step)
    chains, _ = _chains(pose)
    red = np.zeros(len(m.v))
    for chain in chains:
        for k, j in enumerate(chain):
            red += (0.5 if k < 3 else 0.9) * np.exp(-np.sum((m.v - j) ** 2, 1) / 0.010**2)
    mottle = sum(np.sin(m.v @ rng.normal(size=3) * 260 + rng.uniform(0, 6)) for _ in range(8)) / 8
    base, flush = np.array(linear((214, 164, 136))), np.array(linear((196, 116, 96)))
    share = np.clip(0.8 * red + 0.14 * mottle, 0, 1)[:, None]
    return replace(m, colour=base * (1 - share) + flush * share)


def arm(
    pose: Pose,
    reach: Sequence[float],
    seed: int = 3,
    held: Sequence[Part] = (),
    turn_deg: float = 0.0,
) -> list[Part]:
    """Skin, nails, sleeve and what the hand holds.

    reach: where the wrist is in the chamber, (x, y, z). held: given in the hand's frame. turn_deg:
    swings the arm about the vertical.
    """
    rng = np.random.default_rng(seed)
    parts = [Part(_skin(pose, rng), coated("vertex_color", 0.5, 0.35))]
    chains, ends = _chains(pose)
    nail = coated((224, 172, 154), 0.2, 0.5)
    for k, (chain, turn) in enumerate(zip(chains, ends, strict=True)):
        wide = (0.0052, 0.0054, 0.0050, 0.0042, 0.0066)[k]
        r = (FINGERS[k][2] * 0.75) if k < 4 else 0.0092
        plate = ellipsoid((wide, 0.0068, 0.0016), 16).moved(None, (0, -0.002, r - 0.0008))
        parts.append(Part(plate.moved(turn, chain[-1].tolist()), nail))
    knit = (
        plain(600, 400, (46, 58, 84))
        + 7 * np.sin(np.arange(600) * 1.3)[:, None, None]
        + 4 * cloud(600, 400, 9, rng)[..., None]
    )
    sleeve = lathe(
        np.array(
            [[0.036, -0.028], [0.0405, -0.026], [0.042, -0.034], [0.041, -0.054]]
            + [[0.043 + 0.01 * k / 40, -0.056 - 0.007 * k] for k in range(41)]
        ),
        96,
    )
    v = sleeve.v.copy()
    around = np.arctan2(v[:, 1], v[:, 0])
    crease = 0.0022 * np.sin(v[:, 2] * 190 + 1.7 * np.sin(around * 2)) * (v[:, 2] < -0.06)
    v[:, :2] *= (1 + crease / 0.045)[:, None]
    v = np.stack([v[:, 0], v[:, 2], v[:, 1] * 0.86], 1)
    parts.append(Part(replace(sleeve, v=v), matte(done(knit))))
    parts += held
    # +y of the hand points down and towards the camera, its back stays up
    turn = rotation(0, 0, 180 + turn_deg) @ rotation(-27)
    return [Part(p.mesh.moved(turn, reach), p.bsdf) for p in parts]
