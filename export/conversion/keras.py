"""Turn a Keras classifier into the int8 TFLite file that a bin runs.

A model that takes float pixels 0..255 and gives logits and embedding flows in, with pictures to
calibrate on; a file that takes plain uint8 pixels and gives both as int8 flows out. It never
changes the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bin_daemon.core.messages import Array
from export.conversion import int8
from export.conversion.metadata import stamp
from export.data.pictures import load_squares, read_split, spread
from export.networks.keras_backbones import load
from export.run import Run


def quantise(run: Run, data: Path) -> None:
    """Make `model.tflite` of a trained or imported Keras run, calibrated on training pictures.

    Raises:
        ExportError: the run has no model, or pictures are missing.
    """
    config = run.read_json("config.json", "train")
    files = [picture.file for picture in read_split(run)["train"]]
    squares = load_squares(data, spread(files, int8.CALIBRATION), config["size"])
    model = stamp(convert(load(run), squares), config)
    run.write_bytes("model.tflite", model)
    run.log(f"quantize: model.tflite, {len(model)} bytes")


def convert(model: Any, squares: Array) -> bytes:
    """The TFLite file of a Keras model, without metadata, as `int8.convert` makes it.

    Args:
        model: of float pixels (n, s, s, 3), 0..255, to [logits, embedding].
        squares: uint8 (n, s, s, 3), to calibrate activation ranges on.
    """

    def forward(image: Any) -> tuple[Any, Any]:
        logits, embedding = model(image, training=False)
        return logits, embedding

    return int8.convert(forward, squares.shape[1], lambda: int8.calibration(squares))
