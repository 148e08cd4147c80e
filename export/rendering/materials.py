"""Materials as Mitsuba dictionaries: what light does on board, paper, glass, metal, plastic, skin.

Colours are given in sRGB bytes, as in the textures, and turned into the linear values that Mitsuba
takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array

Bsdf = dict[str, Any]


def linear(colour: Sequence[float]) -> list[float]:
    """SRGB bytes to linear RGB (IEC 61966-2-1)."""
    c = np.asarray(colour, float) / 255
    light = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return [float(part) for part in light]


def spectrum(what: Any) -> Any:
    """An image as a bitmap texture, three numbers as a colour, a name as a mesh attribute."""
    if isinstance(what, str):
        return {"type": "mesh_attribute", "name": what}
    if isinstance(what, np.ndarray) and what.ndim == 3:
        import mitsuba as mi

        return {
            "type": "bitmap",
            "bitmap": mi.Bitmap(np.ascontiguousarray(what)),
            "wrap_mode": "repeat",
        }
    return {"type": "rgb", "value": linear(what)}


def grey_map(what: Array | float) -> Any:
    """A number, or a uint8 (h, w) map read as it is (not as sRGB)."""
    if isinstance(what, np.ndarray):
        import mitsuba as mi

        bitmap = mi.Bitmap(np.ascontiguousarray(what)[..., None])
        return {"type": "bitmap", "bitmap": bitmap, "raw": True, "wrap_mode": "repeat"}
    return what


def matte(colour: Any) -> Bsdf:
    """Paper, board, cloth: scatters evenly, both sides alike."""
    return {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": spectrum(colour)}}


def coated(colour: Any, roughness: float = 0.35, specular: float = 0.5) -> Bsdf:
    """Moulded plastic, varnished print, skin: colour under a rough sheen."""
    inner = {
        "type": "principled",
        "base_color": spectrum(colour),
        "roughness": roughness,
        "specular": specular,
    }
    return {"type": "twosided", "bsdf": inner}


def metal(roughness: float = 0.15, tint: Sequence[float] = (255, 255, 255)) -> Bsdf:
    """Rolled aluminium."""
    inner = {
        "type": "roughconductor", "material": "Al", "distribution": "ggx", "alpha": roughness,
        "specular_reflectance": spectrum(tint),
    }  # fmt: skip
    return {"type": "twosided", "bsdf": inner}


def printed_metal(colour: Any, ink: Any = 0.75, roughness: float = 0.16) -> Bsdf:
    """Metal under ink: `ink` is the share covered (number or map)."""
    return {
        "type": "blendbsdf",
        "weight": grey_map(ink),
        "a": metal(roughness),
        "b": coated(colour, 0.3),
    }


def glass(tint: Sequence[float]) -> Bsdf:
    """Solid glass; `tint` is what one passage through a surface leaves of white light."""
    return {
        "type": "dielectric",
        "int_ior": 1.52,
        "specular_transmittance": {"type": "rgb", "value": list(tint)},
    }


def clear_film(haze: float, colour: Sequence[float] = (235, 240, 245)) -> Bsdf:
    """Thin clear plastic: reflects as a thin sheet does, with a share of `haze` that scatters."""
    thin = {"type": "thindielectric", "int_ior": 1.57}
    return {"type": "blendbsdf", "weight": haze, "a": thin, "b": coated(colour, 0.25)}
