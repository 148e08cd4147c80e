"""Slew-limited motion of several servos at once, as pure functions of time.

Present angles, a pose and speeds flow in, a `Trajectory` flows out; `Chute` asks it where the
servos belong at a time and sends the pulses. It knows no pins, clocks or threads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ramp:
    """One servo on its way from start to target at constant speed, above 0."""

    start_deg: float
    target_deg: float
    speed_deg_s: float

    @property
    def duration_s(self) -> float:
        """Seconds from start to target; 0 where there is nothing to move."""
        return abs(self.target_deg - self.start_deg) / self.speed_deg_s

    def angle_at(self, t_s: float) -> float:
        """The angle in degrees `t_s` seconds after the start; exactly the target from its end."""
        if t_s >= self.duration_s:
            return self.target_deg
        moved_deg = self.speed_deg_s * max(0.0, t_s)
        return self.start_deg + math.copysign(moved_deg, self.target_deg - self.start_deg)


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Ramps of several servos that start together; not over before `least_s`."""

    ramps: Mapping[str, Ramp]
    least_s: float = 0.0

    @property
    def duration_s(self) -> float:
        """Seconds until the last servo is there."""
        return max(self.least_s, *(ramp.duration_s for ramp in self.ramps.values()), 0.0)

    def angles_at(self, t_s: float) -> dict[str, float]:
        """The angle in degrees of every servo `t_s` seconds after the start."""
        return {name: ramp.angle_at(t_s) for name, ramp in self.ramps.items()}


def plan(
    angles_deg: Mapping[str, float],
    pose_deg: Mapping[str, float],
    speeds_deg_s: Mapping[str, float],
    least_s: float = 0.0,
) -> Trajectory:
    """The way of every servo from `angles_deg` to a pose, each at its own speed, above 0.

    A servo that the pose leaves out stays. least_s: shortest duration of the whole.
    Raises KeyError for a servo in the pose whose angle or speed is not given.
    """
    targets_deg = {**angles_deg, **pose_deg}
    ramps = {n: Ramp(angles_deg[n], to_deg, speeds_deg_s[n]) for n, to_deg in targets_deg.items()}
    return Trajectory(ramps, least_s)
