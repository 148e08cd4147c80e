"""Import a trained classifier: from somebody's file to a run that can be measured and packaged.

A `.keras`, `.h5` or `.tflite` file, its labels and a folder of pictures flow in; a run folder with
`model.tflite`, `float.npz` and a split flows out. Each way to scale pixels is tried on the
pictures; where none is clearly right, the person must say. The pictures calibrate and measure;
nothing is trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bin_daemon.core.messages import Array
from bin_daemon.core.softmax import softmax
from export.conversion import golden
from export.conversion.int8 import CALIBRATION
from export.conversion.metadata import stamp
from export.data.check import check_data
from export.data.pictures import Picture, label_indices, load_squares, spread, write_split
from export.errors import ExportError
from export.evaluation.runtimes import RUNTIMES, run_apart
from export.networks.mobilenet import embedding_at_hand
from export.run import DEFAULT_BACKBONE, Run, relative, versions

if TYPE_CHECKING:
    from export.conversion.keras_import import KerasSource
    from export.conversion.tflite_import import TfliteSource

CALIBRATING_FOLD = 0
"""Of five folds of the pictures, the one that calibrates; the others measure."""
TRIED = 100
"""Pictures at most on which the ways to scale pixels are compared."""
CLEARLY = 0.1
LEAST_APART = 6
"""By this share of the pictures, and by so many, one way to scale pixels must win to be told from
another: where both are as good, all of six that only one gets right are of the same one in 64."""
SUFFIXES = (".keras", ".h5", ".hdf5", ".tflite")

Answer = Callable[[Array], Sequence[Array]]
"""uint8 (n, s, s, 3) to logits (n, classes) and embeddings (n, d) of the source model, float32."""


def import_model(
    run: Run, file: Path, labels_file: Path, pictures: Path, scale: str | None, side: int | None
) -> Run:
    """Import a model into a new run; returns the run.

    run: to make; a folder that holds another run is refused. file: the model. labels_file: class
    names, one a line, in the order of the model's scores. pictures: folder of `<class>/<picture>`,
    as the bin will see them. scale: one of `NORMALISATIONS`; None tries each and takes the one that
    is clearly right. side: of the input, where the model leaves it open.

    Raises ExportError where something is missing or does not fit, or `scale` must be stated.
    """
    if run.path("config.json").exists():
        raise ExportError(f"{run.folder}: holds a run already; name another with --name")
    if file.suffix not in SUFFIXES or not file.is_file():
        raise ExportError(f"{file}: must be a file that ends in {', '.join(SUFFIXES)}")
    labels = read_labels(labels_file)
    source: KerasSource | TfliteSource
    if file.suffix == ".tflite":
        from export.conversion.tflite_import import TfliteSource

        source = TfliteSource(file, labels)
    else:
        from export.conversion.keras_import import KerasSource

        source = KerasSource(file, labels, side)
    run.create()
    listed = check_data(run, pictures, labels, embed=embedding_at_hand(DEFAULT_BACKBONE))
    parts = {
        "train": [p for p in listed if p.fold == CALIBRATING_FOLD],
        "held_out": [p for p in listed if p.fold != CALIBRATING_FOLD],
    }
    scale, tried = _choose_scale(run, source, scale, pictures, parts["held_out"], labels)
    config = _config(run, file, labels, pictures, len(parts["train"]))
    config |= {"size": source.side, "input": source.input_spec(scale)}
    config["settings"] |= {"scale": scale, "tried": tried}
    calibrating = spread([p.file for p in parts["train"]], CALIBRATION)
    squares = load_squares(pictures, calibrating, source.side)
    content = stamp(source.quantise(run, scale, squares), config)
    run.write_bytes("model.tflite", content)
    held_out = load_squares(pictures, [p.file for p in parts["held_out"]], source.side)
    answer, truth = source.answer(scale), label_indices(parts["held_out"], labels)
    logits, embedding = answer(held_out)
    run.write_arrays("float.npz", logits=logits, embedding=embedding, truth=truth)
    run.write_json("versions.json", versions())
    write_split(run, parts)
    check(run, content, {"golden inputs": golden.draw(source.side), "pictures": held_out}, answer)
    run.write_json("config.json", config)
    return run


def _config(
    run: Run, file: Path, labels: Sequence[str], pictures: Path, calibrating: int
) -> dict[str, Any]:
    """What `config.json` says of a model before it is opened."""
    return {
        "recipe": run.folder.name,
        "kind": "imported",
        "title": f"{file.name}, imported",
        "labels": list(labels),
        "settings": {
            "source": file.name,
            "source_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        },
        "data": relative(pictures),
        "fold": None,
        "provenance": {
            "model": f"{file.name}, trained elsewhere",
            "data": f"{calibrating} pictures of {pictures.resolve().name} calibrated it",
        },
        "licences": {"model": "that of its author", "data": "that of the pictures you brought"},
        "limits": [
            "What it was trained on is known to its author alone: where its training saw the "
            "pictures it was measured on, the figures flatter."
        ],
    }


def read_labels(file: Path) -> tuple[str, ...]:
    """Class names, one a line; numbers before them, as Teachable Machine writes, are left out.

    Raises ExportError where the file is missing, or names fewer than two classes, or one twice.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{file}: cannot be read: {error}") from error
    names = [line.strip() for line in lines if line.strip()]
    pairs = [name.split(maxsplit=1) for name in names]
    if all(len(pair) == 2 and pair[0] == str(i) for i, pair in enumerate(pairs)):
        names = [pair[1] for pair in pairs]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ExportError(f"{file}: needs at least two class names, one a line, each once")
    return tuple(names)


