"""One picture that a bin learns from, and what may be said of it.

Values that pass between the sample store, teaching and the command line, and what a class may be
called. Nothing here touches a file.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

from bin_daemon.core.errors import UsageError
from bin_daemon.core.messages import Vector

Source = Literal["taught", "unsure", "corrected"]
UNLABELLED = "unlabelled"  # in an export, the folder of what has no label
_LABEL = re.compile(r"\w[\w .-]{0,63}")


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """One picture of an item and what is known of it.

    label: what a person says it is, or None. taken_at: wall clock. predicted, confidence: what
    `model` (id of a package), with what it had been taught, said. session: the teaching session, or
    the start of the daemon, that it is from. item: the same for all pictures of one thing, which
    must not be split between teaching and testing. embedding: float32 (d,), of the network whose
    file has the SHA-256 `network`; "" where that is not known. cropped: whether the picture
    is the item cut out, and not a whole frame. size_bytes: what it takes on disk.
    """

    id: str
    taken_at: float
    label: str | None
    source: Source
    predicted: str
    confidence: float
    session: str
    item: str
    model: str
    network: str
    embedding: Vector
    cropped: bool
    size_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class SampleStats:
    """The store in figures; dropped: samples given up for the bounds since the store began."""

    count: int
    labelled: int
    size_bytes: int
    dropped: int


def check_label(label: str | None) -> None:
    """Raise UsageError for a label that cannot be the name of a class, and of its folder."""
    if label is not None and (not _LABEL.fullmatch(label) or label == UNLABELLED):
        raise UsageError(
            f"'{label}' cannot name a class: use 1 to 64 letters, digits, spaces, '_', '-' and "
            f"'.', beginning with a letter or digit, and not '{UNLABELLED}'"
        )
