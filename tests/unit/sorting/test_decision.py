"""The decision: what is fused, what is rejected, what it costs, and what it says of itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bin_daemon.core.messages import Prediction, Readings
from bin_daemon.sorting.decision import AreaLikelihood, Policy, decide, fuse

LABELS = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
ROUTES = ("fibre", "glass", "packaging", "residual")
ROUTE_OF = (0, 1, 2, 0, 2, 3)
NO_READINGS = Readings()


def cost_matrix(residual: float = 1.0, wrong: float = 4.0) -> np.ndarray:
    cost = np.full((6, 4), wrong, dtype=np.float32)
    cost[:, 3] = residual
    for label, route in enumerate(ROUTE_OF):
        cost[label, route] = 0.0
    return cost


def policy(threshold: float = 0.6, **changes) -> Policy:
    parts = {
        "labels": LABELS,
        "routes": ROUTES,
        "residual": 3,
        "route_of": ROUTE_OF,
        "cost": cost_matrix(),
        "thresholds": np.full(6, threshold, dtype=np.float32),
    }
    return Policy(**{**parts, **changes})


def look(**probabilities: float) -> Prediction:
    """A look with the given probabilities; what is left is spread over the other classes."""
    rest = (1.0 - sum(probabilities.values())) / (6 - len(probabilities))
    values = np.array([probabilities.get(name, rest) for name in LABELS], dtype=np.float32)
    return Prediction(LABELS, values, np.zeros(4, dtype=np.float32), {})


distributions = st.lists(st.floats(0.001, 1.0), min_size=len(LABELS), max_size=len(LABELS)).map(
    lambda xs: np.array(xs, dtype=np.float32) / np.float32(sum(xs))
)
looks_of_one_item = st.lists(distributions, min_size=1, max_size=6).map(
    lambda ds: [Prediction(LABELS, d, np.zeros(4, dtype=np.float32), {}) for d in ds]
)


def test_a_clear_item_takes_the_route_of_its_class():
    decision = decide([look(glass=0.95)], policy(), NO_READINGS)
    assert (decision.route, decision.label, decision.rejected) == ("glass", "glass", False)
    assert decision.reason == "glass 0.95"


def test_an_unsure_item_goes_to_residual_and_the_reason_names_the_threshold():
    decision = decide([look(glass=0.5)], policy(), NO_READINGS)
    assert (decision.route, decision.rejected) == ("residual", True)
    assert decision.reason == "glass 0.50 is below its threshold 0.60"


def test_classes_that_share_a_route_need_not_be_told_apart():
    decision = decide([look(paper=0.5, cardboard=0.45)], policy(0.9), NO_READINGS)
    assert decision.route == "fibre"


def test_a_costly_mistake_is_avoided_though_the_class_is_likely():
    dear = policy(cost=cost_matrix(wrong=20.0))
    decision = decide([look(glass=0.9)], dear, NO_READINGS)
    assert (decision.route, decision.rejected) == ("residual", True)
    assert "but residual costs 0.98 and glass 2.00" in decision.reason


def test_a_full_compartment_diverts_to_residual_and_says_so():
    full = Readings(fill_percent={"glass": 100.0})
    decision = decide([look(glass=0.95)], policy(), full)
    assert (decision.route, decision.rejected) == ("residual", True)
    assert decision.reason == "glass 0.95, but glass is full (100 %)"


def test_a_full_residual_compartment_still_takes_what_has_no_other_way():
    full = Readings(fill_percent={"residual": 100.0})
    decision = decide([look(trash=0.95)], policy(), full)
    assert (decision.route, decision.rejected) == ("residual", False)


def test_two_items_go_to_residual_however_sure_the_network_is():
    decision = decide([look(glass=0.99)], policy(), NO_READINGS, several=True)
    assert (decision.route, decision.reason) == ("residual", "two or more separate items")


def test_one_doubtful_look_does_not_outvote_two_clear_ones():
    looks = [look(metal=0.9), look(glass=0.6, metal=0.3), look(metal=0.9)]
    assert decide(looks, policy(), NO_READINGS).label == "metal"


def test_the_metal_sensor_tips_the_scale():
    fires = np.array([0.02, 0.02, 0.95, 0.02, 0.02, 0.1], dtype=np.float32)
    sensing = policy(metal_fires=fires)
    doubtful = look(metal=0.45, plastic=0.45)
    assert decide([doubtful], sensing, Readings(metal=True)).label == "metal"
    assert decide([doubtful], sensing, Readings(metal=False)).label == "plastic"


def test_a_sensor_that_is_not_there_is_no_evidence():
    fires = np.array([0.02, 0.02, 0.95, 0.02, 0.02, 0.1], dtype=np.float32)
    one = look(metal=0.5, plastic=0.4)
    with_policy = fuse([one], policy(metal_fires=fires), Readings(metal=None), None)
    np.testing.assert_allclose(with_policy, one.probabilities, rtol=1e-4)


def test_an_unusual_size_counts_against_a_class():
    low, high = np.zeros(6, np.float32), np.ones(6, np.float32)
    high[4] = 0.1  # plastic is never large here
    area = AreaLikelihood(low, high, np.full(6, 0.1, dtype=np.float32))
    doubtful = look(metal=0.45, plastic=0.47)
    assert decide([doubtful], policy(area=area), NO_READINGS, area=0.5).label == "metal"
    assert decide([doubtful], policy(area=area), NO_READINGS, area=0.05).label == "plastic"


def test_a_class_can_raise_an_alert_when_it_is_followed_but_not_when_it_is_doubted():
    told = policy(alerts={"metal": "look for batteries"})
    assert decide([look(metal=0.95)], told, NO_READINGS).alert == "look for batteries"
    assert decide([look(metal=0.4)], told, NO_READINGS).alert is None


def test_an_alert_is_reported_wherever_the_item_goes():
    told = policy(alerts={"metal": "look for batteries"})
    full = Readings(fill_percent={"packaging": 100.0})
    assert decide([look(metal=0.95)], told, full).alert == "look for batteries"
    assert decide([look(metal=0.95)], told, NO_READINGS, several=True).alert is not None


def test_a_route_that_is_only_cheaper_is_not_taken_when_it_is_full():
    cost = cost_matrix(wrong=4.0)
    cost[1, 0] = 0.1  # glass among the fibres hardly matters here
    cost[:, 1] = 20.0
    rules = policy(cost=cost)
    assert decide([look(glass=0.9)], rules, NO_READINGS).route == "fibre"
    full = Readings(fill_percent={"fibre": 100.0})
    assert decide([look(glass=0.9)], rules, full).route == "residual"


def test_two_classes_of_one_route_outweigh_a_single_likelier_one():
    rules = policy(0.6, cost=cost_matrix(wrong=2.0))
    decision = decide([look(paper=0.34, cardboard=0.3, glass=0.35)], rules, NO_READINGS)
    assert decision.route == "fibre"
    assert decision.label == "glass"
    assert decision.reason == "paper 0.34 (fibre in all 0.64)"


def test_numbers_that_are_none_go_to_residual():
    broken = Prediction(LABELS, np.full(6, np.nan, np.float32), np.zeros(4, np.float32), {})
    decision = decide([broken], policy(), NO_READINGS)
    assert (decision.route, decision.reason) == ("residual", "the network gave no numbers")


def test_no_look_is_no_decision():
    with pytest.raises(ValueError, match="at least one look"):
        decide([], policy(), NO_READINGS)


@given(looks_of_one_item)
def test_fused_probabilities_are_probabilities(looks):
    fused = fuse(looks, policy(), NO_READINGS, None)
    assert fused.shape == (6,)
    assert np.all(fused >= 0)
    assert fused.sum() == pytest.approx(1.0, abs=1e-4)


@given(looks_of_one_item, st.randoms(use_true_random=False))
def test_the_order_of_the_looks_does_not_matter(looks, random):
    shuffled = list(looks)
    random.shuffle(shuffled)
    one, other = decide(looks, policy(), NO_READINGS), decide(shuffled, policy(), NO_READINGS)
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


@given(distributions, st.integers(1, 6))
def test_looking_again_at_the_same_picture_proves_nothing_new(distribution, times):
    one = Prediction(LABELS, distribution, np.zeros(4, np.float32), {})
    np.testing.assert_allclose(
        fuse([one] * times, policy(), NO_READINGS, None),
        fuse([one], policy(), NO_READINGS, None),
        atol=1e-5,
    )


@given(looks_of_one_item, st.floats(0.0, 1.0), st.sets(st.sampled_from(ROUTES[:3])))
def test_whatever_is_seen_the_route_is_safe(looks, threshold, full):
    readings = Readings(fill_percent=dict.fromkeys(full, 100.0))
    rules = policy(threshold)
    decision = decide(looks, rules, readings)
    assert decision.route in ROUTES
    assert decision.route not in full
    if decision.route != "residual":
        mass = sum(
            p
            for p, route in zip(decision.probabilities, ROUTE_OF, strict=True)
            if ROUTES[route] == decision.route
        )
        assert mass >= np.float32(threshold) - 1e-5
        expected = decision.probabilities @ rules.cost
        assert expected[ROUTES.index(decision.route)] <= expected.min() + 1e-6


@given(looks_of_one_item, st.floats(0.0, 0.9), st.floats(0.0, 0.1))
def test_a_stricter_threshold_never_lets_more_through(looks, threshold, more):
    loose = decide(looks, policy(threshold), NO_READINGS)
    strict = decide(looks, policy(threshold + more), NO_READINGS)
    assert strict.route in (loose.route, "residual")
