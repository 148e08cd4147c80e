"""Turn trained float weights into the int8 TFLite file that a bin runs.

Reads `weights.npz` of a run; equalises, calibrates on pictures of the training folds, converts, and
embeds the metadata. Leaves `equalised.npz` and `model.tflite`, which is not touched afterwards: its
figures, its hash and what is shipped are of one and the same file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.core.messages import Array
from export.conversion import int8
from export.conversion.equalise import equalise, watch
from export.conversion.metadata import stamp
from export.data.pictures import Picture, read_split, spread
from export.networks.mobilenet import SIZE, Network, Weights, normalise, predict, read_weights
from export.run import Run
from export.views.view_cache import photograph_views


def quantise(run: Run, data: Path, *, plain: bool = False) -> None:
    """Make `model.tflite` of a run.

    Args:
        run: a run that has been trained.
        data: the pictures it was trained on.
        plain: leave the equalisation out, to measure what it is worth.

    Raises:
        ExportError: the run has no weights, or pictures are missing.
    """
    weights = read_weights(run.need("weights.npz", "train"))
    config = run.read_json("config.json", "train")
    plan = config["settings"]["training"]
    squares = _squares(data, spread(read_split(run)["train"], int8.CALIBRATION), plan)
    before = predict(weights, squares)[0]
    if not plain:
        weights = equalise(weights, watch(weights, squares))
        after = predict(weights, squares)[0]
        run.log(
            f"quantize: equalised; on {len(squares)} training views float logits moved by "
            f"{np.abs(after - before).max():.1e} at most, "
            f"{np.sum(after.argmax(1) != before.argmax(1))} decisions changed"
        )
    run.write_arrays("equalised.npz", **weights)
    model = stamp(convert(weights, squares), config)
    run.write_bytes("model.tflite", model)
    run.log(f"quantize: model.tflite, {len(model)} bytes")


def _squares(data: Path, pictures: Sequence[Picture], plan: Mapping[str, Any]) -> Array:
    """The pictures as they are, every second one in a chamber if the training showed chambers."""
    files = [picture.file for picture in pictures]
    chambers = 1 if plan["chamber_views"] else 0
    return np.stack(
        [photograph_views(data, files, 0, chambers * (i % 2), i)[-1] for i in range(len(files))]
    )


def convert(weights: Weights, squares: Array) -> bytes:
    """The TFLite file of folded weights, without metadata, as `int8.convert` makes it.

    Args:
        weights: backbone and head.
        squares: uint8 (n, 224, 224, 3), to calibrate activation ranges on.
    """
    network = Network(weights)

    def forward(image: Any) -> tuple[Any, Any]:
        embedding = network.embed(image)
        return network.classify(embedding), embedding

    def inputs() -> Iterator[Array]:
        return (normalise(square[np.newaxis].astype(np.float32)) for square in squares)

    return int8.convert(forward, SIZE, inputs)
