"""What the sorter asks of whoever owns the hardware, as values."""

from __future__ import annotations

import dataclasses

from bin_daemon.core.messages import Decision, Item, Outcome, Prediction, Severity


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """Classify this item now and answer with `Sorter.looked`."""

    item: Item


@dataclasses.dataclass(frozen=True, slots=True)
class Decide:
    """A decision was made: hand it to the store, then move.

    prediction: the last of the looks. timings_ms: settle (first seen to at rest), look (at rest to
    decided).
    """

    decision: Decision
    item: Item
    prediction: Prediction
    looks: int
    timings_ms: dict[str, float]


@dataclasses.dataclass(frozen=True, slots=True)
class Move:
    """Play a route of the chute, slowly where it is gentle."""

    route: str
    gentle: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Freeze:
    """Hold all motion where it is."""

    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Thaw:
    """Let motion go on."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finish:
    """The item that was decided last is done. timings_ms: clear (home again to done)."""

    outcome: Outcome
    timings_ms: dict[str, float]


@dataclasses.dataclass(frozen=True, slots=True)
class Raise:
    """Tell the operator, until it is resolved."""

    kind: str
    severity: Severity
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Resolve:
    """Withdraw the alert of this kind."""

    kind: str


Action = Look | Decide | Move | Freeze | Thaw | Finish | Raise | Resolve
