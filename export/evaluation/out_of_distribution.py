"""How many pictures of no class a model would accept: drawn ones, empty chambers, fruit.

Pictures and what says which of them pass their threshold flow in, counts flow out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.images import prepare
from bin_daemon.core.messages import Array
from export.data.pictures import load_squares, pictures_below, read_rgb
from export.views.unknown import KEPT, SHOWN

DRAWN = 200  # of each kind that is measured


def measure(
    organic: Path | None, empties: Sequence[Path], size: int, accept: Callable[[Array], Array]
) -> dict[str, Any]:
    """How many out-of-distribution pictures a model would accept.

    Takes a folder of fruit and vegetables, rendered chambers with nothing in them, and what says of
    uint8 pictures (n, size, size, 3) which pass their threshold, bool (n,). Returns `kinds` (name
    -> `shown` and `accepted`, in pictures, and whether it was `trained` on), and `accepted_share`
    of those that were not: training showed the others' like.
    """
    pictures: dict[str, Array] = {}
    for number, (name, draw) in enumerate((SHOWN | KEPT).items()):
        rngs = [np.random.default_rng((99, number, i)) for i in range(DRAWN)]
        pictures[name] = np.stack([prepare(draw(rng), size, size) for rng in rngs])
    if empties:
        seen = [prepare(read_rgb(path), size, size) for path in empties]
        pictures["rendered empty chambers"] = np.stack(seen)
    if organic is not None and (files := pictures_below(organic)):
        pictures["fruit and vegetables"] = load_squares(organic, files, size)
    kinds = {
        name: {"shown": len(these), "accepted": int(accept(these).sum()), "trained": name in SHOWN}
        for name, these in pictures.items()
    }
    new = [kind for kind in kinds.values() if not kind["trained"]]
    shown, accepted = (sum(kind[key] for kind in new) for key in ("shown", "accepted"))
    return {"kinds": kinds, "accepted_share": round(accepted / shown, 4)}
