"""What the owner wrote in the configuration, joined with the classes of a model: a `Policy`.

A `Config` and the model's id, labels and thresholds flow in; the arrays that `decision` works on
flow out, or a `ConfigError` that names every class without a route. It never runs the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np

from bin_daemon.config.sections import Config, CostSection, EvidenceSection
from bin_daemon.core.errors import ConfigError
from bin_daemon.core.messages import Vector
from bin_daemon.sorting.decision import AreaLikelihood, Policy

# A class that neither the owner nor the model gives a threshold needs an even chance.
DEFAULT_THRESHOLD = 0.5
OTHER = "other"


class Model(Protocol):
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


def policy_of(config: Config, model: Model) -> Policy:
    """Join the configuration and the classes of a model.

    Raises ConfigError where a class of the model has no route, or the configuration names a class
    that neither the model nor a route knows. One that only a route knows may belong to another
    model, or may have been taught.
    """
    labels, route_of = model.labels, config.route_of
    decision, evidence = config.decision, config.decision.evidence
    faults = without_route(config, labels, model.id)
    # `takes` of a route is left out: a profile may serve models with more classes and with fewer.
    named: dict[str, Iterable[str]] = {
        "decision.thresholds": decision.thresholds,
        "decision.alerts": decision.alerts,
        "decision.costs.table": decision.costs.table,
        "decision.evidence.metal_sensor": [n for n in evidence.metal_sensor if n != OTHER],
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
    home = tuple(routes.index(route_of[label]) for label in labels)
    residual = routes.index(decision.residual)
    thresholds = {**model.thresholds, **decision.thresholds}
    return Policy(
        labels=labels,
        routes=routes,
        residual=residual,
        home=home,
        cost=_costs(decision.costs, labels, routes, home, residual),
        thresholds=_vector(thresholds.get(label, DEFAULT_THRESHOLD) for label in labels),
        metal_fires=_metal(evidence.metal_sensor, labels),
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


def _costs(
    costs: CostSection,
    labels: tuple[str, ...],
    routes: tuple[str, ...],
    home: tuple[int, ...],
    residual: int,
) -> Vector:
    matrix = np.full((len(labels), len(routes)), costs.wrong, dtype=np.float32)
    matrix[:, residual] = costs.residual
    matrix[np.arange(len(labels)), home] = 0.0
    for i, label in enumerate(labels):
        for route, cost in costs.table.get(label, {}).items():
            matrix[i, routes.index(route)] = cost
    return matrix


def _metal(fires: Mapping[str, float], labels: tuple[str, ...]) -> Vector | None:
    if not fires:
        return None
    # For a class without a figure the sensor is no evidence either way.
    return _vector(fires.get(label, fires.get(OTHER, 0.5)) for label in labels)


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
