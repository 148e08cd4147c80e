"""Triangle meshes as numpy arrays: lathes, sheets, tubes, slabs, and how rubbish is bent.

Shapes are in metres, z is up. Every function returns a new `Mesh`; nothing here knows about
Mitsuba except `write_ply`, which hands a mesh over as a binary PLY file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bin_daemon.core.messages import Array


@dataclass(frozen=True, slots=True)
class Mesh:
    """Vertices, faces and what a renderer wants to know of them.

    v: (n, 3) metres. f: (m, 3) indices. uv: (n, 2). colour: (n, 3) linear RGB, or None. flat:
    faces are shaded flat, not smoothly.
    """

    v: Array
    f: Array
    uv: Array
    colour: Array | None = None
    flat: bool = False

    def moved(self, rotation: Array | None = None, offset: Sequence[float] = (0, 0, 0)) -> Mesh:
        """The mesh rotated about the origin, then shifted."""
        v = self.v if rotation is None else self.v @ np.asarray(rotation).T
        return replace(self, v=v + np.asarray(offset, float))

    def warped(self, change: Callable[[Array], Array]) -> Mesh:
        """The mesh with `change` applied to its vertices."""
        return replace(self, v=change(self.v.copy()))


def rotation(x_deg: float = 0, y_deg: float = 0, z_deg: float = 0) -> Array:
    """Rotation about x, then y, then z."""
    x, y, z = np.radians([x_deg, y_deg, z_deg])
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return np.asarray(rz @ ry @ rx)


def joined(*meshes: Mesh) -> Mesh:
    """Several meshes as one (no colours; shading of the first)."""
    starts = np.cumsum([0] + [len(m.v) for m in meshes[:-1]])
    return Mesh(
        np.concatenate([m.v for m in meshes]),
        np.concatenate([m.f + s for m, s in zip(meshes, starts, strict=True)]),
        np.concatenate([m.uv for m in meshes]),
        flat=meshes[0].flat,
    )


def _quads(rows: int, cols: int) -> Array:
    """Triangles of a rows x cols vertex grid."""
    a = (np.arange(rows - 1)[:, None] * cols + np.arange(cols - 1)[None]).ravel()
    return np.concatenate(
        [np.stack([a, a + 1, a + cols + 1], 1), np.stack([a, a + cols + 1, a + cols], 1)]
    )


def sheet(width: float, height: float, cols: int = 60, rows: int = 60) -> Mesh:
    """A flat sheet in the xy plane, centred; uv (0, 0) at its lower left."""
    u, w = np.meshgrid(np.linspace(0, 1, cols), np.linspace(0, 1, rows))
    uv = np.stack([u.ravel(), w.ravel()], 1)
    v = np.column_stack([(uv[:, 0] - 0.5) * width, (uv[:, 1] - 0.5) * height, np.zeros(len(uv))])
    return Mesh(v, _quads(rows, cols), uv)


def lathe(profile: Array, segments: int = 128) -> Mesh:
    """`profile` (n, 2) of (radius, z) turned about z.

    u runs around, v along the profile's length.
    """
    profile = np.asarray(profile, float)
    run = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(profile, axis=0), axis=1))])
    turn = np.linspace(0, 2 * np.pi, segments + 1)
    r, z = profile[:, 0][:, None], profile[:, 1][:, None]
    v = np.stack([r * np.cos(turn), r * np.sin(turn), z + 0 * turn], -1).reshape(-1, 3)
    u, w = np.meshgrid(np.linspace(0, 1, segments + 1), run / run[-1])
    return Mesh(v, _quads(len(profile), segments + 1), np.stack([u.ravel(), w.ravel()], 1))


def curve(points: Sequence[Sequence[float]], step: float = 0.0015, smooth: int = 2) -> Array:
    """A profile through corner points, sampled every `step` metres.

    Before, the corners are cut `smooth` times (Chaikin).
    """
    p = np.asarray(points, float)
    for _ in range(smooth):
        q, r = 0.75 * p[:-1] + 0.25 * p[1:], 0.25 * p[:-1] + 0.75 * p[1:]
        p = np.concatenate([p[:1], np.stack([q, r], 1).reshape(-1, 2), p[-1:]])
    run = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(p, axis=0), axis=1))])
    at = np.linspace(0, run[-1], max(int(run[-1] / step), 8))
    return np.stack([np.interp(at, run, p[:, 0]), np.interp(at, run, p[:, 1])], 1)


def band(radius: float, low: float, high: float, share: float = 1.0) -> Mesh:
    """A label: part of a cylinder wall from `low` to `high`; its texture stands upright."""
    wall = lathe(np.array([[radius, low + k * (high - low) / 30] for k in range(31)]), 160)
    keep = wall.uv[wall.f].mean(1)[:, 0] < share
    return replace(wall, f=wall.f[keep], uv=wall.uv / [share, 1.0])


def shell(outer: Array, wall: float) -> Array:
    """Closed profile of a vessel: `outer` from bottom centre to lip, then an inner wall back."""
    inner = outer[::-1].copy()
    inner[:, 0] = np.maximum(inner[:, 0] - wall, 0)
    floor = outer[:, 1].min() + wall
    inner[:, 1] = np.maximum(inner[:, 1], floor)
    inner[-1, 0] = 0
    return np.concatenate([outer, inner])


def ellipsoid(radii: Sequence[float], n: int = 40) -> Mesh:
    """An ellipsoid about the origin."""
    t = np.linspace(-np.pi / 2, np.pi / 2, n)
    ball = lathe(np.stack([np.cos(t), np.sin(t)], 1), 2 * n)
    return replace(ball, v=ball.v * np.asarray(radii))


def slab(width: float, depth: float, height: float) -> Mesh:
    """A box with hard edges, centred in x and y, standing on z = 0; the texture on each face."""
    faces = []
    for turn, w, h, away in (
        (rotation(), width, depth, height / 2),
        (rotation(180), width, depth, height / 2),
        (rotation(90), width, height, depth / 2),
        (rotation(90, 0, 180), width, height, depth / 2),
        (rotation(90, 0, 90), depth, height, width / 2),
        (rotation(90, 0, -90), depth, height, width / 2),
    ):
        faces.append(sheet(w, h, 2, 2).moved(None, (0, 0, away)).moved(turn, (0, 0, height / 2)))
    return replace(joined(*faces), flat=True)


def tri(x: Array) -> Array:
    """Triangle wave of period 1 in -1..1: straight flanks and sharp ridges, as in creased foil."""
    return np.asarray(4 * np.abs(x - np.floor(x + 0.5)) - 1)


def creases(p: Array, rng: np.random.Generator, waves: int, length: float, height: float) -> Array:
    """Heights of a creased sheet at `p` (n, 2), in metres.

    Sharp ridges run in random directions, about `length` metres apart.
    """
    out = np.zeros(len(p))
    p = p.copy()
    for k in range(waves):
        a = rng.uniform(0, 2 * np.pi)
        size = length * rng.uniform(0.45, 1.6)
        d = np.array([np.cos(a), np.sin(a)])
        wave = tri(p @ d / size + rng.uniform())
        out += wave * height * size / length / np.sqrt(waves)
        # each set of ridges bends the next one, else straight lines would cross the whole sheet
        p += np.array([-d[1], d[0]]) * (wave * size * 0.22)[:, None]
        del k
    return out


def crumpled(
    m: Mesh, rng: np.random.Generator, radius: float, folds: int, soft: float = 0.0
) -> Mesh:
    """Crumple a sheet into a ball of about `radius` metres.

    What sticks out of random planes that close in is reflected. A reflection keeps lengths, so the
    sheet folds as paper does and does not stretch; `soft` (metres) rounds the folds.
    """
    v = m.v
    start = np.linalg.norm(v, axis=1).max()
    for k in range(folds):
        n = rng.normal(size=3)
        n /= np.linalg.norm(n)
        reach = radius + (start - radius) * max(0.0, 1 - 1.6 * k / folds)
        v = v - (v.max(0) + v.min(0)) / 2
        out = v @ n - reach * rng.uniform(0.6, 1.12)
        if soft:
            out = soft * np.logaddexp(0, out / soft)
        v = v - 1.93 * np.maximum(out, 0)[:, None] * n
    return replace(m, v=v, flat=not soft)


def hemmed(m: Mesh, rng: np.random.Generator, reach: Sequence[float], folds: int) -> Mesh:
    """A sheet that lies flat with bits of its border folded in.

    reach: (low, high) of the folds from its middle, in metres.
    """
    v = m.v
    for k in range(folds):
        a = 2 * np.pi * (k + rng.uniform(0, 0.8)) / folds
        n = np.array([np.cos(a), np.sin(a), 0.12])
        n /= np.linalg.norm(n)
        v = v - 1.9 * np.maximum(v @ n - rng.uniform(reach[0], reach[1]), 0)[:, None] * n
    return replace(m, v=v * [1, 1, 0.6])


def centroid(m: Mesh) -> Array:
    """Centre of the surface."""
    a, b, c = (m.v[m.f[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) + 1e-15
    return np.asarray(((a + b + c) / 3 * area[:, None]).sum(0) / area.sum())


def settled(meshes: Sequence[Mesh]) -> Array:
    """Rotation in which the parts rest on the floor, found by turning in ever smaller steps.

    The first part is the body. At rest its centre is as low as it gets nearby. Labels and caps
    touch the floor but weigh nothing, else every jar would roll onto its label.
    """
    centre = centroid(meshes[0])
    points = np.concatenate([m.v for m in meshes])
    points = points[:: max(1, len(points) // 9000)] - centre

    def height(turn: Array) -> float:
        return float(-(points @ turn[2]).min())

    turn, step = np.eye(3), 6.0
    while step > 0.1:
        tries = [rotation(x, y) @ turn for x, y in ((step, 0), (-step, 0), (0, step), (0, -step))]
        best = min(tries, key=height)
        if height(best) < height(turn) - 1e-7:
            turn = best
        else:
            step /= 2
    return turn


def normals(m: Mesh) -> Array:
    """Smooth vertex normals; vertices at one place share theirs, so that a seam does not show."""
    a, b, c = (m.v[m.f[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    _, same = np.unique(np.round(m.v, 6), axis=0, return_inverse=True)
    same = same.ravel()
    total = np.zeros((same.max() + 1, 3))
    for i in range(3):
        np.add.at(total, same[m.f[:, i]], face)
    n = total[same]
    return np.asarray(n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-20))


def write_ply(m: Mesh, path: Path) -> None:
    """Write binary PLY with what Mitsuba reads.

    Position, normal unless flat, s and t, and r, g and b as the colour of a vertex.
    """
    cols, names = [m.v], ["x", "y", "z"]
    if not m.flat:
        cols.append(normals(m))
        names += ["nx", "ny", "nz"]
    cols.append(np.stack([m.uv[:, 0], 1 - m.uv[:, 1]], 1))  # a bitmap's first row is its top
    names += ["s", "t"]
    if m.colour is not None:
        cols.append(m.colour)
        names += ["r", "g", "b"]
    table = np.concatenate(cols, 1).astype("<f4")
    faces = np.zeros(len(m.f), dtype=[("n", "u1"), ("i", "<i4", 3)])
    faces["n"], faces["i"] = 3, m.f
    head = "ply\nformat binary_little_endian 1.0\n" + f"element vertex {len(table)}\n"
    head += "".join(f"property float {n}\n" for n in names)
    head += f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    path.write_bytes(head.encode() + table.tobytes() + faces.tobytes())
