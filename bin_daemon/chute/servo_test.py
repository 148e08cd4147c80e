"""One servo moved slowly from stop to stop, for a person who looks on.

The chute's configuration and a pin flow in, each stop flows out once it is reached. It asks nobody
and prints nothing; whoever gives the pin closes it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from bin_daemon.chute.chute import HOME
from bin_daemon.chute.motion import Ramp
from bin_daemon.config.hardware import ChuteSection
from bin_daemon.gpio.factory import FRAME_S, ServoPin

_DWELL_S = 0.6
_SWEEP_DWELL_S = 0.15
_SWEEP_STEPS = 20


def play(
    config: ChuteSection, name: str, pin: ServoPin, sweep: bool
) -> Iterator[tuple[str, float]]:
    """Move a servo from home through its poses and home again; silent at the end.

    sweep: through its whole range in steps instead. Yields name and angle (degrees) of each stop.
    """
    servo, home_deg = config.servos[name], config.poses[HOME][name]
    speed_deg_s = servo.speed_deg_s * config.homing_speed
    if sweep:
        low_deg, range_deg = servo.min_angle_deg, servo.max_angle_deg - servo.min_angle_deg
        steps = range(_SWEEP_STEPS + 1)
        stops = [("sweep", low_deg + range_deg * step / _SWEEP_STEPS) for step in steps]
    else:
        poses = config.poses.items()
        stops = [(pose, angles[name]) for pose, angles in poses if name in angles and pose != HOME]
    at_deg = home_deg
    for stop, target_deg in [(HOME, home_deg), *stops, (HOME, home_deg)]:
        ramp, began = Ramp(at_deg, target_deg, speed_deg_s), time.monotonic()
        while (passed_s := time.monotonic() - began) < ramp.duration_s:
            pin.set_angle(ramp.angle_at(passed_s))
            time.sleep(FRAME_S)
        pin.set_angle(target_deg)
        at_deg = target_deg
        yield stop, at_deg
        time.sleep(_SWEEP_DWELL_S if sweep else _DWELL_S)
    pin.detach()
