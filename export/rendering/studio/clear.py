"""Clear materials: thin skins of plastic, thick glass, and what they do to a lamp's light.

Tints and images flow in, Mitsuba materials flow out. Light that falls through a clear thing on the
floor would be found by chance only, and a bottle would stand in the shadow of a stone; here a lamp
shines through, straight and tinted, and only what the eye sees is refracted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.rendering.materials import Bsdf, coated, glass, grey_map

# above PET's 1.57: a moulded wall is never quite even, and shines more than an ideal sheet
_SKIN_INDEX = 1.7
_PET_PASSES = 0.85  # of light, where it meets the skin neither head-on nor at a low angle
_GLASS_PASSES = 0.94  # what a wall turns aside falls in beside it, so hardly any light is lost


def register() -> None:
    """Make `seethrough` known to Mitsuba, for the variant in use; once for each process.

    Its parameters: a nested material, and the `passed` share of a lamp's light (a texture). The
    `volpath` integrator asks for it with `eval_null_transmission` on its way to a lamp.
    """
    import mitsuba as mi

    class SeeThrough(mi.BSDF):  # type: ignore[misc]
        """A material as it is, except that lamps shine through it."""

        def __init__(self, props: Any) -> None:
            mi.BSDF.__init__(self, props)
            self.nested = props["nested"]
            self.passed = props["passed"]
            self.m_components = [self.nested.flags(k) for k in range(self.nested.component_count())]
            self.m_flags = self.nested.flags()

        def sample(self, ctx: Any, si: Any, one: Any, two: Any, active: Any = True) -> Any:
            return self.nested.sample(ctx, si, one, two, active)

        def eval(self, ctx: Any, si: Any, wo: Any, active: Any = True) -> Any:
            return self.nested.eval(ctx, si, wo, active)

        def pdf(self, ctx: Any, si: Any, wo: Any, active: Any = True) -> Any:
            return self.nested.pdf(ctx, si, wo, active)

        def eval_pdf(self, ctx: Any, si: Any, wo: Any, active: Any = True) -> Any:
            return self.nested.eval_pdf(ctx, si, wo, active)

        def eval_null_transmission(self, si: Any, active: Any = True) -> Any:
            return self.passed.eval(si, active)

        def traverse(self, callback: Any) -> None:
            callback.put_object("nested", self.nested, mi.ParamFlags.Differentiable)

        def to_string(self) -> str:
            return f"SeeThrough[{self.nested}]"

    mi.register_bsdf("seethrough", SeeThrough)


def _passing(nested: Bsdf, share: Any) -> Bsdf:
    if not isinstance(share, dict):
        share = {"type": "srgb", "color": [float(s) for s in share]}
    return {"type": "seethrough", "nested": nested, "passed": share}


def _skin(tint: Sequence[float]) -> Bsdf:
    light = {"type": "rgb", "value": [float(t) for t in tint]}
    return {"type": "thindielectric", "int_ior": _SKIN_INDEX, "specular_transmittance": light}


def thin_clear(tint: Sequence[float]) -> Bsdf:
    """A thin clear skin as of PET; `tint` (3,) is what one passage leaves of white light."""
    return _passing(_skin(tint), _PET_PASSES * np.asarray(tint))


def hazy(tint: Sequence[float], share: float, rgb: Sequence[float]) -> Bsdf:
    """A clear skin that scatters in part: PET worn dull, milky polypropylene.

    share: how much of it scatters, 0 to 1, in the colour `rgb` (sRGB bytes).
    """
    blend = {"type": "blendbsdf", "weight": share, "a": _skin(tint), "b": coated(rgb, 0.25)}
    return _passing(blend, _PET_PASSES * (1 - share) * np.asarray(tint))


def print_on_clear(image: Array, inked: Array) -> Bsdf:
    """Print on a clear skin: `image` uint8 (h, w, 3) where `inked` uint8 (h, w) is not 0."""
    blend = {
        "type": "blendbsdf", "weight": grey_map(inked), "a": _skin((0.97, 0.97, 0.97)),
        "b": coated(image, 0.25),
    }  # fmt: skip
    return _passing(blend, grey_map((0.9 * (255 - inked)).astype(np.uint8)))


def solid_glass(tint: Sequence[float]) -> Bsdf:
    """Thick glass; `tint` (3,) is what one passage through a surface leaves of white light."""
    return _passing(glass(tint), _GLASS_PASSES * np.asarray(tint))
