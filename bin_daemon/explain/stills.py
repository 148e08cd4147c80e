"""Everything in view, thing by thing: where each is, what it is, where it would go.

A still, with a picture of the empty chamber or without one, and a classifier flow in; `Instances`
flow out, to be drawn or printed. To the daemon several things are one item, which goes to residual.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np

from bin_daemon.chamber.chamber import isolate, isolate_each, watched
from bin_daemon.chamber.crop import Box, window
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core.messages import Decision, Image, Item, Mask, Prediction, Readings
from bin_daemon.model.classifier import Classifier
from bin_daemon.sorting.decision import Policy, decide


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """One thing, in pixels of the picture, and what is made of it.

    box: x, y, width, height. mask: bool (height, width) of the whole picture, and area: its share,
    0 to 1; both None where nothing was cut out. crop: what the network was shown; window: x, y,
    width, height of the part of the picture that it shows, which may reach beyond the borders.
    decision: where it would go if it lay there alone.
    """

    box: Box
    mask: Mask | None
    area: float | None
    crop: Image
    window: Box
    prediction: Prediction
    decision: Decision


@dataclasses.dataclass(frozen=True, slots=True)
class Instances:
    """What a still shows, as one item (`whole`), as the bin takes it, and as separate ones.

    things: largest first; `whole` itself where there is only one, or no empty view.
    """

    whole: Instance
    things: tuple[Instance, ...]


def look_at(
    image: Image,
    empty: Image | None,
    config: ChamberSection,
    classifier: Classifier,
    policy: Policy,
) -> Instances | None:
    """Cut out, classify and route what is on one still; None shows but the empty chamber.

    image, empty: uint8 (height, width, 3) RGB of one size; without `empty` the whole picture is the
    item. Raises PictureError where they do not fit.
    """
    height, width = image.shape[:2]

    def seen(item: Item | None, several: bool = False) -> Instance:
        crop, area = (image, None) if item is None else (item.crop, item.area)
        prediction = classifier.classify(crop)
        decision = decide([prediction], policy, Readings(), area, several)
        if item is None:
            frame = (0, 0, width, height)
            return Instance(frame, None, None, crop, frame, prediction, decision)
        mask = frame_mask(item.mask, width, height, config)
        cut = window(item.box, config.margin, width, height)
        return Instance(item.box, mask, area, crop, cut, prediction, decision)

    if empty is None:
        whole = seen(None)
        return Instances(whole, (whole,))
    things = tuple(map(seen, isolate_each(image, empty, config)))
    if len(things) > 1:
        return Instances(seen(isolate(image, empty, config), several=True), things)
    return Instances(things[0], things) if things else None


def frame_mask(mask: Mask, width: int, height: int, config: ChamberSection) -> Mask:
    """A mask at the chamber's working resolution as bool (height, width) of the frame."""
    left, top, right, bottom = watched(width, height, config)
    share = mask.astype(np.float32)
    smooth = cv2.resize(share, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    full = np.zeros((height, width), np.bool_)
    full[top:bottom, left:right] = smooth > 0.5
    return full


def to_run_lengths(mask: Mask) -> dict[str, list[int]]:
    """A mask as COCO writes it uncompressed: `size` [height, width], and `counts`.

    The counts are lengths of runs down the columns, from the left, beginning with what is not of
    the thing (0 where the first pixel is); `pycocotools.mask.frPyObjects` reads it.
    """
    flat = np.concatenate(([False], mask.ravel(order="F")))
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate(([0], edges, [mask.size]))).tolist()
    return {"size": [int(side) for side in mask.shape], "counts": counts}


def plain(instance: Instance) -> dict[str, Any]:
    """What `--json` tells of one thing."""
    return {
        "label": instance.prediction.label,
        "confidence": instance.prediction.confidence,
        "route": instance.decision.route,
        "box": instance.box,
        "area": instance.area,
        "mask": None if instance.mask is None else to_run_lengths(instance.mask),
    }
