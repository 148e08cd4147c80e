"""What passes between the rooms of the daemon: frozen values, no behaviour beyond small views.

Arrays inside are owned by the message: who makes one hands it over and does not write to it again.
Times named `*_at` without further word are wall-clock Unix seconds; `captured_at` of a frame is
`time.monotonic` seconds, because intervals are measured from it. `to_json` is the one encoder of
everything that leaves the process.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]  # shape and dtype as the docstring says
Image = np.ndarray[Any, np.dtype[np.uint8]]  # (height, width, 3) RGB
Mask = np.ndarray[Any, np.dtype[np.bool_]]  # (height, width)
Vector = np.ndarray[Any, np.dtype[np.float32]]  # (n,)


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """One picture of the camera.

    image: uint8 (height, width, 3), RGB. captured_at: monotonic seconds.
    number: counts the frames of this camera from 0.
    small: uint8 (h, w, 3) RGB, the same view at lower resolution, from cameras that make one.
    """

    image: Image
    captured_at: float
    number: int
    small: Image | None = None


class View(StrEnum):
    """What the chamber makes of a frame."""

    LEARNING = "learning"  # no reference of the empty chamber yet
    EMPTY = "empty"
    MOVING = "moving"  # something is there and has not come to rest
    ITEM = "item"  # one item at rest
    ITEMS = "items"  # two or more separate items at rest
    HAND = "hand"  # something reaches in from the border
    BLOCKED = "blocked"  # covered, dark or overexposed: nothing can be said


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """What lies in the chamber, cut out for the classifier, with its place as evidence.

    crop: uint8 (side, side, 3) RGB, square, colour-normalised against the empty reference.
    box: x, y, width, height in pixels of the frame.
    mask: bool (h, w) at the chamber's working resolution, the pixels that belong to the item.
    area: share of the frame that the mask covers, 0 to 1.
    centre: x, y of the mask's centroid, each 0 to 1 of the frame.
    """

    crop: Image
    box: tuple[int, int, int, int]
    mask: Mask
    area: float
    centre: tuple[float, float]


class Blockage(StrEnum):
    """Why a view is blocked."""

    DARK = "dark"
    OVEREXPOSED = "overexposed"
    COVERED = "covered"


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """One frame as the chamber sees it.

    view: what it is; item: only with View.ITEM and View.ITEMS (there it spans all of them).
    reason: words for the log and the operator ("dark: mean brightness 4 of 255").
    blockage: only with View.BLOCKED.
    changed: share of the chamber that differs from the empty reference, 0 to 1.
    """

    view: View
    captured_at: float
    item: Item | None = None
    reason: str = ""
    changed: float = 0.0
    blockage: Blockage | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Prediction:
    """What the network says of one crop.

    labels: n names in the model's order; probabilities: float32 (n,), calibrated, sum 1.
    embedding: float32 (d,), the pooled features before the class head; (0,) where there are none.
    timings_ms: prepare, invoke, finish.
    """

    labels: tuple[str, ...]
    probabilities: Vector
    embedding: Vector
    timings_ms: Mapping[str, float]

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.labels[int(np.argmax(self.probabilities))]

    @property
    def confidence(self) -> float:
        """The probability of `label`, 0 to 1."""
        return float(np.max(self.probabilities))


@dataclasses.dataclass(frozen=True, slots=True)
class Readings:
    """What the sensors say at one moment; False, None or absent where a bin has no such sensor.

    fill_percent: by route, 0 to 100. silent: routes whose level is unknown, because their sensor
    has given no echo for too long.
    """

    lid_open: bool = False
    beam_broken: bool = False
    metal: bool | None = None
    fill_percent: Mapping[str, float] = dataclasses.field(default_factory=dict)
    silent: tuple[str, ...] = ()

    @property
    def interlocked(self) -> str:
        """Which sensor forbids motion, in words; "" where none does."""
        if self.lid_open:
            return "the lid is open"
        return "something reaches through the opening" if self.beam_broken else ""


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """Where an item goes, and why.

    label, confidence: the fused arg max and its probability. probabilities: float32 (n,), fused.
    rejected: sent to the residual route instead of the one of its class. unsure: because the
    probability of the route is below the threshold. alert: what to tell the operator about this
    class (a battery, say).
    """

    route: str
    label: str
    confidence: float
    labels: tuple[str, ...]
    probabilities: Vector
    reason: str
    rejected: bool = False
    unsure: bool = False
    alert: str | None = None

    def top(self, k: int) -> tuple[tuple[str, float], ...]:
        """The k most probable classes with their probabilities, best first."""
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return tuple((self.labels[i], float(self.probabilities[i])) for i in order)


class Outcome(StrEnum):
    """How the sorting of an item ended."""

    SORTED = "sorted"  # it left the chamber by the route of its class
    REJECTED = "rejected"  # it left by the residual route instead of its own
    JAMMED = "jammed"  # it is still there after the retry
    INTERRUPTED = "interrupted"  # stopped, or the view was lost, before it could tell


@dataclasses.dataclass(frozen=True, slots=True)
class SortEvent:
    """One item, from its decision to its outcome; what the store keeps and MQTT delivers.

    id: UUIDv7, the same at every delivery, so that a consumer can drop repeats.
    session: counts the starts of this bin's daemon; seq: counts the items of a session from 1.
    decided_at, finished_at: wall clock. boot_id, monotonic_s: to correct `decided_at` afterwards
    where the clock was not yet set (`clock_synced` false). timings_ms: settle, look, classify,
    move, clear. item: area, centre and box of what lay there. outcome: None until it is known.
    historical: delivered later than the moment it tells of.
    """

    id: str
    session: int
    seq: int
    decided_at: float
    label: str
    confidence: float
    top_k: tuple[tuple[str, float], ...]
    route: str
    reason: str
    model: str
    looks: int
    item: Mapping[str, Any]
    timings_ms: Mapping[str, float]
    boot_id: str
    monotonic_s: float
    clock_synced: bool
    finished_at: float | None = None
    outcome: Outcome | None = None
    historical: bool = False


class Severity(StrEnum):
    """How much an alert matters."""

    WARNING = "warning"
    ERROR = "error"


@dataclasses.dataclass(frozen=True, slots=True)
class Alert:
    """Something the operator should know until it is resolved.

    kind: names it and its topic ([a-z0-9_]+: jam, blocked, full_paper). since: wall clock.
    """

    kind: str
    severity: Severity
    message: str
    since: float


@dataclasses.dataclass(frozen=True, slots=True)
class Health:
    """How the bin is, in figures; published at an interval and when `problems` changes."""

    uptime_s: float
    camera_fps: float
    frame_age_s: float
    temperature_c: float | None
    throttled: str | None
    disk_free_mb: float | None
    outbox_depth: int
    outbox_oldest_s: float
    events_dropped: int
    clock_synced: bool
    problems: tuple[str, ...]


def stamp(unix_s: float) -> str:
    """Wall-clock seconds as ISO 8601 in UTC with milliseconds ("2026-03-01T09:30:00.125Z")."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _plain(value: Any, key: str = "") -> Any:
    """`value` as JSON types: `*_at` and `since` become stamps, NaN and infinity null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): _plain(v, str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    if key.endswith("_at") or key == "since":
        return stamp(number)
    return round(number, 6)


def to_json(value: Any) -> str:
    """A message, mapping or list as one line of JSON."""
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))