def _choose_scale(
    run: Run,
    source: KerasSource | TfliteSource,
    scale: str | None,
    folder: Path,
    pictures: Sequence[Picture],
    labels: Sequence[str],
) -> tuple[str, dict[str, dict[str, float]]]:
    """The way to scale pixels that is stated, else the clearly right one; the figures of each.

    Raises ExportError where there is no such way, or none is stated and none is clearly right.
    """
    if scale is not None and scale not in source.scales:
        raise ExportError(f"--scale {scale}: must be one of {', '.join(source.scales)}")
    shown = spread(pictures, TRIED)
    truth = label_indices(shown, labels)
    squares = load_squares(folder, [p.file for p in shown], source.side)
    tried = {}
    for name in source.scales:
        logits, _ = source.answer(name)(squares)
        right = round(float(np.mean(logits.argmax(1) == truth)), 4)
        sure = round(float(softmax(logits).max(axis=1).mean()), 4)
        tried[name] = {"accuracy": right, "mean_confidence": sure}
        run.log(
            f"import: pixels as {name}: {right:.0%} right of {len(shown)}, "
            f"mean confidence {sure:.2f}"
        )
    best = max(figures["accuracy"] for figures in tried.values())
    margin = max(CLEARLY, LEAST_APART / len(shown))
    alike = [name for name in tried if tried[name]["accuracy"] > best - margin]
    if scale is None and len(alike) > 1:
        raise ExportError(
            f"the file does not say how it wants pixels scaled, and {' and '.join(alike)} do alike "
            f"on your pictures: ask whoever trained it, or look for its preprocessing, and state "
            f"it with --scale="
        )
    chosen = scale or alike[0]
    if scale is None and len(tried) > 1:
        run.log(f"import: takes pixels as {chosen}, clearly right most often; --scale says another")
    if chosen not in alike:
        run.log(f"import: WARNING: {alike[0]} is right far more often than the {chosen} you state")
    return chosen, tried


def check(run: Run, content: bytes, shown: Mapping[str, Array], answer: Answer) -> None:
    """Log how far the int8 file agrees with its source on each runtime.

    `shown` is uint8 (n, s, s, 3) pictures by what they are called. Leaves `refusals.json`, the
    runtimes that do not take the file and their words; raises ExportError where none takes it.
    """
    refusals = {}
    for runtime in RUNTIMES:
        try:
            for name, squares in shown.items():
                found, expected = run_apart(content, runtime, squares).logits, answer(squares)[0]
                same = int(np.sum(found.argmax(1) == expected.argmax(1)))
                error = np.sqrt(np.mean(np.square(found - expected))) / expected.std()
                run.log(
                    f"import: {runtime}: int8 decides as the source on {same} of {len(squares)} "
                    f"{name}, logits off by {error:.1%} of their spread"
                )
        except ExportError as refusal:
            refusals[runtime] = str(refusal)
            run.log(f"import: {runtime}: {refusal}")
    run.write_json("refusals.json", refusals)
    if len(refusals) == len(RUNTIMES):
        raise ExportError(f"{run.folder}: no runtime takes the file; see log.txt there")
