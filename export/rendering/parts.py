"""A part of an item, a mesh with a material, and what is done with the parts of one.

Parts flow in and out, moved, warped, laid down; for Mitsuba they become PLY files and the
dictionary that names them. Nothing here knows what the parts make up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.materials import Bsdf
from export.rendering.mesh import Mesh, rotation, settled, write_ply

Warp = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Part:
    """A mesh and what it is made of."""

    mesh: Mesh
    bsdf: Bsdf


def moved(parts: Sequence[Part], turn: Array, offset: tuple[float, float, float]) -> list[Part]:
    """The parts, turned and then shifted by `offset`, in metres."""
    return [Part(p.mesh.moved(turn, offset), p.bsdf) for p in parts]


def warped(parts: Sequence[Part], *warps: Warp) -> list[Part]:
    """The parts after the warps, first to last."""
    for warp in warps:
        parts = [Part(p.mesh.warped(warp), p.bsdf) for p in parts]
    return list(parts)


def lying(parts: Sequence[Part], roll_deg: float = 0) -> list[Part]:
    """A standing vessel turned about its own axis, then laid down along y."""
    turn = rotation(-90) @ rotation(0, 0, roll_deg)
    return [Part(p.mesh.moved(turn), p.bsdf) for p in parts]


def laid(
    parts: Sequence[Part], at: Sequence[float], turn_deg: float = 0.0, settle: bool = True
) -> list[Part]:
    """The parts at rest on the floor at `at` (x, y), turned about the vertical by `turn_deg`."""
    lie = settled([p.mesh for p in parts]) if settle else np.eye(3)
    turn = rotation(0, 0, turn_deg) @ lie
    meshes = [p.mesh.moved(turn) for p in parts]
    points = np.concatenate([m.v for m in meshes])
    middle = (points.min(0) + points.max(0)) / 2
    shift = (at[0] - middle[0], at[1] - middle[1], 0.0003 - points[:, 2].min())
    return [Part(m.moved(None, shift), p.bsdf) for m, p in zip(meshes, parts, strict=True)]


def shapes(parts: Sequence[Part], folder: Path, name: str) -> dict[str, Any]:
    """The parts as PLY files in `folder` and the dictionary that refers to them."""
    out: dict[str, Any] = {}
    for k, part in enumerate(parts):
        path = folder / f"{name}_{k}.ply"
        write_ply(part.mesh, path)
        out[f"{name}_{k}"] = {
            "type": "ply", "filename": str(path), "face_normals": part.mesh.flat, "bsdf": part.bsdf,
        }  # fmt: skip
    return out
