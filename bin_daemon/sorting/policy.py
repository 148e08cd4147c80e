"""What the owner wrote in the configuration, joined with the classes of a model: a `Policy`.

A `Config` and the model's id, labels and thresholds flow in; the arrays that `decision` works on
flow out, or a `ConfigError` that names every class without a route. It never runs the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np

from bin_daemon.config.sections import Config, EvidenceSection
from bin_daemon.core.errors import ConfigError
from bin_daemon.core.messages import Vector
from bin_daemon.sorting.decision import AreaLikelihood, Policy

# A class that neither the owner nor the model gives a threshold needs an even chance.
DEFAULT_THRESHOLD = 0.5
OTHER = "other"


class Labelled(Protocol):
    """Whatever names the classes: a package, a head taught on one, a classifier with either."""

    @property
    def id(self) -> str:
        """Name and version, as messages quote it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""

    @property
    def thresholds(self) -> Mapping[str, float]:
        """By label, the least probability to follow it; without one it is DEFAULT_THRESHOLD."""


def policy_of(config: Config, model: Labelled) -> Policy:
    """Join the configuration and the classes of a model.

    Raises ConfigError where a class of the model has no route, or the configuration names a class
    that neither the model nor a route knows. One that only a route knows may belong to another
    model, or may have been taught.
    """
    labels, route_of = model.labels, config.route_of
    decision, evidence = config.decision, config.decision.evidence
    fires = evidence.metal_sensor
    faults = without_route(config, labels, model.id)
    # `takes` of a route is left out: a profile may serve models with more classes and with fewer.
    named: dict[str, Iterable[str]] = {
        "decision.thresholds": decision.thresholds,
        "decision.alerts": decision.alerts,
        "decision.costs.table": decision.costs.table,
        "decision.evidence.metal_sensor": [name for name in fires if name != OTHER],
        "decision.evidence.area": evidence.area,
    }
    for key, names in named.items():
        faults += [
            f"{key}: {model.id} has no class '{name}'; it has {', '.join(labels)}"
            for name in names
            if name not in labels and name not in route_of
        ]
    if faults:
        raise ConfigError("\n".join(faults))
    routes = tuple(config.routes)
    thresholds = {**model.thresholds, **decision.thresholds}
    return Policy(
        labels=labels,
        routes=routes,
        residual=routes.index(decision.residual),
        route_of=tuple(routes.index(route_of[label]) for label in labels),
        cost=_costs(config, labels),
        thresholds=_vector(thresholds.get(label, DEFAULT_THRESHOLD) for label in labels),
        # For a class without a figure the sensor is no evidence either way.
        metal_fires=_vector(fires.get(n, fires.get(OTHER, 0.5)) for n in labels) if fires else None,
        area=_area(evidence, labels),
        alerts=decision.alerts,
        full_percent=decision.full_percent,
    )


def without_route(config: Config, labels: Iterable[str], model: str) -> list[str]:
    """One message for each label of `model` that no route takes, with the key to edit."""
    return [
        f"routes: no route takes '{label}', a class of {model}; add it to the takes of one"
        for label in labels
        if label not in config.route_of
    ]


def _costs(config: Config, labels: tuple[str, ...]) -> Vector:
    costs, routes, route_of = config.decision.costs, list(config.routes), config.route_of
    matrix = np.full((len(labels), len(routes)), costs.wrong, dtype=np.float32)
    matrix[:, routes.index(config.decision.residual)] = costs.residual
    for i, label in enumerate(labels):
        for route, cost in {route_of[label]: 0.0, **costs.table.get(label, {})}.items():
            matrix[i, routes.index(route)] = cost
    return matrix


def _area(evidence: EvidenceSection, labels: tuple[str, ...]) -> AreaLikelihood | None:
    if not evidence.area:
        return None
    ranges = [evidence.area.get(label) for label in labels]
    return AreaLikelihood(
        low=_vector(r.low if r else 0.0 for r in ranges),
        high=_vector(r.high if r else 1.0 for r in ranges),
        outside=_vector(r.outside if r else 1.0 for r in ranges),
    )


def _vector(values: Iterable[float]) -> Vector:
    return np.fromiter(values, dtype=np.float32)
