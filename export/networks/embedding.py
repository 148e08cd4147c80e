"""What the untouched backbone makes of pictures: vectors that lie close where pictures look alike.

Folded weights flow in, a function from pictures to embeddings flows out. TensorFlow is loaded only
when one is asked for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bin_daemon.core.messages import Array
from export.networks.mobilenet import blank_head, compiled, read_weights

Embed = Callable[[Array], Array]
"""uint8 (n, 224, 224, 3) RGB to float32 (n, d): what a network makes of prepared pictures."""


def backbone_embedding(backbone: Path) -> Embed:
    """The embedding of the untouched backbone, on TensorFlow.

    Raises ExportError where the file is missing or is no backbone.
    """
    forward = compiled({**read_weights(backbone), **blank_head()})
    return lambda squares: np.asarray(forward(squares)[1])


def embedding_at_hand(backbone: Path) -> Embed | None:
    """`backbone_embedding` where TensorFlow and the file are here, else None: hashes must do."""
    if backbone.is_file() and importlib.util.find_spec("tensorflow"):
        return backbone_embedding(backbone)
    return None
