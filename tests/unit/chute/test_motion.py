"""Trajectories: how far a servo has come at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bin_daemon.chute.motion import Ramp, plan

angles = st.floats(-180, 180)
speeds = st.floats(1, 1000)


def test_a_ramp_moves_at_its_speed_and_stays_at_its_target():
    ramp = Ramp(start_deg=10.0, target_deg=-50.0, speed_deg_s=120.0)

    way = [ramp.angle_at(t_s) for t_s in (-1.0, 0.0, 0.25, 0.5, 9.0)]

    assert ramp.duration_s == 0.5
    assert way == [10.0, 10.0, -20.0, -50.0, -50.0]


def test_servos_start_together_and_each_ends_in_its_own_time():
    trajectory = plan({"disc": 0, "trap": 0}, {"disc": 90, "trap": -90}, {"disc": 90, "trap": 180})

    assert trajectory.duration_s == 1.0
    assert trajectory.angles_at(0.25) == {"disc": 22.5, "trap": -45.0}
    assert trajectory.angles_at(0.75) == {"disc": 67.5, "trap": -90.0}


def test_a_servo_that_the_pose_leaves_out_stays_where_it_is():
    trajectory = plan({"disc": 33.0, "trap": 0.0}, {"trap": 45.0}, {"disc": 90.0, "trap": 90.0})

    assert trajectory.duration_s == 0.5
    assert trajectory.angles_at(0.5) == {"disc": 33.0, "trap": 45.0}


def test_a_trajectory_takes_at_least_the_time_it_is_told_to():
    trajectory = plan({"flap": 0.0}, {"flap": 0.0}, {"flap": 90.0}, least_s=2.0)

    assert trajectory.duration_s == 2.0
    assert trajectory.angles_at(1.0) == {"flap": 0.0}


def test_a_pose_of_an_unknown_servo_is_a_key_error():
    with pytest.raises(KeyError, match="trap"):
        plan({"flap": 0.0}, {"trap": 0.0}, {"flap": 90.0})


@given(angles, angles, speeds, st.floats(0, 400), st.floats(0, 1))
def test_no_ramp_is_ever_faster_than_its_speed_or_leaves_its_way(start, target, speed, t_s, step_s):
    ramp = Ramp(start, target, speed)

    before, after = ramp.angle_at(t_s), ramp.angle_at(t_s + step_s)

    assert abs(after - before) <= speed * step_s + 1e-6
    assert min(start, target) - 1e-9 <= after <= max(start, target) + 1e-9
    assert abs(target - after) <= abs(target - before) + 1e-9


@given(angles, angles, speeds)
def test_every_ramp_reaches_its_target_in_distance_over_speed(start, target, speed):
    ramp = Ramp(start, target, speed)

    assert ramp.duration_s == pytest.approx(abs(target - start) / speed)
    assert ramp.angle_at(ramp.duration_s) == target
