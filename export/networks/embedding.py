"""What the untouched backbone makes of pictures: vectors that lie close where pictures look alike.

Folded weights flow in, a function from pictures to embeddings flows out. TensorFlow is loaded only
when one is asked for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.networks.mobilenet import Network, blank_head, normalise, read_weights

Embed = Callable[[Array], Array]
"""uint8 (n, 224, 224, 3) RGB to float32 (n, d): what a network makes of prepared pictures."""


def backbone_embedding(backbone: Path) -> Embed:
    """The embedding of the untouched backbone, on TensorFlow.

    Raises ExportError where the file is missing or is no backbone.
    """
    import tensorflow as tf

    network = Network({**read_weights(backbone), **blank_head()})

    def forward(squares: Any) -> Any:
        return network.embed(normalise(tf.cast(squares, tf.float32)))

    shapes = [tf.TensorSpec((None, None, None, 3), tf.uint8)]
    compiled = tf.function(forward, input_signature=shapes)
    return lambda squares: np.asarray(compiled(squares))


def embedding_at_hand(backbone: Path) -> Embed | None:
    """`backbone_embedding` where TensorFlow and the file are here, else None: hashes must do."""
    if backbone.is_file() and importlib.util.find_spec("tensorflow"):
        return backbone_embedding(backbone)
    return None
