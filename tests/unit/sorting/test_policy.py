"""Configuration and model joined: costs, thresholds and evidence in the model's order."""

import dataclasses

import numpy as np
import pytest

from bin_daemon.config.load import load_config, validate
from bin_daemon.config.sections import Config
from bin_daemon.core.errors import ConfigError
from bin_daemon.model.package import open_package
from bin_daemon.sorting.policy import policy_of


@pytest.fixture
def profile() -> Config:
    return load_config("simulator")


def with_decision(profile: Config, **values) -> Config:
    raw = dataclasses.asdict(profile)
    raw["decision"].update(values)
    return validate(Config, raw)


def test_each_label_finds_the_route_that_takes_it(profile):
    policy = policy_of(profile, open_package("waste6"))
    for label, route in zip(policy.labels, policy.route_of, strict=True):
        assert label in profile.routes[policy.routes[route]].takes
    assert policy.routes[policy.residual] == "residual"


def test_the_right_route_costs_nothing_and_exceptions_count(profile):
    costs = {"residual": 1, "wrong": 4, "table": {"glass": {"paper": 12}}}
    policy = policy_of(with_decision(profile, costs=costs), open_package("waste6"))
    glass = policy.labels.index("glass")
    row = dict(zip(policy.routes, policy.cost[glass].tolist(), strict=True))
    assert row["glass"] == 0
    assert row["residual"] == 1
    assert row["paper"] == 12
    assert policy.cost[np.arange(6), policy.route_of].tolist() == [0] * 6


def test_the_owner_s_thresholds_overrule_the_model_s(profile):
    package = open_package("waste6")
    policy = policy_of(with_decision(profile, thresholds={"metal": 0.11}), package)
    found = dict(zip(policy.labels, policy.thresholds.tolist(), strict=True))
    assert found["metal"] == pytest.approx(0.11)
    assert found["glass"] == pytest.approx(package.manifest.thresholds["glass"])


def test_the_metal_sensor_says_nothing_of_classes_nobody_spoke_for(profile):
    package = open_package("waste6")
    evidence = {"metal_sensor": {"metal": 0.95}}
    policy = policy_of(with_decision(profile, evidence=evidence), package)
    assert policy.metal_fires[policy.labels.index("metal")] == pytest.approx(0.95)
    assert policy.metal_fires[policy.labels.index("glass")] == 0.5
    evidence["metal_sensor"]["other"] = 0.02
    policy = policy_of(with_decision(profile, evidence=evidence), package)
    assert policy.metal_fires[policy.labels.index("glass")] == pytest.approx(0.02)


def test_sizes_are_evidence_only_for_the_classes_named(profile):
    evidence = {"area": {"metal": {"high": 0.1}}}
    policy = policy_of(with_decision(profile, evidence=evidence), open_package("waste6"))
    metal, glass = policy.labels.index("metal"), policy.labels.index("glass")
    assert policy.area.high[metal] == pytest.approx(0.1)
    assert (policy.area.low[glass], policy.area.high[glass]) == (0, 1)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"thresholds": {"wood": 0.5}}, "decision.thresholds"),
        ({"alerts": {"battery": "fire"}}, "decision.alerts"),
        ({"costs": {"table": {"wood": {"paper": 1}}}}, "decision.costs.table"),
        ({"evidence": {"metal_sensor": {"wood": 0.5}}}, "decision.evidence.metal_sensor"),
        ({"evidence": {"area": {"wood": {}}}}, "decision.evidence.area"),
    ],
)
def test_classes_that_nobody_knows_are_reported(profile, values, key):
    with pytest.raises(ConfigError, match=f"{key}: waste6@.* has no class"):
        policy_of(with_decision(profile, **values), open_package("waste6"))


@pytest.mark.parametrize(
    "values",
    [
        {"thresholds": {"can": 0.5}},
        {"alerts": {"can": "fire"}},
        {"costs": {"table": {"can": {"paper": 1}}}},
        {"evidence": {"metal_sensor": {"can": 0.5}}},
        {"evidence": {"area": {"can": {}}}},
    ],
)
def test_a_class_of_a_route_may_be_named_while_no_model_knows_it(profile, values):
    """A taught class must not stop the bin when its head is out of use."""
    raw = dataclasses.asdict(profile)
    cans = next(route for route in raw["routes"].values() if "metal" in route["takes"])
    cans["takes"] = [*cans["takes"], "can"]
    named = with_decision(validate(Config, raw), **values)
    policy = policy_of(named, open_package("waste6"))
    assert "can" not in policy.labels
    np.testing.assert_array_equal(policy.cost, policy_of(profile, open_package("waste6")).cost)
