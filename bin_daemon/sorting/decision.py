"""From looks to a route: pure functions, no state.

Several predictions of one item and what the sensors say flow in; a `Decision` with its reason in
words flows out. The same input always gives the same decision.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from bin_daemon.core.messages import Decision, Prediction, Readings, Vector
from bin_daemon.core.softmax import softmax

# Below this a probability carries no more information: keeps log() finite.
_FLOOR = 1e-6


@dataclasses.dataclass(frozen=True, slots=True)
class AreaLikelihood:
    """How large the items of each of the n labels usually are.

    low, high: float (n,), usual share of the frame. outside: float (n,), likelihood of any other.
    """

    low: Vector
    high: Vector
    outside: Vector


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """What the owner of a bin has decided beforehand, as arrays over its n labels and m routes.

    route_of: for each label, the index of the route that takes it.
    cost: float (n, m), what it costs to send an item of a label down a route.
    thresholds: float (n,), by label, the probability that its route must reach.
    metal_fires: float (n,), probability that the metal sensor fires. metal_fires, area: None where
    the owner takes no such evidence. alerts: words to raise when an item is of that label.
    full_percent: from this fill level on, a route takes no more.
    """

    labels: tuple[str, ...]
    routes: tuple[str, ...]
    residual: int
    route_of: tuple[int, ...]
    cost: Vector
    thresholds: Vector
    metal_fires: Vector | None = None
    area: AreaLikelihood | None = None
    alerts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    full_percent: float = 95.0


def fuse(
    looks: Sequence[Prediction], policy: Policy, readings: Readings, area: float | None
) -> Vector:
    """Probabilities float32 (n,) after all looks and the other evidence.

    The looks are frames of one item and not independent, so their log-probabilities are averaged,
    not summed (geometric opinion pool). Evidence from other senses is independent of the picture
    given the class, so its log-likelihoods are added (Bayes).
    """
    stacked = np.stack([look.probabilities for look in looks]).astype(np.float64)
    score = np.log(np.clip(stacked, _FLOOR, 1.0)).mean(axis=0)
    if policy.metal_fires is not None and readings.metal is not None:
        fires = policy.metal_fires
        score += np.log(fires if readings.metal else 1.0 - fires)
    if policy.area is not None and area is not None:
        usual = (policy.area.low <= area) & (area <= policy.area.high)
        score += np.log(np.where(usual, 1.0, policy.area.outside))
    fused: Vector = softmax(score).astype(np.float32)
    return fused


def decide(
    looks: Sequence[Prediction],
    policy: Policy,
    readings: Readings,
    area: float | None = None,
    several: bool = False,
) -> Decision:
    """Where the item goes.

    looks: at least one, else ValueError. area: share of the frame that the item covers, 0 to 1,
    where it is known. several: two or more separate items lie there, so no single route is right.
    """
    if not looks:
        raise ValueError("a decision needs at least one look")
    usable = [look for look in looks if np.all(np.isfinite(look.probabilities))]
    uniform = np.full(len(policy.labels), 1.0 / len(policy.labels), dtype=np.float32)
    fused = fuse(usable, policy, readings, area) if usable else uniform
    best = int(np.argmax(fused))
    followed = usable and fused[best] >= policy.thresholds[best]
    residual = Decision(
        route=policy.routes[policy.residual],
        label=policy.labels[best],
        confidence=float(fused[best]),
        labels=policy.labels,
        probabilities=fused,
        reason="the network gave no numbers",
        rejected=True,
        alert=policy.alerts.get(policy.labels[best]) if followed else None,
    )
    if not usable:
        return residual
    if several:
        return dataclasses.replace(residual, reason="two or more separate items")
    # What has to be sure is the route: paper or cardboard does not matter where both go one way.
    mass = np.bincount(policy.route_of, weights=fused, minlength=len(policy.routes))
    likeliest = int(np.argmax(mass))
    own, sure = policy.routes[likeliest], float(mass[likeliest])
    members = (i for i, index in enumerate(policy.route_of) if index == likeliest)
    first = max(members, key=fused.__getitem__)
    seen = f"{policy.labels[first]} {fused[first]:.2f}"
    if sure - fused[first] >= 0.005:
        seen += f" ({own} in all {sure:.2f})"
    if sure < policy.thresholds[first]:
        reason = f"{seen} is below its threshold {policy.thresholds[first]:.2f}"
        return dataclasses.replace(residual, reason=reason, unsure=True, alert=None)
    expected = fused @ policy.cost
    # Where costs tie, its own route is taken.
    route = likeliest if expected[likeliest] <= expected.min() + 1e-9 else int(np.argmin(expected))
    name = policy.routes[route]
    if route != likeliest:
        seen += f", but {name} costs {expected[route]:.2f} and {own} {expected[likeliest]:.2f}"
    level = readings.fill_percent.get(name, 0.0)
    if level >= policy.full_percent and route != policy.residual:
        return dataclasses.replace(residual, reason=f"{seen}, but {name} is full ({level:.0f} %)")
    diverted = route == policy.residual != likeliest
    return dataclasses.replace(residual, route=name, reason=seen, rejected=diverted)
