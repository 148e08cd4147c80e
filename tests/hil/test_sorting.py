"""The way of an item on the virtual Pi: camera, network, servo, broker."""

from __future__ import annotations

import statistics

import pytest
from bench import BEAM, LID, METAL, SERVO, Bench, median_us, widths_us
from pi import wait_until

HOME_US, LEFT_US = 1500, 1056  # at 0 and -40 degrees of -45 to 45


@pytest.mark.parametrize(
    ("picture", "label", "route", "outcome"),
    [
        ("items/cardboard_box", "cardboard", "recyclables", "sorted"),
        ("items/plastic_bottle", "plastic", "recyclables", "sorted"),
    ],
)
def test_an_item_before_the_camera_is_sorted_and_told_to_the_broker(
    sorting: Bench, picture: str, label: str, route: str, outcome: str
) -> None:
    event = sorting.sort(picture)
    assert (event["label"], event["route"], event["outcome"]) == (label, route, outcome)


def test_what_is_no_single_item_goes_to_residual_with_the_reason(sorting: Bench) -> None:
    event = sorting.sort("two_items")
    assert (event["route"], event["outcome"]) == ("residual", "rejected")
    assert "two or more" in event["reason"]


def test_the_bin_says_what_it_is_and_how_it_is(sorting: Bench) -> None:
    wait_until(lambda: sorting.last("health"), "the health of the bin")
    assert sorting.last("status")["state"] == "online"
    info = sorting.last("info")
    assert "lgpio" in str(info)
    assert "waste6" in str(info)


def test_the_flap_tips_to_the_side_of_the_route_and_falls_silent(sorting: Bench) -> None:
    sorting.show("items/plastic_bottle")
    with sorting.traced():
        sorting.wait_state("sorting")
        wait_until(lambda: len(sorting.edges()) > 20, "pulses")
        sorting.show("empty")
        sorting.wait_state("waiting")
        pulses = sorting.edges()
        since = sorting.now_s()
        sorting.pi.run("sleep 2")
        assert [edge for edge in sorting.edges() if edge[0] > since + 1] == []
    # More than a quarter of the pulses hold the flap at its end; single ones may come out wrong.
    found = sorted(widths_us(pulses))
    assert found[len(found) // 4] == pytest.approx(LEFT_US, abs=150)
    assert found[len(found) // 2] < HOME_US
    assert median_us(pulses[-20:]) == pytest.approx(HOME_US, abs=150)
    assert sorting.level(SERVO) == 0


@pytest.mark.parametrize(("line", "what"), [(LID, "lid"), (BEAM, "beam")])
def test_nothing_moves_while_the_lid_is_open_or_the_beam_is_broken(
    sorting: Bench, line: int, what: str
) -> None:
    sorting.pull(line, up=False)
    sorting.show("items/plastic_bottle")
    with sorting.traced():
        sorting.pi.run("sleep 4")
        assert sorting.edges() == [], what
    assert sorting.heard("state")[-1]["state"] != "sorting"
    sorting.pull(line, up=True)
    sorting.wait_state("sorting")
    sorting.wait_pulses()
    sorting.show("empty")
    sorting.wait_state("waiting")


def test_a_lid_that_opens_stops_the_flap_where_it_is(sorting: Bench) -> None:
    with sorting.traced():
        sorting.show("items/plastic_bottle")
        wait_until(lambda: len(sorting.edges()) > 10, "the flap to move")
        opened = sorting.now_s()
        sorting.pull(LID, up=False)
        sorting.pi.run("sleep 2")
        late = widths_us([edge for edge in sorting.edges() if edge[0] > opened + 0.5])
    # It stays where it is, held or silent.
    half = len(late) // 2
    if late:
        first, second = statistics.median(late[:half]), statistics.median(late[half:])
        assert second == pytest.approx(first, abs=100)
    assert sorting.last("state")["state"] != "waiting"
    sorting.pull(LID, up=True)
    sorting.show("empty")
    sorting.wait_state("waiting")


def test_the_metal_sensor_is_part_of_the_evidence(sorting: Bench) -> None:
    silent = dict(sorting.sort("items/metal_can")["top_k"])
    sorting.pull(METAL, up=False)
    fired = sorting.sort("items/metal_can")
    sorting.pull(METAL, up=True)
    assert (fired["label"], fired["outcome"]) == ("metal", "sorted")
    assert fired["confidence"] > silent.get("metal", 0.0) + 0.2
