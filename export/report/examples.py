"""Right and wrong examples of a run for its report: which pictures, and their thumbnails.

Predictions and figures flow in, a few examples of each kind flow out, chosen without chance. Their
pictures go into a report that stays on this machine.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bin_daemon.core.messages import Array
from export.data.pictures import read_rgb
from export.evaluation import gate
from export.evaluation.evaluate import PREDICTIONS
from export.evaluation.figures import decide
from export.evaluation.pooling import POOLED_PREDICTIONS
from export.run import Run

SIDE, QUALITY = 144, 78  # of a thumbnail, in pixels, and of its JPEG
MOST = 16  # examples of each kind


@dataclass(frozen=True, slots=True)
class Example:
    """One picture with what was found: labels, calibrated confidence, thumbnail as base64 JPEG."""

    file: str
    truth: str
    found: str
    confidence: float
    jpeg: str

    @property
    def right(self) -> bool:
        """Whether the class found is the true one."""
        return self.found == self.truth


def choose(run: Run, report: Mapping[str, Any], data: Path) -> dict[str, list[Example]]:
    """Examples of each kind, the surest mistakes first; of what is right, some of each class.

    Sure is what the shipped thresholds accept. Pictures that are no longer in `data` are left out.
    Raises ExportError where one cannot be read.
    """
    name = POOLED_PREDICTIONS if report["pooled"] else PREDICTIONS
    with np.load(run.need(name, "evaluate")) as archive:
        files, logits, truth = archive["files"], archive["logits"], archive["truth"]
    labels = report["labels"]
    probability, sure = decide(logits, gate.quoted(report)["calibration"])
    right, confidence = probability.argmax(axis=1) == truth, probability.max(axis=1)
    surest = np.argsort(-confidence, kind="stable")
    kinds = {
        "Sure and wrong": surest[(sure & ~right)[surest]],
        "Unsure and wrong: rightly turned away": surest[(~sure & ~right)[surest]],
        "Unsure and right: what is given up": surest[::-1][(~sure & right)[surest[::-1]]],
        "Sure and right": _of_each_class(surest[(sure & right)[surest]], truth),
    }

    def example(i: int) -> Example:
        file, found = str(files[i]), labels[int(probability[i].argmax())]
        return Example(file, labels[truth[i]], found, float(confidence[i]), _thumbnail(data / file))

    chosen = {}
    for kind, order in kinds.items():
        if there := [i for i in order if (data / str(files[i])).is_file()]:
            chosen[f"{kind} ({len(order)} of {len(truth)})"] = [example(i) for i in there[:MOST]]
    return chosen


def _of_each_class(order: Array, truth: Array) -> Array:
    """The same pictures, the first of each class first, then the second of each, and so on."""
    classes, turns = truth[order], np.empty(len(order), int)
    for one in np.unique(classes):
        turns[classes == one] = np.arange(np.count_nonzero(classes == one))
    return order[np.argsort(turns, kind="stable")]


def _thumbnail(path: Path) -> str:
    """The middle square of a picture, as JPEG in base64."""
    picture = read_rgb(path)
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    middle = picture[top : top + side, left : left + side]
    small = cv2.resize(middle, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return base64.b64encode(jpeg.tobytes()).decode("ascii")
